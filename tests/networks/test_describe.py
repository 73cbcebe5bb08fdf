import pytest

from inceptions.networks import reshape
from inceptions.networks.describe import describe, label, summarize
from inceptions.networks.registry import NETWORKS, get_network
from inceptions.networks.spec import NetworkError


def test_label_reads_as_the_reference_tables_do():
    v3 = get_network("inception_v3")
    assert label(v3.stage("1a").node) == "32(3x3/2 V)"
    assert label(v3.stage("5b").node) == "64 | 48→64(5x5) | 64→96(3x3)→96(3x3) | avg(3x3)→32"
    assert label(v3.stage("7b").node) == "320 | 384→{384(1x3) | 384(3x1)} | 448→384(3x3)→{384(1x3) | 384(3x1)} | avg(3x3)→192"
    resnet = get_network("inception_resnet_v2")
    assert label(resnet.stage("block35").node) == "10 x [x + 0.17·({32 | 32→32(3x3) | 32→48(3x3)→64(3x3)}→320 linear)→ReLU]"
    assert label(resnet.stage("block8_last").node) == "x + ({192 | 192→224(1x3)→256(3x1)}→2080 linear)"
    xception = get_network("xception")
    assert label(xception.stage("block2").node) == "128(1x1/2) linear + (sep 128(3x3)→ReLU→sep 128(3x3)→max(3x3/2))"
    assert label(reshape.dilate(v3, 16).stage("7b").node).startswith("320 | 384→{384(1x3 rate 2)")


@pytest.mark.parametrize("network", NETWORKS.values(), ids=lambda network: network.name)
def test_rows_add_up_to_the_totals(network):
    table = describe(network)
    assert sum(row["parameters"] for row in table["stages"]) == table["parameters"]
    assert sum(row["multiply_adds"] for row in table["stages"]) == table["multiply_adds"]
    assert sum(row["parameters"] for row in table["auxiliary_heads"]) == table["parameters_with_aux"] - table["parameters"]
    assert summarize(network)["parameters"] == table["parameters"]
    assert [row["name"] for row in table["stages"]] == [*(stage.name for stage in network.stages), "head"]


def test_another_image_size_changes_grids_and_cost_but_no_parameter():
    v3 = get_network("inception_v3")
    small, whole = describe(v3, image_size=139), describe(v3)
    assert small["parameters"] == whole["parameters"]
    assert small["multiply_adds"] < whole["multiply_adds"] / 4
    assert small["stages"][-2]["output"] == [2048, 3, 3]


def test_too_small_an_image_names_the_smallest():
    with pytest.raises(NetworkError, match=r"can't take images of 50x50 pixels .* the smallest square image is 75x75"):
        describe(get_network("inception_v3"), image_size=50)
