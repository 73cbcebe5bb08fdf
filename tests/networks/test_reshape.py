"""The papers' variations as functions from network to network: each builds and runs, and changes parameters by what a hand count says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier, ClassifierWithAux, FeatureExtractor, create_model
from inceptions.networks.registry import get_network, list_models
from inceptions.networks.spec import (
    Activation,
    AuxHead,
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Linear,
    LocalResponseNorm,
    MaxPool,
    Network,
    NetworkError,
    Node,
    Numerics,
    Parallel,
    Residual,
    SeparableConv,
    Stage,
)
from inceptions.networks.tables.inception_v3 import grid_reduction
from inceptions.networks.trace import check_table, reduction, smallest_image, trace
from tests.networks.conftest import family_first
from tests.networks.twins import noise, shapes_alone, twin

every_network = pytest.mark.parametrize("name", list_models())
one_of_a_family_by_name = pytest.mark.parametrize("name", family_first(list_models()))


def parameters(network: Network) -> int:
    return trace(network).total.parameters


def runs(network: Network, size: int | None = None) -> bool:
    """Build with meta tensors, which have shapes and no values, and say whether a batch of two gives logits (FaceNet's: its embedding)."""
    size = size or smallest_image(network) + reduction(network)
    with shapes_alone():
        return Classifier(network)(torch.empty(2, network.in_channels, size, size)).shape == (2, network.classes or 512)


def nodes(network: Network, kind: type) -> list[Node]:
    """Return every node of one kind in stages, head and auxiliary heads."""
    found: list[Node] = []

    def look(node: Node) -> Node:
        if isinstance(node, kind):
            found.append(node)
        return node

    reshape.map_network(network, look)
    return found


def conv(inputs: int, channels: int, *kernels: int, norm: bool = True) -> int:
    """Hand count: a kernel of the product of `kernels` cells, and gamma and beta, or a bias."""
    return inputs * channels * math.prod(kernels) + (2 if norm else 1) * channels


# ---- classes, channels, image size, dropout


@every_network
def test_classes_and_channels_change_the_last_and_the_first_layer_alone(name: str) -> None:
    network = get_network(name)
    with shapes_alone():
        before = Classifier(reshape.with_classes(network, 12)).state_dict()
        model = Classifier(reshape.with_in_channels(reshape.with_classes(network, 10), 4))
    changed = [key for key, tensor in model.state_dict().items() if tensor.shape != before[key].shape]
    first = next(iter(before)).rpartition(".")[0]
    separable = name in ("bn_inception", "inception_v2_slim")  # the pointwise convolution reads 8 channels of each of the image's
    assert changed == [f"{first}.weight", *([f"{first.rpartition('.')[0]}.pointwise.weight"] if separable else []), *changed[-2:]]
    assert changed[-2:] == ["classifier.weight", "classifier.bias"]


def test_network_of_another_image_size_states_the_grids_of_that_size() -> None:
    network = reshape.with_image_size(get_network("googlenet"), 96)
    assert [stage.grid for stage in network.stages if stage.name in ("conv1", "3a", "4a", "5b")] == [48, 12, 6, 3]
    assert parameters(network) == 6_998_552
    # one 5x5 window fits on the 6x6 grid of the heads, so their 1024 units read 128 values instead of 4 * 4 * 128
    assert trace(network).total_with_aux.parameters == 13_378_280 - 2 * (2048 - 128) * 1024
    out = ClassifierWithAux(network)(noise(2, 3, 96, 96))
    assert [logits.shape for logits in (out.logits, *out.aux)] == [(2, 1000)] * 3


@pytest.mark.parametrize(
    ("name", "image_size", "message"),
    [
        ("googlenet", 64, r"googlenet: auxiliary head on '4a': a AvgPool of 5x5 doesn't fit on a grid of 4x4; give a larger image"),
        ("inception_v3", 75, r"inception_v3: auxiliary head on '6e': a AvgPool of 5x5 doesn't fit on a grid of 3x3; give a larger image"),
        ("inception_v3", 200, r"inception_v3: auxiliary head on '6e': a Conv of 5x5 doesn't fit on a grid of 2x2; give a larger image"),
    ],
)
def test_auxiliary_heads_say_when_the_image_is_too_small_for_them(name: str, image_size: int, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        create_model(name, aux=True, image_size=image_size)


def test_auxiliary_heads_go_only_where_they_do_not_fit() -> None:
    v3, v1 = get_network("inception_v3"), get_network("googlenet")
    assert reshape.without_misfit_aux(v3, image_size=299) == v3
    assert reshape.without_misfit_aux(v3, image_size=298) == reshape.without_aux(v3) == replace(v3, aux=())
    assert reshape.without_misfit_aux(v1, image_size=80) == v1
    assert reshape.without_misfit_aux(v1, image_size=64) == reshape.without_aux(v1)


def test_numerics_change_the_stated_grids_where_they_pad_less() -> None:
    network = reshape.with_numerics(get_network("googlenet"), pool_padding="floor")  # as ONNX's light_inception_v1 rounds
    assert [stage.grid for stage in network.stages if stage.name.startswith("pool")] == [55, 27, 13, 6]
    assert runs(network, 224)


@pytest.mark.parametrize("name", ["inception_v4", "googlenet_bn", "inception_small", "inception_resnet_v1_facenet"])
def test_drop_rate_stands_after_the_pool_and_leaves_auxiliary_heads_alone(name: str) -> None:
    before, network = get_network(name), reshape.with_drop_rate(get_network(name), 0.125)
    assert [node for node in network.head if isinstance(node, Dropout)] == [network.head[1]] == [Dropout(0.125)]
    assert [node for node in network.head if not isinstance(node, Dropout)] == [n for n in before.head if not isinstance(n, Dropout)]
    assert network.aux == before.aux


# ---- small images (1512.00567, Table 2)


@one_of_a_family_by_name
@pytest.mark.parametrize("steps", [1, 2])
def test_small_stem_keeps_the_grid_steps_times_and_every_parameter(name: str, steps: int) -> None:
    network = reshape.without_aux(get_network(name))
    smaller = reshape.small_stem(network, image_size=network.image_size // 2**steps, steps=steps)
    assert reduction(smaller) * 2**steps == reduction(network)
    assert parameters(smaller) == parameters(network)
    check_table(smaller)
    grid, before = smaller.stages[-1].grid, network.stages[-1].grid
    assert abs(grid - before) <= 1  # about the same cells look at half the picture
    assert runs(smaller, smaller.image_size)
    with shapes_alone():
        levels = FeatureExtractor(smaller, smaller.features).feature_info
    assert levels[-1].reduction == reduction(smaller)


@pytest.mark.parametrize("name", ["inception_v3", "inception_v4"])
@pytest.mark.parametrize(("image_size", "steps"), [(299, 0), (151, 1), (79, 2)])
def test_small_stem_gives_the_papers_receptive_fields_the_same_last_grid(name: str, image_size: int, steps: int) -> None:
    smaller = reshape.small_stem(get_network(name), image_size=image_size, steps=steps)
    assert (smaller.stages[-1].grid, smaller.stage("6a").grid) == (8, 17)


def test_small_stem_takes_away_the_stride_first_and_then_the_pool() -> None:
    one, two = (reshape.small_stem(get_network("inception_v3"), image_size=151, steps=steps) for steps in (1, 2))
    assert one.stage("1a").node == two.stage("1a").node == Conv(32, 3, stride=1, padding="valid")
    assert one.stage("3a").node == MaxPool(3, stride=2, padding="valid")
    assert "3a" not in [stage.name for stage in two.stages]


@pytest.mark.slow
@torch.no_grad()
def test_small_stem_runs_on_small_images() -> None:
    network = reshape.small_stem(get_network("inception_v4"), image_size=40, steps=2)
    assert Classifier(network).eval()(noise(2, 3, 40, 40)).isfinite().all()


def test_small_stem_says_how_many_halvings_there_are() -> None:
    with pytest.raises(NetworkError, match="inception_small: steps is 3, but only 2 layers halve the grid"):
        reshape.small_stem(get_network("inception_small"), image_size=28, steps=3)
    with pytest.raises(NetworkError, match=r"inception_v3 can't take images of 30x30 pixels .*; the smallest square image is 39x39"):
        reshape.small_stem(get_network("inception_v3"), image_size=30)


# ---- width


@one_of_a_family_by_name
@pytest.mark.parametrize("factor", [0.3, 1.5])
def test_wider_and_narrower_networks_keep_grids_and_scale_channels(name: str, factor: float) -> None:
    network, scaled = get_network(name), reshape.scale_width(get_network(name), factor)
    check_table(scaled)
    assert [stage.grid for stage in scaled.stages] == [stage.grid for stage in network.stages]
    for before, after in zip(network.stages, scaled.stages, strict=True):
        assert after.channels == pytest.approx(factor * before.channels, abs=4 * 6)  # 4 by rounding each of at most 6 pieces, as in 7c
    # 0.3 of 64 channels are 16 in whole eights, a sixth too few, which squared makes three tenths of a kernel.
    assert min(factor, factor**2) * 0.7 < parameters(scaled) / parameters(network) < max(factor, factor**2) * 1.3
    assert runs(scaled)
    if network.aux:
        with shapes_alone():
            model = ClassifierWithAux(scaled)
        assert sum(p.numel() for p in model.parameters()) == trace(scaled).total_with_aux.parameters


@every_network
def test_width_factor_one_changes_nothing_for_all_widths_are_whole_eights(name: str) -> None:
    assert reshape.scale_width(get_network(name), 1) == get_network(name)


def small_inception(width: int) -> int:
    """Hand count of the small Inception whose narrowest branch, of 32 channels, has `width`."""
    w = width // 2  # a sixteenth of 32: every width of the table is a multiple of 16
    modules = [(2, 2), (2, 3), (0, 5), (7, 3), (6, 4), (5, 5), (3, 6), (0, 6), (11, 10), (11, 10)]
    total, channels = conv(3, 6 * w, 3, 3), 6 * w
    for conv1x1, conv3x3 in modules:
        total += (conv(channels, conv1x1 * w, 1) if conv1x1 else 0) + conv(channels, conv3x3 * w, 3, 3)
        channels = (conv1x1 + conv3x3) * w + (0 if conv1x1 else channels)  # a pool hands on what comes in
    return total + (channels + 1) * 10


@pytest.mark.parametrize(("factor", "width"), [(0.5, 16), (1, 32), (2, 64)])
def test_scaled_small_inception_has_the_hand_counted_parameters(factor: float, width: int) -> None:
    assert parameters(reshape.scale_width(get_network("inception_small"), factor)) == small_inception(width)


def test_body_beside_an_identity_ends_in_the_width_that_comes_in() -> None:
    network = reshape.scale_width(get_network("inception_resnet_v1"), 0.3)
    read = 112 + 80 + 80 + (112 + 80 + 80)  # 7a: three branches, and a pool of what 6a leaves; eight more than 0.3 * 1792 in whole eights
    assert network.stage("7a").channels == read == network.stage("block8").channels
    assert network.stage("block8").node[0].body[-1] == Conv(read, 1, norm=False, activation=None)


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
def test_width_factors_that_cannot_be_are_refused(factor: float) -> None:
    with pytest.raises(NetworkError, match=f"inception_v3: the width factor is {factor}; it must be a number above 0"):
        reshape.scale_width(get_network("inception_v3"), factor)


# ---- features


@every_network
def test_truncated_network_has_the_stages_up_to_the_named_one(name: str) -> None:
    network = get_network(name)
    for feature in network.features:
        body = reshape.truncate(network, feature)
        assert body.stages == network.stages[: len(body.stages)] and body.stages[-1].name == feature
        rows = trace(network).rows[: len(body.stages)]
        assert parameters(body) == sum(row.cost.parameters for row in rows)
        assert body.features == network.features[: network.features.index(feature) + 1]
        assert (body.classes, body.aux, body.head) == (0, (), ())


def test_truncated_network_builds_and_gives_its_last_map_flat() -> None:
    body = reshape.truncate(get_network("inception_small"), "3d")
    with shapes_alone():
        assert Classifier(body)(torch.empty(2, 3, 28, 28)).shape == (2, 144 * 14 * 14)


def test_network_without_stages_hands_the_next_one_what_was_there() -> None:
    network = get_network("googlenet")
    shorter = reshape.without_stages(network, "4b", "4d", "pool4", "5a")
    assert [stage.name for stage in shorter.stages[-4:]] == ["4a", "4c", "4e", "5b"]
    assert shorter.stage("5b").grid == 14 and [side.after for side in network.aux] == ["4a", "4d"]
    assert [side.after for side in shorter.aux] == ["4a"]
    assert set(network.features) - set(shorter.features) <= {"4b", "4d", "pool4", "5a"}
    with shapes_alone():
        assert Classifier(shorter)(torch.empty(2, 3, 224, 224)).shape == (2, 1000)
    with pytest.raises(NetworkError, match="'4f'"):
        reshape.without_stages(network, "4b", "4f")


# ---- normalisation


def test_googlenet_with_batch_norm_has_the_published_parameters_and_no_response_norm() -> None:
    network = reshape.with_batch_norm(get_network("googlenet"))
    assert parameters(network) == 7_005_832
    assert nodes(network, LocalResponseNorm) == []
    assert {node.norm for node in nodes(network, Conv)} == {True}
    assert runs(network)


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("inception_v3", 23_834_568 - 17_216),  # gamma and beta go, a bias comes
        ("googlenet_bn", 6_624_904 - 7_280),
        ("xception", 22_855_952 - 27_264),
        ("bn_inception_caffe", 11_295_240 - 2 * 10_016),  # the bias is there already
        ("inception_v2_slim", 11_188_224 - 9_888),
        ("xception65", 39_916_312 - 92_600 - (16 * 3 * 728 + 9_248)),  # between depthwise and pointwise nothing comes
        ("xception41p", 26_907_752 - 2 * 26_752 + 32),  # only the first convolution is followed by its BN
        ("inception_resnet_v1_facenet", 23_482_624 - 14_800),
    ],
)
def test_networks_without_batch_norm_have_biases_instead(name: str, without: int) -> None:
    network = reshape.without_batch_norm(get_network(name))
    assert (parameters(network), trace(network).total.norm_channels, nodes(network, BatchNorm)) == (without, 0, [])
    assert runs(network)


def test_batch_norm_comes_back_where_it_was() -> None:
    for name in ("inception_v3", "inception_small", "inception_v4"):
        network = get_network(name)
        stages = reshape.with_batch_norm(reshape.without_batch_norm(network)).stages
        assert stages == network.stages


# ---- residuals


def test_residual_scale_is_set_in_every_block() -> None:
    network = reshape.with_residual_scale(get_network("inception_resnet_v1"), 0.25)
    assert [node.scale for node in nodes(network, Residual)] == [0.25] * 20
    assert parameters(network) == 22_756_328


@torch.no_grad()
def test_residual_branch_counts_scale_times() -> None:
    network = tiny(Stage("block", Residual(Conv(3, 3, activation=None), scale=0.5), 8, 3))
    half = Classifier(network).eval()
    x = noise(2, 3, 8, 8)
    branch = half.forward_features(x) - x
    for scale in (0.0, 0.1, 1.0):
        model = twin(lambda scale=scale: Classifier(reshape.with_residual_scale(network, scale)), half)
        torch.testing.assert_close(model.forward_features(x) - x, 2 * scale * branch)


def test_xception_without_residuals_lacks_the_four_shortcuts() -> None:
    network = reshape.without_residuals(get_network("xception"))
    shortcuts = conv(64, 128, 1) + conv(128, 256, 1) + conv(256, 728, 1) + conv(728, 1024, 1)
    assert parameters(network) == 22_855_952 - shortcuts
    assert nodes(network, Residual) == []
    assert runs(network)


def test_inception_resnet_without_residuals_keeps_the_activation_after_the_sum() -> None:
    network = reshape.without_residuals(get_network("inception_resnet_v2_paper"))
    assert parameters(network) == 32_433_928
    assert len(nodes(network, Activation)) == 20
    assert runs(network)


@pytest.mark.parametrize(("activation", "kind"), [(None, type(None)), ("relu", nn.ReLU), ("elu", nn.ELU)])
def test_activation_between_depthwise_and_pointwise_is_none_relu_or_elu(activation: str | None, kind: type) -> None:
    network = reshape.with_depthwise_activation(get_network("xception"), activation)
    assert parameters(network) == 22_855_952
    with shapes_alone():
        chains = [m for m in Classifier(network).modules() if hasattr(m, "depthwise")]
    assert len(chains) == 34
    for chain in chains:
        names = list(dict(chain.named_children()))
        between = names[names.index("depthwise") + 1 : names.index("pointwise")]
        assert between == ([] if activation is None else ["depthwise_act"])
        assert type(getattr(chain, "depthwise_act", None)) is kind
    assert runs(network)


@pytest.mark.parametrize(("activation", "function"), [(None, lambda x: x), ("relu", functional.relu), ("elu", functional.elu)])
@torch.no_grad()
def test_activation_stands_between_depthwise_and_pointwise(activation: str | None, function: Callable[[Tensor], Tensor]) -> None:
    table = tiny(Stage("a", SeparableConv(4, 3, norm=False, activation=None), 8, 4))
    model = Classifier(reshape.with_depthwise_activation(table, activation))
    layer, x = model.stages.get_submodule("a"), noise(2, 3, 8, 8)
    torch.testing.assert_close(model.forward_features(x), layer.pointwise(function(layer.depthwise(x))))


# ---- factorised kernels (1512.00567, section 3)


def test_two_3x3_save_28_percent_of_a_5x5() -> None:
    wide = tiny(Stage("a", Conv(64, 3), 8, 64), Stage("b", Conv(64, 5), 8, 64))
    cost = [trace(network).rows[1].cost for network in (wide, reshape.factorize_5x5(wide))]
    assert 1 - cost[1].multiply_adds / cost[0].multiply_adds == pytest.approx(1 - 18 / 25) == pytest.approx(0.28)
    assert cost[0].parameters - cost[1].parameters == 7 * 64 * 64 - 2 * 64  # and one more normalisation


def test_1xn_and_nx1_save_33_percent_of_a_3x3() -> None:
    wide = tiny(Stage("a", Conv(64, 3), 8, 64), Stage("b", Conv(64, 3), 8, 64))
    cost = [trace(network).rows[1].cost for network in (wide, reshape.factorize_square(wide))]
    assert cost[1].multiply_adds * 3 == cost[0].multiply_adds * 2


@pytest.mark.parametrize("between", ["relu", None])
def test_factorised_googlenet_has_the_hand_counted_parameters(between: str | None) -> None:
    network = reshape.factorize_5x5(get_network("googlenet"), between=between)
    fives = [(16, 32), (32, 96), (16, 48), (24, 64), (24, 64), (32, 64), (32, 128), (32, 128), (48, 128)]
    saved = sum(conv(i, o, 5, 5, norm=False) - conv(i, o, 3, 3, norm=False) - conv(o, o, 3, 3, norm=False) for i, o in fives)
    assert saved < 0  # the branches widen on the way: two 3x3 save only where in and out are about as wide
    assert parameters(network) == 6_998_552 - saved
    first, second = dict(network.stage("3a").node.branches)["conv5x5"][1:]
    assert (first.activation, second.activation) == (between, "relu")
    assert runs(network)


def test_factorised_inception_v3_loses_its_5x5_branch_and_keeps_its_auxiliary_5x5() -> None:
    network = reshape.factorize_5x5(get_network("inception_v3"))
    saved = conv(48, 64, 5, 5) - conv(48, 64, 3, 3) - conv(64, 64, 3, 3)
    assert parameters(network) == 23_834_568 - 3 * saved
    assert network.aux == get_network("inception_v3").aux


def test_squares_become_two_strips_in_the_named_stages() -> None:
    network = reshape.factorize_square(get_network("googlenet"), stages=["4a"])
    squares = [(96, 208, 3), (16, 48, 5)]
    saved = sum(conv(i, o, n, n, norm=False) - conv(i, o, n, norm=False) - conv(o, o, n, norm=False) for i, o, n in squares)
    assert parameters(network) == 6_998_552 - saved
    assert [node.kernel for node in dict(network.stage("4a").node.branches)["conv3x3"]] == [1, (1, 3), (3, 1)]
    assert [stage for stage in network.stages if stage.name != "4a"] == [s for s in get_network("googlenet").stages if s.name != "4a"]
    assert runs(network)


def test_strips_become_squares_in_the_named_stages() -> None:
    network = reshape.merge_factorized(get_network("inception_v3"), stages=["6b"])
    strips = 4 * conv(128, 128, 7) + 2 * conv(128, 192, 7)
    squares = conv(128, 192, 7, 7) + conv(128, 128, 7, 7) + conv(128, 192, 7, 7)
    assert parameters(network) == 23_834_568 - strips + squares
    assert [node.kernel for node in dict(network.stage("6b").node.branches)["double7x7"]] == [1, 7, 7]
    assert runs(network)


@pytest.mark.parametrize("name", ["googlenet", "inception_v2", "inception_resnet_v2", "inception_small"])
def test_squares_made_strips_and_merged_again_have_the_old_parameters(name: str) -> None:
    network = reshape.merge_factorized(get_network(name))  # some have strips of their own
    split = reshape.factorize_square(network)
    assert parameters(split) < parameters(network) == parameters(reshape.merge_factorized(split))
    assert runs(split)


@pytest.mark.parametrize("change", [reshape.factorize_square, reshape.merge_factorized])
def test_stages_that_are_not_there_are_named_with_those_that_are(change: Callable[..., Network]) -> None:
    with pytest.raises(NetworkError, match="inception_small has no stage '9z'; stages are conv1, 2a, 2b, 2c"):
        change(get_network("inception_small"), stages=["2a", "9z"])


def test_three_ways_to_shrink_a_grid_cost_what_the_paper_says() -> None:
    """Section 5: convolving first costs 2 d^2 k^2, pooling first a quarter; in parallel half of the widths are free."""
    costs = {}
    for how in ("conv_then_pool", "pool_then_conv", "parallel"):
        node = grid_reduction(320, added=320, how=how)
        network = tiny(Stage("wide", Conv(320, 1), 8, 320), Stage("shrink", node, 4, 640), Stage("on", Conv(8, 1), 4, 8))
        check_table(network)
        costs[how] = trace(network).rows[1].cost
        assert runs(network, 8)
    k2 = 9 * 320 * 320
    assert {how: cost.multiply_adds for how, cost in costs.items()} == {
        "conv_then_pool": 2 * 64 * k2,
        "pool_then_conv": 2 * 16 * k2,
        "parallel": 16 * k2,
    }
    assert {how: cost.parameters for how, cost in costs.items()} == {
        "conv_then_pool": conv(320, 640, 3, 3),
        "pool_then_conv": conv(320, 640, 3, 3),
        "parallel": conv(320, 320, 3, 3),
    }


# ---- what cannot be


@pytest.mark.parametrize("output_stride", [0, 1, 2, 12, 64, -8])
def test_output_strides_that_cannot_be_are_refused(output_stride: int) -> None:
    with pytest.raises(NetworkError, match=f"xception: output_stride is {output_stride}; allowed are 4, 8, 16, 32"):
        reshape.dilate(get_network("xception"), output_stride)


@pytest.mark.parametrize(
    ("given", "suggested"),
    [
        ("inceptionv3", "inception_v3"),
        ("xceptoin", "xception"),
        ("Inception-V4", "inception_v4"),
        ("inception_v5", "inception_v"),
        ("googlnet", "googlenet"),
        ("InceptionResNetV2", "inception_resnet_v2"),
        ("xception_65", "xception65"),
    ],
)
def test_unknown_name_suggests_the_nearest(given: str, suggested: str) -> None:
    with pytest.raises(NetworkError, match=f"^there is no network called '{given}'; did you mean {suggested}"):
        get_network(given)


def test_name_like_no_other_lists_all() -> None:
    with pytest.raises(NetworkError, match=r"there is no network called 'resnet50'; .*googlenet.*inception_small"):
        get_network("resnet50")


def test_alias_is_the_network_itself() -> None:
    assert get_network("inception_v1") is get_network("googlenet")


def test_unknown_stages_are_named_with_those_that_are_there() -> None:
    network = get_network("inception_small")
    stages = "stages are conv1, 2a, 2b, 2c, 3a, 3b, 3c, 3d, 3e, 4a, 4b"
    with pytest.raises(NetworkError, match=f"inception_small has no stage '5b'; {stages}"):
        reshape.truncate(network, "5b")
    with pytest.raises(NetworkError, match=f"inception_small: there is no stage 'mixed'; {stages}"):
        replace(network, features=("2b", "mixed"))
    with pytest.raises(NetworkError, match=f"inception_small: there is no stage 'x'; {stages}"):
        replace(network, aux=(AuxHead("x", weight=0.4, layers=()),))


def tiny(*stages: Stage, **changes: object) -> Network:
    return Network(name="tiny", title="", source="", image_size=8, stages=stages, classes=2, **changes)


MALFORMED = {
    "branches on different grids": (
        Parallel(conv3x3=Conv(4, 3), pool=MaxPool(3, stride=2)),
        "stage 'a': branches end on different grids: conv3x3 8x8, pool 4x4; check stride or padding",
    ),
    "branches of a branch": (
        Parallel(left=Conv(4, 1), right=(Conv(4, 1), Parallel(up=Conv(4, 3), down=Conv(4, 3, padding="valid")))),
        "stage 'a', branch 'right': branches end on different grids: up 8x8, down 6x6; check stride or padding",
    ),
    "residual of another width": (
        Parallel(left=Residual(Conv(4, 3))),
        "stage 'a', branch 'left': body leaves 4 channels on 8x8, shortcut 3 on 8x8; they must be alike to be added",
    ),
    "residual on another grid": (
        Residual((Conv(4, 3), MaxPool(3, stride=2)), shortcut=Conv(4, 1)),
        "stage 'a': body leaves 4 channels on 4x4, shortcut 4 on 8x8; they must be alike to be added",
    ),
    "branches of a body": (
        Residual(Parallel(x=Conv(4, 1), y=MaxPool(2, stride=2))),
        "stage 'a', body: branches end on different grids: x 8x8, y 4x4; check stride or padding",
    ),
    "window larger than the grid": (
        Parallel(deep=(Conv(4, 5, padding="valid"), Conv(4, (5, 1), padding="valid"))),
        "stage 'a', branch 'deep': a Conv of 5x1 doesn't fit on a grid of 4x4; give a larger image",
    ),
    "average that pads unevenly": (
        Parallel(mean=AvgPool(3, stride=2)),
        "tiny: stage 'a', branch 'mean': an average pool of stride 2 and kernel 3 can't pad unevenly; make it VALID",
    ),
}


@pytest.mark.parametrize(("node", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_table_names_stage_and_branch(node: Node, message: str) -> None:
    channels = 3 if "average" in message else 4
    with pytest.raises(NetworkError) as error:
        Classifier(tiny(Stage("a", node, 4 if "average" in message else 8, channels)))
    assert message in str(error.value)


@pytest.mark.parametrize(("grid", "channels"), [(8, 5), (7, 4), ((8, 4), 4)])
def test_row_that_states_something_else_is_named(grid: int | tuple[int, int], channels: int) -> None:
    height, width = grid if isinstance(grid, tuple) else (grid, grid)
    message = f"tiny: stage 'b' states {channels} channels on {height}x{width}, but leaves 4 on 8x8; mend the row or its node"
    with pytest.raises(NetworkError, match=message):
        Classifier(tiny(Stage("a", Conv(3, 1), 8, 3), Stage("b", Conv(4, 3), grid, channels)))


def _values() -> Iterator[tuple[Callable[[], object], str]]:
    row = Stage("a", Conv(4, 3), 8, 4)
    yield lambda: Conv(0, 3), "Conv: channels is 0; it must be a positive whole number"
    yield lambda: Conv(4, (3, 0)), r"Conv: kernel is \(3, 0\); it must be a positive whole number"
    yield lambda: Conv(4, 3, stride=1.5), "Conv: stride is 1.5; it must be a positive whole number"
    yield lambda: Conv(4, 3, padding="full"), "Conv: padding is 'full'; allowed are 'same', 'valid'"
    yield lambda: Conv(4, 3, activation="gelu"), "Conv: activation is 'gelu'; allowed are 'relu', 'elu', 'sigmoid', None"
    yield lambda: SeparableConv(4, 3, multiplier=0), "SeparableConv: multiplier is 0; it must be a positive whole number"
    yield lambda: SeparableConv(4, 3, depthwise_activation="tanh"), "SeparableConv: depthwise_activation is 'tanh'; allowed are"
    yield lambda: Linear(True), "Linear: channels is True; it must be a positive whole number"
    yield lambda: MaxPool(3, stride=0), "MaxPool: stride is 0; it must be a positive whole number"
    yield lambda: AvgPool(3, padding="reflect"), "AvgPool: padding is 'reflect'; allowed are 'same', 'valid'"
    yield lambda: Activation("swish"), "Activation: kind is 'swish'; allowed are 'relu', 'elu', 'sigmoid'"
    yield lambda: Dropout(-0.1), "Dropout: rate is -0.1; it must be at least 0 and below 1"
    yield lambda: Parallel(), "Parallel: no branches; give at least one"
    yield lambda: Residual((), activation="softmax"), "Residual: activation is 'softmax'; allowed are"
    yield lambda: Numerics(pool_padding="full"), "Numerics: pool_padding is 'full'; allowed are 'tensorflow', 'symmetric', 'ceil', 'floor'"
    yield lambda: Numerics(conv_padding="ceil"), "Numerics: conv_padding is 'ceil'; allowed are 'tensorflow', 'symmetric'"
    yield lambda: tiny(), "tiny: stage names must be there and differ from each other; got none"
    yield lambda: tiny(row, row), "tiny: stage names must be there and differ from each other; got a, a"
    yield lambda: replace(tiny(row), classes=-1), r"tiny: classes is -1; it must be 0 \(no classifier\) or more"
    yield lambda: replace(tiny(row), image_size=0), "Network: image_size is 0; it must be a positive whole number"


VALUES = list(_values())


@pytest.mark.parametrize(("make", "message"), VALUES, ids=[message.partition(";")[0] for _, message in VALUES])
def test_values_that_cannot_be_say_what_is_allowed(make: Callable[[], object], message: str) -> None:
    with pytest.raises(NetworkError, match=f"^{message}"):
        make()


# ---- nothing is changed in place


def test_networks_compare_by_value_and_stay_as_they_are() -> None:
    network = get_network("googlenet_bn")
    copy = replace(network)
    for changed in (
        reshape.with_classes(network, 3),
        reshape.scale_width(network, 2),
        reshape.dilate(network, 8),
        reshape.with_numerics(network, bn_epsilon=0.1),
        reshape.without_batch_norm(network),
    ):
        assert changed != network
    assert network == copy == get_network("googlenet_bn") and hash(network) == hash(copy)
