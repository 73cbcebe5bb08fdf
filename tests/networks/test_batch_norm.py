"""Batch normalisation of the built layers against 1502.03167, written out in NumPy and float64: Algorithm 1, its gradients, inference.

The paper normalises each feature over the m values of a mini-batch: of a fully connected layer the N images, of a convolution
the N * H * W values of a channel (section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from inceptions.networks.modules.build import build
from inceptions.networks.modules.models import Classifier, create_model
from inceptions.networks.registry import get_network
from inceptions.networks.reshape import with_numerics
from inceptions.networks.spec import BatchNorm, Conv, Linear, Node, SeparableConv
from inceptions.networks.trace import Shape
from tests.networks.twins import noise


class Gradients(NamedTuple):
    x: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray


def normalize(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray, epsilon: float) -> np.ndarray:
    """Algorithm 1, last two lines, for x of shape (m, features)."""
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def batch_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Algorithm 1, first two lines: mean and (biased) variance over the mini-batch."""
    mean = x.sum(axis=0) / len(x)
    return mean, ((x - mean) ** 2).sum(axis=0) / len(x)


def backward(x: np.ndarray, gamma: np.ndarray, epsilon: float, upstream: np.ndarray) -> Gradients:
    """The six equations of section 3, in the paper's order; `upstream` is the gradient with respect to y."""
    m, (mean, variance) = len(x), batch_statistics(x)
    deviation = np.sqrt(variance + epsilon)
    to_normalized = upstream * gamma
    to_variance = (to_normalized * (x - mean) * -0.5 * (variance + epsilon) ** -1.5).sum(axis=0)
    to_mean = (to_normalized * -1 / deviation).sum(axis=0) + to_variance * (-2 * (x - mean)).sum(axis=0) / m
    to_x = to_normalized / deviation + to_variance * 2 * (x - mean) / m + to_mean / m
    return Gradients(to_x, (upstream * (x - mean) / deviation).sum(axis=0), upstream.sum(axis=0))


def rows(x: Tensor) -> np.ndarray:
    """Return (N, C, H, W) or (N, C) as (m, features) in float64."""
    return x.detach().double().movedim(1, -1).reshape(-1, x.shape[1]).numpy()


def layer(name: str, node: Node, shape: Shape, place: str = "bn") -> nn.Module:
    """Return the batch normalisation at `place` of `node`, built to read `shape` with the numerics of the network called `name`."""
    return build(node, shape, get_network(name), "here")[0].get_submodule(place)


Make = Callable[[], tuple[nn.Module, tuple[int, ...]]]
MAP = Shape(3, 7, 6)
LAYERS: dict[str, Make] = {  # each kind that the tables have, and a shape that it reads
    "convolution": lambda: (layer("inception_v3", Conv(5, 1), MAP), (4, 5, 7, 6)),
    "convolution with bias": lambda: (layer("bn_inception_caffe", Conv(5, 1, bias=True), MAP), (4, 5, 7, 6)),
    "depthwise": lambda: (layer("xception65", SeparableConv(5, 3, depthwise_norm=True), MAP, "depthwise_bn"), (4, 3, 7, 6)),
    "pointwise": lambda: (layer("xception", SeparableConv(5, 3), MAP), (4, 5, 7, 6)),
    "before a convolution": lambda: (layer("xception41p", BatchNorm("relu"), MAP), (4, 3, 7, 6)),
    "linear": lambda: (layer("inception_resnet_v1_facenet", Linear(5, norm=True), Shape(6, 1, 1)), (16, 5)),
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())

# float32 has 7 digits and sums at most 168 values here; in float64 only the order of the sums differs.
CLOSE = {torch.float32: {"rtol": 1e-4, "atol": 1e-5}, torch.float64: {"rtol": 1e-10, "atol": 1e-12}}
every_precision = pytest.mark.parametrize("dtype", CLOSE, ids=str)


def drawn(make: Make, dtype: torch.dtype) -> tuple[nn.Module, Tensor]:
    """Return the layer with gamma, beta and statistics that are not the identity, and values of mean 3 and variance about 1.3."""
    norm, shape = make()
    norm = norm.to(dtype)
    with torch.no_grad():
        norm.weight.copy_(noise(shape[1], seed=1) + 1.5)
        norm.bias.copy_(noise(shape[1], seed=2))
        norm.running_mean.copy_(noise(shape[1], seed=3))
        norm.running_var.copy_(noise(shape[1], seed=4) + 1.5)
    return norm, (3 + 2 * noise(*shape, seed=5)).to(dtype)


