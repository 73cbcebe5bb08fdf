"""Parameters and multiply-adds as the papers and the published checkpoints have them. No torch."""

from dataclasses import replace

import pytest

from inceptions.networks.registry import get_network, list_models
from inceptions.networks.reshape import with_classes
from inceptions.networks.spec import L2Normalize, Linear
from inceptions.networks.trace import trace
from tests.networks.counts import COUNTS


@pytest.mark.parametrize("name", list_models())
def test_network_has_its_published_size_and_cost(name: str) -> None:
    table = trace(get_network(name))
    found = table.total.parameters, table.total_with_aux.parameters, table.total.multiply_adds, table.total.norm_channels
    assert found == COUNTS[name][:4]


# ---- auxiliary heads

AUX = {
    "googlenet": {"aux 4a": (3_188_840, 4.17), "aux 4d": (3_190_888, 4.20)},
    "googlenet_bn": {"aux 4a": (3_188_968, 4.17), "aux 4d": (3_191_016, 4.20)},
    "inception_v3": {"aux 6e": (3_326_696, 5.68)},
    "inception_v4": {"aux 6h": (3_359_464, 6.50)},
    "inception_resnet_v2": {"aux block17": (3_367_656, 6.71)},
}


@pytest.mark.parametrize("name", AUX)
def test_auxiliary_heads_have_their_published_size_and_cost(name: str) -> None:
    rows = trace(get_network(name)).aux
    assert {row.name: (row.cost.parameters, round(row.cost.multiply_adds / 1e6, 2)) for row in rows} == AUX[name]


def test_auxiliary_losses_have_the_published_weights() -> None:
    weights = {name: [head.weight for head in get_network(name).aux] for name in list_models() if get_network(name).aux}
    assert weights == {
        "googlenet": [0.3, 0.3],
        "googlenet_naive": [0.3, 0.3],
        "googlenet_bn": [0.3, 0.3],
        "inception_v3": [0.4],
        "inception_v4": [0.4],
        "inception_resnet_v2": [0.4],
    }


# ---- other people's ways of counting (networks.md 0.1 and 1d, 2c, 3d)


def parameters(name: str, *, classes: int | None = None, aux: bool = False) -> tuple[int, int]:
    """Return trainable parameters and batch-normalised channels, auxiliary heads with theirs where wanted."""
    network = get_network(name)
    table = trace(network if classes is None else with_classes(network, classes))
    total = table.total_with_aux if aux else table.total
    return total.parameters, total.norm_channels


@pytest.mark.parametrize(
    ("name", "base"),
    [("googlenet_bn", 5_607_184), ("inception_v2_slim", 10_173_112), ("inception_v3", 21_802_784)],
)
def test_slim_counts_convolutions_beta_mean_and_variance_of_the_base(name: str, base: int) -> None:
    count, channels = parameters(name)
    classifier = (get_network(name).stages[-1].channels + 1) * 1000
    assert count - classifier - 2 * channels + 3 * channels == base


@pytest.mark.parametrize(
    ("name", "aux", "trainable"),
    [
        ("googlenet_bn", False, 6_618_649),
        ("inception_v2_slim", False, 11_179_361),
        ("inception_v3", True, 27_145_970),
        ("inception_v4", True, 46_009_106),
        ("inception_resnet_v2", True, 59_182_258),
    ],
)
def test_slim_trains_1001_classes_and_no_gamma(name: str, aux: bool, trainable: int) -> None:
    count, channels = parameters(name, classes=1001, aux=aux)
    assert count - channels == trainable


@pytest.mark.parametrize(("name", "trainable"), [("xception41", 26_971_609), ("xception65", 39_918_361), ("xception71", 42_340_785)])
def test_deeplab_trains_1001_classes_with_gamma(name: str, trainable: int) -> None:
    assert parameters(name, classes=1001)[0] == trainable


@pytest.mark.parametrize(
    ("name", "values_per_channel", "total"),
    [
        ("inception_v3", 3, 23_851_784),  # beta, mean, variance
        ("inception_v4", 3, 42_711_400),
        ("inception_resnet_v2", 3, 55_873_736),
        ("xception", 4, 22_910_480),  # and gamma
    ],
)
def test_keras_counts_the_statistics_too(name: str, values_per_channel: int, total: int) -> None:
    count, channels = parameters(name)
    assert count + (values_per_channel - 2) * channels == total


