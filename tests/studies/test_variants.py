import pytest

from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.networks.spec import NetworkError
from inceptions.networks.trace import trace
from inceptions.studies import variants
from inceptions.studies.catalog import get_study


def test_shapes_of_width_and_depth_cost_alike():
    costs = [trace(arm.network).total.multiply_adds for arm in get_study("width-depth").arms]
    assert max(costs) < 1.02 * min(costs)


def test_both_bottlenecks_are_a_sixth_of_the_channels_they_stand_in():
    arms = {arm.name: arm.network for arm in get_study("bottleneck").arms}
    for name, stage in {"early": "pool2", "late": "4d"}.items():
        *_, squeezed, widened = arms[name].stage(stage).node
        assert widened.channels == arms["none"].stage(stage).channels == 6 * squeezed.channels


def test_heads_of_the_study_of_their_place_stand_on_two_grids():
    (lower, upper) = next(arm.network for arm in get_study("aux-where").arms if arm.name == "both").aux
    network = get_study("aux-where").arms[0].network
    assert (network.stage(lower.after).grid, network.stage(upper.after).grid) == (8, 4)


def test_naive_modules_lose_the_stages_that_reduced_ones_do():
    naive, reduced, _ = (arm.network for arm in get_study("modules").arms)
    assert [(stage.name, stage.grid) for stage in naive.stages] == [(stage.name, stage.grid) for stage in reduced.stages]


def test_with_fewer_blocks_keeps_the_first_of_each_stage():
    network = reshape.small_stem(get_network("inception_resnet_v1"), image_size=64)
    fewer = variants.with_fewer(network, block35=2, block8=1)
    assert [len(fewer.stage(name).node) for name in ("block35", "block17", "block8")] == [2, 10, 1]
    for wrong in ({"block36": 1}, {"block35": 0}, {"block35": 6}, {"1a": 1}):
        with pytest.raises(NetworkError, match=next(iter(wrong))):
            variants.with_fewer(network, **wrong)


def test_plain_modules_cost_what_residual_ones_do_and_have_no_sums():
    plain, residual, _ = (arm.network for arm in get_study("residual").arms)
    assert trace(plain).total.multiply_adds == trace(residual).total.multiply_adds
    assert "Residual(" in repr(residual.stages)
    assert "Residual(" not in repr(plain.stages)
    assert "norm=False" not in repr(plain.stages)


def test_a_reduction_of_all_costs_what_one_in_each_branch_does():
    _, reduced, at_once = (trace(arm.network).total.multiply_adds for arm in get_study("modules").arms)
    assert abs(at_once / reduced - 1) < 0.02
    assert all(isinstance(get_study("modules").arms[2].network.stage(name).node, tuple) for name in ("3a", "3b", "4a", "4d", "5b"))


def test_reductions_have_kernels_of_one_size_and_widening_first_costs_four_times_as_much():
    rows = {arm.name: next(row for row in trace(arm.network).rows if row.name == "reduction1") for arm in get_study("reductions").arms}
    costs = {name: row.cost.multiply_adds for name, row in rows.items()}
    assert costs["widen, then pool"] == 4 * costs["pool, then widen"] == 8 * costs["side by side"] == 4 * costs["stride alone"]


def test_in_the_middle_of_xception_both_orders_cost_the_same():
    depthwise, pointwise, middle = (arm.network for arm in get_study("separable-order").arms)
    turned = [stage.name for stage, other in zip(depthwise.stages, middle.stages, strict=True) if stage != other]
    assert turned == ["block5", "block6", "block7"]
    assert all(middle.stage(name) == pointwise.stage(name) for name in turned)
    assert trace(middle).total == trace(depthwise).total != trace(pointwise).total
