"""Initial weights as the papers and their released code draw them: enters a layer without values, leaves it filled.

A float is TensorFlow's truncated normal (cut at two standard deviations); "variance_scaling" is TF-slim's default for convolutions
(factor 2, by fan-in, truncated), "glorot_uniform" Keras', "caffe_xavier" Caffe's (uniform, by fan-in).
"""

from __future__ import annotations

import math
from typing import assert_never

import torch
from torch import Tensor, nn

from inceptions.networks.spec import Initializer


def fans(layer: nn.Conv2d | nn.Linear) -> tuple[int, int]:
    """Return (fan-in, fan-out) as TensorFlow counts them: of a depthwise kernel over all input channels."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    area = math.prod(layer.kernel_size)
    return layer.in_channels * area, layer.out_channels // layer.groups * area


@torch.no_grad()
def initialize(layer: nn.Conv2d | nn.Linear, how: Initializer, *, bias: float) -> None:
    """Fill the weights of `layer` as `how` says, and its bias, if it has one, with the number `bias`; nothing on the meta device."""
    if layer.weight.is_meta:  # to "fill" it, torch would import its compiler
        return
    fan_in, fan_out = fans(layer)
    match how:
        case "variance_scaling":
            _truncated_normal(layer.weight, math.sqrt(1.3 * 2 / fan_in))
        case "glorot_uniform":
            limit = math.sqrt(6 / (fan_in + fan_out))
            layer.weight.uniform_(-limit, limit)
        case "caffe_xavier":
            limit = math.sqrt(3 / fan_in)
            layer.weight.uniform_(-limit, limit)
        case int() | float():
            _truncated_normal(layer.weight, how)
        case _:
            assert_never(how)
    if layer.bias is not None:
        layer.bias.fill_(bias)


def _truncated_normal(weight: Tensor, std: float) -> None:
    """Fill by the inverse of the distribution; torch's own redraws whole tensors until all values fit, ten times as slow."""
    inside = math.erf(math.sqrt(2))  # the probability of at most two standard deviations
    weight.uniform_(-inside, inside).erfinv_().mul_(std * math.sqrt(2))