def test_facenet_has_its_published_sizes_with_128_dimensions_and_with_a_classifier() -> None:
    network = get_network("inception_resnet_v1_facenet")
    assert trace(with_classes(network, 8631)).total.parameters == 27_910_327
    assert trace(with_classes(network, 8631)).total.multiply_adds == 1_422_081_376
    narrow = replace(network, head=tuple(replace(n, channels=128) if isinstance(n, Linear) else n for n in network.head))
    assert narrow.embedding == L2Normalize()
    assert (trace(narrow).total.parameters, trace(narrow).total.multiply_adds) == (22_793_728, 1_416_974_176)


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("googlenet", 1024),
        ("bn_inception", 1024),
        ("inception_v3", 2048),
        ("xception", 2048),
        ("inception_v4", 1536),
        ("inception_resnet_v2", 1536),
    ],
)
def test_one_class_more_costs_one_row_of_the_classifier(name: str, features: int) -> None:
    assert parameters(name, classes=1001)[0] - parameters(name)[0] == features + 1


# ---- single rows of the papers' tables: parameters and, in millions, multiply-adds

ROWS = {
    "googlenet": {
        "conv1": (9_472, 118.0),
        "conv2_reduce": (4_160, 12.8),
        "conv2": (110_784, 346.8),
        "3a": (163_696, 128.0),
        "3b": (388_736, 304.3),
        "4a": (376_176, 73.6),
        "4b": (449_160, 87.9),
        "4c": (510_104, 99.9),
        "4d": (605_376, 118.5),
        "4e": (868_352, 170.0),
        "5a": (1_043_456, 51.1),
        "5b": (1_444_080, 70.7),
        "head": (1_025_000, 1.0),
    },
    "googlenet_naive": {
        "3a": (387_296, 303.5),
        "3b": (1_770_912, 1_388.1),
        "4a": (2_716_096, 532.3),
        "4b": (4_833_728, 947.3),
        "4c": (6_967_744, 1_365.6),
        "4d": (9_365_968, 1_835.6),
        "4e": (16_727_744, 3_278.5),
        "5a": (21_188_288, 1_038.2),
        "5b": (28_498_816, 1_396.4),
        "head": (4_945_000, 4.9),
    },
    "bn_inception": {
        "conv1": (2_840, 34.0),
        "conv2_reduce": (4_224, 12.8),
        "conv2": (110_976, 346.8),
        "3a": (219_072, 171.0),
        "3b": (260_160, 203.1),
        "3c": (385_088, 143.9),
        "4a": (609_984, 119.2),
        "4b": (665_344, 130.1),
        "4c": (914_432, 178.8),
        "4d": (1_142_912, 223.6),
        "4e": (1_449_984, 164.6),
        "5a": (2_208_896, 108.1),
        "5b": (2_279_616, 111.5),
        "head": (1_025_000, 1.0),
    },
    "inception_v3": {
        "1a": (928, 19.2),
        "2a": (9_280, 199.1),
        "2b": (18_560, 398.3),
        "3a": (0, 0.0),
        "3b": (5_280, 27.3),
        "4a": (138_624, 696.9),
        "5a": (0, 0.0),
        "5b": (255_904, 312.3),
        "5c": (277_472, 338.7),
        "5d": (285_152, 348.1),
        "6a": (1_153_280, 401.9),
        "6b": (1_297_408, 374.1),
        "6c": (1_691_008, 487.7),
        "6d": (1_691_008, 487.7),
        "6e": (2_141_952, 617.9),
        "7a": (1_698_304, 291.0),
        "7b": (5_044_608, 322.4),
        "7c": (6_076_800, 388.5),
        "head": (2_049_000, 2.0),
    },
    "inception_v4": {
        "1a": (928, 19.2),
        "2a": (9_280, 199.1),
        "2b": (18_560, 398.3),
        "3a": (55_488, 294.7),
        "4a": (189_312, 972.2),
        "5a": (332_160, 406.4),
        **{stage: (317_632, 387.6) for stage in ("5b", "5c", "5d", "5e")},
        "6a": (2_306_112, 1_097.2),
        **{stage: (2_936_256, 847.3) for stage in ("6b", "6c", "6d", "6e", "6f", "6g", "6h")},
        "7a": (2_747_392, 511.1),
        **{stage: (4_553_088, 291.0) for stage in ("7b", "7c", "7d")},
        "head": (1_537_000, 1.5),
    },
    "inception_resnet_v1": {
        "4b": (442_880, 541.9),
        "block35": (387_200, 470.4),
        "6a": (1_710_080, 850.2),
        "block17": (6_900_480, 1_988.7),
        "7a": (3_346_176, 501.4),
        "block8": (8_003_840, 511.2),
        "head": (1_793_000, 1.8),
    },
    "inception_resnet_v2": {
        "5b": (268_320, 327.4),
        "block35": (1_231_680, 1_499.0),
        "6a": (2_664_960, 1_398.2),
        "block17": (22_535_680, 6_498.8),
        "7a": (3_880_960, 585.4),
        "block8": (18_318_816, 1_170.2),
        "block8_last": (2_035_424, 130.0),
        "7b": (3_197_952, 204.5),
        "head": (1_537_000, 1.5),
    },
    "inception_resnet_v2_paper": {
        "block35": (687_840, 837.3),
        "6a": (2_902_528, 1_482.2),
        "block17": (11_719_040, 3_379.6),
        "7a": (3_930_112, 599.6),
        "block8": (10_443_680, 667.2),
        "head": (2_145_000, 2.1),
    },
    "xception": {
        "block1_conv1": (928, 19.2),
        "block1_conv2": (18_560, 398.3),
        "block2": (35_264, 613.3),
        "block3": (136_064, 602.1),
        "block4": (915_944, 1_060.1),
        **{f"block{n}": (1_613_976, 581.1) for n in range(5, 13)},
        "block13": (2_039_584, 539.7),
        "block14_sepconv1": (1_585_152, 158.2),
        "block14_sepconv2": (3_163_648, 316.0),
        "head": (2_049_000, 2.0),
    },
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_cost_what_the_reference_measured(name: str) -> None:
    rows = {row.name: (row.cost.parameters, round(row.cost.multiply_adds / 1e6, 1)) for row in trace(get_network(name)).rows}
    assert {stage: rows[stage] for stage in ROWS[name]} == ROWS[name]


@pytest.mark.parametrize("name", ["googlenet", "googlenet_naive", "bn_inception", "inception_v3", "inception_v4", "xception"])
def test_reference_rows_leave_out_nothing_that_has_parameters(name: str) -> None:
    rows = {row.name for row in trace(get_network(name)).rows if row.cost.parameters}
    stem = {"conv1", "conv2_reduce", "conv2"} if name == "googlenet_naive" else set()
    assert rows - set(ROWS[name]) == stem


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("xception41", {"entry1": 53_696, "entry2": 205_696, "entry3": 1_457_360, "middle": 8 * 1_618_344}),
        ("xception65", {"entry1": 53_696, "entry2": 205_696, "entry3": 1_457_360, "middle": 16 * 1_618_344}),
        (
            "xception71",
            {"entry1": 53_696, "entry2": 205_696, "entry3": 272_640, "entry4": 1_457_360, "entry5": 2_149_784, "middle": 16 * 1_618_344},
        ),
    ],
)
def test_aligned_xception_modules_have_the_size_that_timm_has(name: str, modules: dict[str, int]) -> None:
    found = {row.name: row.cost.parameters for row in trace(get_network(name)).rows}
    assert {stage: found[stage] for stage in modules} == modules
    assert (found["exit1"], found["exit2"], found["head"]) == (3_104_384, 7_133_184, 2_049_000)


def test_bn_inception_with_576_channels_differs_from_the_608_reading_where_the_reference_says() -> None:
    found = {row.name: row.cost.parameters for row in trace(get_network("inception_v2_slim")).rows}
    assert {stage: found[stage] for stage in ("4c", "4d", "4e", "5a")} == {"4c": 895_936, "4d": 1_108_032, "4e": 1_439_744, "5a": 2_182_272}
