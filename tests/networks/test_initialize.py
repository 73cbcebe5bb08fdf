"""Fresh weights are drawn as the papers' and the releases' code draws them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from inceptions.networks.modules.models import create_model
from inceptions.networks.registry import list_models
from tests.networks.conftest import family_first

CUT_NORMAL = 0.8796  # standard deviation of a normal distribution of deviation one that is cut at two
SPREAD = 0.02  # relative error of a deviation from at least 36,000 values: 1 / sqrt(2 n) is below 0.004, and this is five times that


def weight(name: str, key: str, **keywords: object) -> Tensor:
    """Return one weight of a fresh network."""
    return create_model(name, **keywords).state_dict()[key]


@pytest.mark.parametrize(
    ("name", "key", "deviation"),
    [
        ("inception_v3", "stages.7b.double3x3.1.conv.weight", math.sqrt(1.3 * 2 / (448 * 9))),  # slim's variance scaling, factor 2, fan-in
        ("inception_v3", "classifier.weight", math.sqrt(1.3 * 2 / 2048)),
        ("googlenet_bn", "stages.4e.conv3x3.1.conv.weight", 0.01),
        ("xception41", "stages.exit2.1.pointwise.weight", 0.09),
    ],
)
def test_weights_are_normal_and_cut_at_two_deviations(name: str, key: str, deviation: float) -> None:
    values = weight(name, key)
    assert values.numel() > 36_000 and values.abs().max() <= 2 * deviation * (1 + 1e-5)
    assert values.std().item() == pytest.approx(CUT_NORMAL * deviation, rel=SPREAD)
    assert abs(values.mean().item()) < 5 * deviation / math.sqrt(values.numel())
    inner = (values.abs() < deviation).float().mean().item()  # of a cut normal: 0.6827 / 0.9545
    assert inner == pytest.approx(0.7152, abs=0.012)


@pytest.mark.parametrize(
    ("name", "key", "limit"),
    [
        ("googlenet", "stages.4e.conv3x3.1.conv.weight", math.sqrt(3 / (160 * 9))),  # Caffe's xavier, by fan-in
        ("googlenet", "classifier.weight", math.sqrt(3 / 1024)),
        ("xception", "stages.block14_sepconv2.pointwise.weight", math.sqrt(6 / (1536 + 2048))),  # Keras' glorot_uniform
        ("xception", "stages.block13.body.1.depthwise.weight", math.sqrt(6 / (728 * 9 + 9))),  # Keras counts a depthwise kernel so
    ],
)
def test_weights_are_uniform_up_to_the_limit(name: str, key: str, limit: float) -> None:
    values = weight(name, key)
    assert 0.99 * limit < values.abs().max() <= limit
    assert values.std().item() == pytest.approx(limit / math.sqrt(3), rel=SPREAD)


def test_googlenet_starts_with_caffes_biases() -> None:
    model = create_model("googlenet", aux=True)
    biases = {key: value for key, value in model.named_parameters() if key.endswith(".bias")}
    ends = {key for key in biases if "classifier" in key}
    assert ends == {"classifier.bias", "aux.4a.classifier.bias", "aux.4d.classifier.bias"}
    assert all(bias.eq(0.0 if key in ends else 0.2).all() for key, bias in biases.items())


def test_layers_with_a_deviation_of_their_own_have_it() -> None:
    aux = weight("inception_v3", "aux.6e.layers.2.conv.weight", aux=True)
    assert aux.std().item() == pytest.approx(CUT_NORMAL * 0.01, rel=SPREAD)
    first = weight("inception_v2_slim", "stages.conv1.pointwise.weight")  # 1,536 values
    assert first.std().item() == pytest.approx(CUT_NORMAL * 1.0, rel=0.1)


@pytest.mark.parametrize("name", family_first(list_models()))
def test_every_value_is_drawn_and_normalisations_start_as_the_identity(name: str) -> None:
    model = create_model(name, num_classes=10)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.weight.eq(1).all() and module.bias.eq(0).all()
            assert module.running_mean.eq(0).all() and module.running_var.eq(1).all()
        elif isinstance(module, nn.Conv2d | nn.Linear):
            assert module.weight.isfinite().all() and module.weight.std() > 1e-3
            assert module.bias is None or module.bias.unique().numel() == 1


def test_the_seed_decides_the_weights() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(create_model("inception_small").state_dict()["stages.2a.conv3x3.conv.weight"])
    assert drawn[0].equal(drawn[1]) and not drawn[0].equal(drawn[2])
