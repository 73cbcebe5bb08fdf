"""One suite over every network: what is declared holds, gradients flow, keys are shared, torch's compilers agree, bad input is named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inceptions.networks.modules.models import Classifier, Outputs, create_model
from inceptions.networks.registry import get_network, list_models
from inceptions.networks.spec import AdaptiveAvgPool, Network, NetworkError, pair
from inceptions.networks.trace import Shape, reduction, reductions, smallest_image, trace, trace_node
from tests.networks.conftest import FEW, family_first
from tests.networks.counts import COUNTS
from tests.networks.twins import noise, relative_error, shapes_alone, small, twin

every_network = pytest.mark.parametrize("name", list_models())
one_of_a_family_by_name = pytest.mark.parametrize("name", family_first(list_models()))
WITH_AUX = [name for name in list_models() if get_network(name).aux]
every_network_with_aux = pytest.mark.parametrize("name", WITH_AUX)
one_of_a_family_with_aux = pytest.mark.parametrize("name", family_first(WITH_AUX))

# One layer sums in another order than its twin when kernels, memory format or the compiler differ: float32 keeps some 6 digits of a
# sum of a few thousand products, and the networks are up to 250 layers deep.
TOLERANCE = 1e-5


def images(network: Network, size: int, *, batch: int = 2) -> Tensor:
    return noise(batch, network.in_channels, size, size)


# ---- what the tables declare


@every_network
def test_every_stage_leaves_the_grid_and_channels_that_its_row_declares(name: str) -> None:
    network, found = get_network(name), {}
    with shapes_alone():
        model = create_model(name).eval()
        for stage, module in model.stages.named_children():
            module.register_forward_hook(lambda _, __, out, stage=stage: found.update({stage: tuple(out.shape)}))
        model(torch.empty(1, network.in_channels, network.image_size, network.image_size))
    assert found == {stage.name: (1, stage.channels, *pair(stage.grid)) for stage in network.stages}


@torch.no_grad()
def test_images_that_are_not_square_leave_the_grids_that_the_trace_predicts(classifier: Classifier) -> None:
    network = classifier.network
    height, width = small(network), small(network) + (32 if network.name == "bn_inception_caffe" else 13)
    features, shape = classifier.forward_features(noise(1, 3, height, width)), Shape(3, height, width)
    for stage in network.stages:
        shape = trace_node(stage.node, shape, network.numerics).output
    assert features.shape == (1, *shape)
    assert classifier.forward_head(features).isfinite().all()


@every_network
def test_built_modules_have_the_parameters_and_normalised_channels_of_the_trace(name: str) -> None:
    total, norm_channels = trace(get_network(name)).total, 0
    with shapes_alone():
        model = create_model(name)
    for module in model.modules():
        norm_channels += module.num_features if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) else 0
    assert (sum(p.numel() for p in model.parameters()), norm_channels) == (total.parameters, total.norm_channels)


@every_network_with_aux
def test_built_modules_with_auxiliary_heads_have_the_parameters_of_the_trace(name: str) -> None:
    with shapes_alone():
        model = create_model(name, aux=True)
    assert sum(p.numel() for p in model.parameters()) == trace(get_network(name)).total_with_aux.parameters


@every_network
def test_multiply_adds_of_the_trace_are_those_of_the_layers_that_run(name: str) -> None:
    network, counts = get_network(name), []

    def count(layer: nn.Conv2d | nn.Linear, _: Any, out: Tensor) -> None:
        counts.append(out[0].numel() * layer.weight[0].numel())

    with shapes_alone():
        model = create_model(name).eval()
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(count)
        model(torch.empty(1, 3, network.image_size, network.image_size))
    assert sum(counts) == trace(network).total.multiply_adds


# ---- forward and backward


@one_of_a_family_by_name
@pytest.mark.slow
def test_gradient_reaches_every_parameter(name: str) -> None:
    network = get_network(name)
    model = create_model(name)
    out = model.train()(images(network, small(network)))
    assert isinstance(out, Tensor) and out.shape == (2, network.classes or COUNTS[name].features)
    (out * torch.randn_like(out)).sum().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()] == []


@one_of_a_family_with_aux
@pytest.mark.slow
def test_gradient_of_the_auxiliary_losses_reaches_their_heads_and_the_stages_below(name: str) -> None:
    network = get_network(name)
    size = 96 if name.startswith("googlenet") else network.image_size  # the 5x5 of the others needs the whole 17x17 grid
    model = create_model(name, aux=True, num_classes=10, image_size=size)
    out = model.train()(images(network, size))
    sum((logits * torch.randn_like(logits)).sum() for logits in out.aux).backward()
    last = max([stage.name for stage in network.stages].index(head.after) for head in network.aux)
    below = {f"stages.{stage.name}" for stage in network.stages[: last + 1]} | {f"aux.{head.after}" for head in network.aux}
    reached = {key for key, p in model.named_parameters() if p.grad is not None and p.grad.isfinite().all() and p.grad.any()}
    assert reached == {key for key, _ in model.named_parameters() if ".".join(key.split(".")[:2]) in below}


@torch.no_grad()
def test_forward_returns_a_tensor_and_is_head_after_features(classifier: Classifier) -> None:
    network, name = classifier.network, classifier.network.name
    x = images(network, small(network))
    logits, features = classifier(x), classifier.forward_features(x)
    vectors = classifier.forward_head(features, pre_logits=True)
    assert type(logits) is Tensor and logits.shape == (2, network.classes or COUNTS[name].features)
    assert vectors.shape == (2, classifier.num_features) == (2, COUNTS[name].features)
    assert classifier.num_classes == network.classes
    torch.testing.assert_close(classifier.forward_head(features), logits)
    torch.testing.assert_close(classifier.get_classifier()(vectors), logits)


@torch.no_grad()
def test_facenet_embeds_on_the_unit_sphere() -> None:
    out = create_model("inception_resnet_v1_facenet").eval()(noise(3, 3, 80, 80))
    assert out.shape == (3, 512)
    torch.testing.assert_close(out.norm(dim=1), torch.ones(3))


@torch.no_grad()
def test_channels_last_gives_the_same_logits(one_of_a_family: Classifier) -> None:
    x = images(one_of_a_family.network, small(one_of_a_family.network))
    plain, model = one_of_a_family(x), twin(lambda: Classifier(one_of_a_family.network), one_of_a_family)
    out = model.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    assert relative_error(out, plain) < TOLERANCE


# ---- one set of keys for the three forms


@every_network_with_aux
def test_auxiliary_heads_add_keys_and_change_no_other(name: str) -> None:
    with shapes_alone():
        plain, with_aux = create_model(name).state_dict(), create_model(name, aux=True).state_dict()
    added = [key for key in with_aux if key not in plain]
    assert [key for key in with_aux if not key.startswith("aux.")] == list(plain)
    assert {key.split(".")[1] for key in added} == {head.after for head in get_network(name).aux}
    assert all(with_aux[key].shape == plain[key].shape for key in plain)


@one_of_a_family_with_aux
@torch.no_grad()
def test_auxiliary_form_returns_outputs_in_training_and_in_inference(name: str) -> None:
    network = get_network(name)
    model = create_model(name, aux=True, num_classes=7)
    x = images(network, network.image_size)
    for out in (model.train()(x), model.eval()(x)):
        assert type(out) is Outputs
        assert out.logits.shape == (2, 7) and [logits.shape for logits in out.aux] == [(2, 7)] * len(network.aux)
    plain = twin(lambda: create_model(name, num_classes=7), model)
    torch.testing.assert_close(plain(x), out.logits)


@torch.no_grad()
def test_features_only_returns_the_declared_stages_under_the_same_keys(one_of_a_family: Classifier) -> None:
    network, found = one_of_a_family.network, {}
    model = twin(lambda: create_model(network, features_only=True), one_of_a_family)
    stages = dict(one_of_a_family.stages.named_children())
    handles = [
        stages[name].register_forward_hook(lambda _, __, out, name=name: found.update({name: out.clone()})) for name in network.features
    ]
    x = images(network, small(network))
    one_of_a_family(x)
    for handle in handles:
        handle.remove()
    out = model(x)
    assert type(out) is list and len(out) == len(network.features) == len(found)
    assert [level.module for level in model.feature_info] == list(network.features)
    for level, features in zip(model.feature_info, out, strict=True):
        torch.testing.assert_close(features, found[level.module])
        assert features.shape[1] == level.num_chs == network.stage(level.module).channels


@every_network
def test_feature_levels_are_the_last_stages_before_each_halving(name: str) -> None:
    network = get_network(name)
    with shapes_alone():
        levels = create_model(name, features_only=True).feature_info
    last_of_step = {step: stage for stage, step in reductions(network).items()}
    steps = [level.reduction for level in levels]
    assert steps == ([2, 4, 8, 16, 32] if COUNTS[name].smallest_px >= 32 else list(last_of_step))
    assert [level.module for level in levels] == [last_of_step[step] for step in steps]
    for level in levels:  # VALID layers lose up to 4 columns
        assert 0 <= network.image_size / level.reduction - network.stage(level.module).grid <= 4 or name.startswith("xception")


# ---- keywords of create_model


@pytest.mark.parametrize(
    ("out_indices", "levels"),
    [
        (None, [0, 1, 2, 3, 4]),
        ((0, 2, 4), [0, 2, 4]),
        ((-1,), [4]),
        ((-2, 1), [1, 3]),
        ((3, 3), [3]),
        (2, [3, 4]),
        (5, [0, 1, 2, 3, 4]),
    ],
)
@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "xception65"])
def test_out_indices_choose_levels_from_either_end(name: str, out_indices: int | tuple[int, ...] | None, levels: list[int]) -> None:
    with shapes_alone():
        model = create_model(name, features_only=True, out_indices=out_indices)
        out = model(torch.empty(1, 3, 107, 107))
    network = get_network(name)
    assert [level.module for level in model.feature_info] == [network.features[i] for i in levels]
    assert [features.shape[1] for features in out] == [level.num_chs for level in model.feature_info]
    assert list(dict(model.stages.named_children()))[-1] == network.features[levels[-1]]  # what comes after is not built


@pytest.mark.parametrize("out_indices", [(5,), (-6,), (0, 9), (), 0, -1, 6, (1.0,), ("5d",)])
def test_wrong_out_indices_name_the_levels(out_indices: Any) -> None:
    with pytest.raises(NetworkError, match=r"inception_v3: out_indices is .*; the levels are 0 2b, 1 4a, 2 5d, 3 6e, 4 7c \(or -5 to -1\)"):
        create_model("inception_v3", features_only=True, out_indices=out_indices)


@every_network
def test_keywords_set_classes_channels_and_dropout(name: str) -> None:
    network = get_network(name)
    with shapes_alone():
        model = create_model(name, num_classes=7, in_chans=5, drop_rate=0.25)
        logits = model(torch.empty(2, 5, small(network), small(network)))
        levels = create_model(name, in_chans=1, features_only=True)(torch.empty(2, 1, small(network), small(network)))
    assert logits.shape == (2, 7) and model.num_classes == 7
    assert [features.shape[:2] for features in levels] == [(2, network.stage(stage).channels) for stage in network.features]
    assert [m.p for m in model.head.modules() if isinstance(m, nn.Dropout)] == [0.25]
    first = next(model.parameters())  # a depthwise convolution makes 8 channels of each of the 5
    assert first.shape[:2] == ((40, 1) if name in ("bn_inception", "inception_v2_slim") else (first.shape[0], 5))


@one_of_a_family_by_name
def test_dropout_keeps_the_keys(name: str) -> None:
    with shapes_alone():
        assert create_model(name, drop_rate=0.1).state_dict().keys() == create_model(name).state_dict().keys()


def test_dropout_acts_before_the_classifier_and_only_in_training() -> None:
    model = create_model("inception_small", drop_rate=0.5)
    features = torch.ones(8, 336, 7, 7)
    dropped = model.train().forward_head(features, pre_logits=True)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert 0.4 < (dropped == 0).float().mean() < 0.6  # of 2,688 values; a standard deviation is 0.01
    assert model.eval().forward_head(features, pre_logits=True).eq(1).all()


@every_network
def test_no_classes_leave_the_pooled_features_and_a_new_classifier_reads_them(name: str) -> None:
    network = get_network(name)
    with shapes_alone():
        model = create_model(name, num_classes=0)
        x = torch.empty(2, 3, small(network), small(network))
        assert (model.num_classes, model(x).shape) == (0, (2, model.num_features))
        kept = {key: p for key, p in model.named_parameters()}
        model.reset_classifier(5)
        assert (model.num_classes, model.network.classes, model(x).shape) == (5, 5, (2, 5))
        assert model.get_classifier().weight.shape == (5, model.num_features)
        assert all(p is kept[key] for key, p in model.named_parameters() if not key.startswith("classifier."))
        model.reset_classifier(0)
        assert (model.num_classes, model(x).shape) == (0, (2, model.num_features))
        assert [key for key, _ in model.named_parameters()] == list(kept)


def test_new_classifier_comes_in_the_precision_of_the_others() -> None:
    model = create_model("inception_small").double()
    model.reset_classifier(3)
    assert model(noise(2, 3, 28, 28).double()).dtype is torch.float64


def test_new_classifiers_of_the_auxiliary_form_are_all_replaced() -> None:
    with shapes_alone():
        model = create_model("googlenet_bn", aux=True)
        model.reset_classifier(6)
        out = model(torch.empty(2, 3, 224, 224))
    assert out.logits.shape == (2, 6) and [logits.shape for logits in out.aux] == [(2, 6)] * 2


def test_auxiliary_form_without_classes_is_refused_and_leaves_the_model_whole() -> None:
    with pytest.raises(NetworkError, match="googlenet: auxiliary heads need classes; classes is 0"):
        create_model("googlenet", num_classes=0, aux=True)
    with shapes_alone():
        model = create_model("googlenet_bn", aux=True)
        with pytest.raises(NetworkError, match="googlenet_bn: auxiliary heads need classes; classes is 0"):
            model.reset_classifier(0)
        assert (model.num_classes, model(torch.empty(2, 3, 224, 224)).logits.shape) == (1000, (2, 1000))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"aux": True}, "xception has no auxiliary heads; build it without aux"),
        ({"features_only": True, "aux": True}, "xception: features_only and aux exclude each other"),
        ({"out_indices": (1,)}, r"xception: out_indices is \(1,\), which only features_only=True reads"),
        ({"output_stride": 12}, "xception: output_stride is 12; allowed are 4, 8, 16, 32"),
        ({"num_classes": -1}, "xception: classes is -1; it must be 0"),
        ({"in_chans": 0}, "in_channels is 0; it must be a positive whole number"),
        ({"drop_rate": 1.0}, "Dropout: rate is 1.0; it must be at least 0 and below 1"),
        ({"image_size": 31}, "xception can't take images of 31x31 pixels .*; the smallest square image is 32x32"),
    ],
)
def test_keywords_that_cannot_be_are_refused_in_one_line(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message) as error:
        create_model("xception", **keywords)
    assert "\n" not in str(error.value)


# ---- finer grids by dilation


@one_of_a_family_by_name
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_network_keeps_its_parameters_and_ends_on_the_finer_grid(name: str, output_stride: int) -> None:
    network = get_network(name)
    with shapes_alone():
        plain, model = create_model(name), create_model(name, output_stride=output_stride).eval()
        features = model.forward_features(torch.empty(1, 3, network.image_size, network.image_size))
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    step = min(output_stride, reduction(network))  # inception_small never goes beyond 4
    finest = [stage for stage in network.stages if reductions(network)[stage.name] == step][-1]
    assert features.shape[2:] == pair(finest.grid)
    assert reduction(model.network) == step


@pytest.mark.parametrize("output_stride", [8, 16])
@torch.no_grad()
def test_dilated_network_runs_and_its_levels_say_how_fine_they_are(one_of_a_family: Classifier, output_stride: int) -> None:
    network = one_of_a_family.network
    model = twin(lambda: create_model(network, output_stride=output_stride, features_only=True), one_of_a_family)
    out = model(images(network, small(network)))
    with shapes_alone():
        plain = create_model(network, features_only=True).feature_info
    assert [level.reduction for level in model.feature_info] == [min(output_stride, level.reduction) for level in plain]
    assert all(features.isfinite().all() for features in out)
    assert [features.shape[1] for features in out] == [network.stage(name).channels for name in network.features]


ALIGNED = ("xception41", "xception65", "xception71", "xception41p", "xception65p")
"""Pad symmetrically: windows of stride 2 have their centres at 0, 2, 4, ... whatever the size."""


@pytest.mark.parametrize(
    ("name", "size", "first_of_2", "first_of_4"),
    [
        *(
            pytest.param(name, 107, 0, 0, marks=() if "41" in name else pytest.mark.exhaustive) for name in ALIGNED
        ),  # symmetric padding: windows of stride 2 have their centres at 0, 2, 4, ... whatever the size
        ("xception", 43, 0, 0),  # SAME on odd grids does the same: 5, 3, 2
        ("googlenet", 128, 1, 3),  # unpadded pools have their centres at 1, 3, 5, ...
        pytest.param("googlenet_naive", 128, 1, 3, marks=pytest.mark.exhaustive),
    ],
)
@torch.no_grad()
def test_dilated_network_computes_the_undilated_one_at_more_places(name: str, size: int, first_of_2: int, first_of_4: int) -> None:
    plain = create_model(name).eval()
    coarse = plain.forward_features(noise(1, 3, size, size))
    for output_stride, step, first in ((16, 2, first_of_2), (8, 4, first_of_4)):
        model = twin(lambda stride=output_stride: create_model(name, output_stride=stride), plain)
        fine = model.forward_features(noise(1, 3, size, size))
        assert relative_error(fine[:, :, first::step, first::step], coarse) < TOLERANCE


def test_auxiliary_heads_go_where_dilation_changes_the_grid_that_they_read() -> None:
    with shapes_alone():
        assert create_model("inception_v3", output_stride=16, aux=True)(torch.empty(2, 3, 299, 299)).aux[0].shape == (2, 1000)
    with pytest.raises(NetworkError, match="inception_v3 has no auxiliary heads"):
        create_model("inception_v3", output_stride=8, aux=True)


# ---- small images and bad ones


@torch.no_grad()
def test_smallest_image_works_and_one_pixel_less_is_refused(classifier: Classifier) -> None:
    network, name = classifier.network, classifier.network.name
    least = COUNTS[name].smallest_px
    assert smallest_image(network) == least
    assert classifier(images(network, least)).isfinite().all()
    for height, width in ((least - 1, least - 1), (least - 1, network.image_size), (network.image_size, least - 1)):
        message = rf"{name} can't take images of {height}x{width} pixels \(.+\); the smallest square image is {least}x{least}$"
        with pytest.raises(NetworkError, match=message):
            classifier(noise(1, 3, height, width))
    with pytest.raises(NetworkError, match=f"{name} can't take images of {least - 1}x{least - 1} pixels"):
        create_model(name, image_size=least - 1)


@torch.no_grad()
def test_images_of_75_or_96_pixels_work_where_the_papers_allow(classifier: Classifier) -> None:
    least = COUNTS[classifier.network.name].smallest_px
    size = 96 if least == 32 else least
    assert size in (75, 96) or size < 32  # made for small images
    assert classifier(images(classifier.network, size)).isfinite().all()


@torch.no_grad()
def test_batches_of_wrong_shape_or_type_are_refused_in_one_line(one_of_a_family: Classifier) -> None:
    network, name = one_of_a_family.network, one_of_a_family.network.name
    x = images(network, small(network))
    extractor = twin(lambda: create_model(network, features_only=True), one_of_a_family)
    one_of_a_family(x), extractor(x)  # sizes met before must not hide what is wrong
    for forward in (one_of_a_family, one_of_a_family.forward_features, extractor):
        for bad in (x[:, :2], torch.cat([x, x], dim=1), x[0], x[None]):
            message = f"{name} reads batches of shape (N, 3, H, W); got {tuple(bad.shape)}"
            with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
                forward(bad)
        with pytest.raises(NetworkError, match=f"^{name} reads floating-point pixels; got torch.uint8"):
            forward(torch.zeros(x.shape, dtype=torch.uint8))


@every_network_with_aux
def test_auxiliary_heads_refuse_images_of_a_size_that_they_were_not_made_for(name: str) -> None:
    network = get_network(name)
    with shapes_alone():
        model = create_model(name, aux=True)
        first = network.aux[0].layers[0]
        if isinstance(first, AdaptiveAvgPool):
            assert model(torch.empty(2, 3, 96, 128)).aux[0].shape == (2, network.classes)
            return
        size = network.image_size
        for height, width in ((96, 96), (size, 96)):
            linear = rf"is made for images of {size}x{size} pixels and can't read {height}x{width}; create the model with the image_size"
            window = r".*a AvgPool of 5x5 doesn't fit on a grid of .*; give a larger image"
            with pytest.raises(NetworkError, match=rf"^{name}: auxiliary head on '\w+'.*({linear}|{window})"):
                model(torch.empty(2, 3, height, width))
        assert model(torch.empty(2, 3, size, size)).aux[0].shape == (2, network.classes)


def test_caffe_pools_beside_strided_convolutions_refuse_odd_grids() -> None:
    with shapes_alone():  # 72 pixels reach 3c as 9x9; its convolutions leave 5x5 and a pool that rounds up without padding 4x4
        model = create_model("bn_inception_caffe")
        with pytest.raises(NetworkError, match=r"can't take images of 72x72 pixels \(stage '3c': branches end on different grids"):
            model(torch.empty(2, 3, 72, 72))
        assert model(torch.empty(2, 3, 96, 96)).shape == (2, 1000)


# ---- torch's compilers


@pytest.fixture
def fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(model: nn.Module, **settings: Any) -> Any:
    return torch.compile(model, fullgraph=True, **settings)


COMPILED = ("inception_small",)
"""Of `FEW` that which Dynamo is through with soonest; the others are exported below, by the same Dynamo."""


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_dynamo")
@pytest.mark.parametrize("one_of_a_family", family_first(list_models(), COMPILED), indirect=True)
@torch.no_grad()
def test_whole_graph_compiles_and_gives_the_eager_result(one_of_a_family: Classifier) -> None:
    x = images(one_of_a_family.network, small(one_of_a_family.network))
    assert relative_error(compiled(one_of_a_family, backend="aot_eager")(x), one_of_a_family(x)) < TOLERANCE


@pytest.mark.exhaustive
@pytest.mark.usefixtures("fresh_dynamo")
@torch.no_grad()
def test_inductor_gives_the_eager_result_of_small_inception_and_inception_v3() -> None:
    for name in ("inception_small", "inception_v3"):  # in one test, for both share half a minute of precompiled headers
        model = create_model(name).eval()
        x = images(model.network, small(model.network))
        # The C++ of inception_v3's many shapes takes minutes with vector code and a quarter of that without; the graph is the same.
        assert relative_error(compiled(model, options={"cpp.simdlen": 0})(x), model(x)) < TOLERANCE


@pytest.mark.exhaustive
@pytest.mark.usefixtures("fresh_dynamo")
@pytest.mark.parametrize("name", ["inception_small", "googlenet_bn", "xception41p"])
def test_training_step_compiles_and_gives_the_eager_gradient(name: str) -> None:
    network = get_network(name)
    model = create_model(name, drop_rate=0.0).train()
    x = images(network, small(network), batch=4)
    weights = torch.randn_like(model(x))
    gradients = []
    for forward in (model, compiled(model, backend="aot_eager")):
        model.zero_grad()
        (forward(x) * weights).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert relative_error(*reversed(gradients)) < TOLERANCE


@pytest.mark.exhaustive
@pytest.mark.usefixtures("fresh_dynamo")
@torch.no_grad()
def test_form_with_auxiliary_heads_compiles_too() -> None:
    model = create_model("googlenet_bn", aux=True).eval()
    x = noise(2, 3, 96, 96)
    for ours, eager in zip(compiled(model, backend="aot_eager")(x).aux, model(x).aux, strict=True):
        assert relative_error(ours, eager) < TOLERANCE


@pytest.mark.exhaustive
@pytest.mark.usefixtures("fresh_dynamo")
@pytest.mark.parametrize(("name", "output_stride"), [("inception_small", 32), ("inception_v3", 16)])
@torch.no_grad()
def test_form_with_features_compiles_too(name: str, output_stride: int) -> None:
    extractor = create_model(name, features_only=True, output_stride=output_stride).eval()
    x = noise(2, 3, 96, 96)
    for ours, eager in zip(compiled(extractor, backend="aot_eager")(x), extractor(x), strict=True):
        assert relative_error(ours, eager) < TOLERANCE


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_dynamo")
@pytest.mark.parametrize("one_of_a_family", family_first(list_models(), FEW), indirect=True)
@torch.no_grad()
def test_exported_program_gives_the_eager_result_for_any_batch(one_of_a_family: Classifier) -> None:
    size = small(one_of_a_family.network)
    program = torch.export.export(one_of_a_family, (noise(2, 3, size, size),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    x = noise(3, 3, size, size, seed=1)
    assert relative_error(program.module()(x), one_of_a_family(x)) < TOLERANCE