def gamma_beta(norm: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    return norm.weight.detach().double().numpy(), norm.bias.detach().double().numpy()


@every_layer
@every_precision
def test_training_mode_normalises_by_the_mini_batch(make: Make, dtype: torch.dtype) -> None:
    norm, x = drawn(make, dtype)
    expected = normalize(rows(x), *gamma_beta(norm), *batch_statistics(rows(x)), norm.eps)
    np.testing.assert_allclose(rows(norm.train()(x)), expected, **CLOSE[dtype])


@every_layer
@every_precision
def test_backward_follows_the_equations_of_the_paper(make: Make, dtype: torch.dtype) -> None:
    norm, x = drawn(make, dtype)
    x.requires_grad_()
    upstream = noise(*x.shape, seed=6).to(dtype)
    norm.train()(x).backward(upstream)
    expected = backward(rows(x), gamma_beta(norm)[0], norm.eps, rows(upstream))
    np.testing.assert_allclose(rows(x.grad), expected.x, **CLOSE[dtype])
    np.testing.assert_allclose(norm.weight.grad.double().numpy(), expected.gamma, **CLOSE[dtype])
    np.testing.assert_allclose(norm.bias.grad.double().numpy(), expected.beta, **CLOSE[dtype])


@every_layer
@every_precision
def test_running_statistics_follow_mean_and_unbiased_variance(make: Make, dtype: torch.dtype) -> None:
    norm, x = drawn(make, dtype)
    mean, variance = norm.running_mean.double().numpy().copy(), norm.running_var.double().numpy().copy()
    for batch in (x, 2 * x - 1):
        norm.train()(batch)
        batch_mean, batch_variance = batch_statistics(rows(batch))
        m = len(rows(batch))
        mean = (1 - norm.momentum) * mean + norm.momentum * batch_mean
        variance = (1 - norm.momentum) * variance + norm.momentum * batch_variance * m / (m - 1)
    np.testing.assert_allclose(norm.running_mean.double().numpy(), mean, **CLOSE[dtype])
    np.testing.assert_allclose(norm.running_var.double().numpy(), variance, **CLOSE[dtype])


@every_layer
@every_precision
def test_inference_mode_normalises_by_the_running_statistics(make: Make, dtype: torch.dtype) -> None:
    norm, x = drawn(make, dtype)
    before = norm.running_mean.clone()
    statistics = norm.running_mean.double().numpy(), norm.running_var.double().numpy()
    x.requires_grad_()
    upstream = noise(*x.shape, seed=6).to(dtype)
    y = norm.eval()(x)
    y.backward(upstream)
    gamma, beta = gamma_beta(norm)
    np.testing.assert_allclose(rows(y), normalize(rows(x), gamma, beta, *statistics, norm.eps), **CLOSE[dtype])
    np.testing.assert_allclose(rows(x.grad), rows(upstream) * gamma / np.sqrt(statistics[1] + norm.eps), **CLOSE[dtype])
    assert norm.running_mean.equal(before)


@pytest.mark.parametrize(
    ("node", "shape"),
    [(Conv(5, 3), Shape(3, 7, 6)), (Conv(5, 3, bias=True), Shape(3, 7, 6)), (Linear(5, norm=True, activation="relu"), Shape(6, 1, 1))],
    ids=["convolution", "convolution with bias", "linear"],
)
def test_normalisation_stands_between_the_linear_map_and_the_nonlinearity(node: Conv | Linear, shape: Shape) -> None:
    module, _ = build(node, shape, get_network("inception_v3"), "here")
    module.train()
    x = noise(16, *shape)
    linear = module.conv(x) if isinstance(node, Conv) else module.linear(x.flatten(1))
    values = rows(linear)
    ones = np.ones(values.shape[1])
    expected = np.maximum(normalize(values, ones, 0 * ones, *batch_statistics(values), 1e-3), 0)
    np.testing.assert_allclose(rows(module(x)), expected, **CLOSE[torch.float32])
    assert (module.conv if isinstance(node, Conv) else module.linear).bias is None or node.bias  # the shift of BN is the bias


@pytest.mark.parametrize(
    ("name", "epsilon"), [("inception_v3", 1e-3), ("xception", 1e-3), ("bn_inception_caffe", 1e-5), ("xception41p", 1e-5)]
)
def test_epsilon_is_that_of_the_published_weights(name: str, epsilon: float) -> None:
    with torch.device("meta"):
        norms = [m for m in create_model(name).modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(norms) > 30 and {norm.eps for norm in norms} == {epsilon}


def test_numerics_set_epsilon_and_momentum_everywhere() -> None:
    network = with_numerics(get_network("inception_resnet_v1_facenet"), bn_epsilon=0.25, bn_momentum=0.005)
    with torch.device("meta"):
        norms = [m for m in Classifier(network).modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert {(type(norm), norm.eps, norm.momentum) for norm in norms} == {(nn.BatchNorm2d, 0.25, 0.005), (nn.BatchNorm1d, 0.25, 0.005)}
