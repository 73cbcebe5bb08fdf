"""The only maker of layers: enters a node of a table and the shape that it reads, leaves a torch module and the shape that it gives.

Keys of the state dict are the table's: stage, branch, place in the chain, then `conv`, `bn`, `depthwise`, `pointwise` or `linear`.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any, TypeVar, assert_never

import torch
from torch import nn

from inceptions.networks import spec
from inceptions.networks.modules.initialize import initialize
from inceptions.networks.modules.layers import Chain, Concat, L2Normalize, SamePad, Sum
from inceptions.networks.spec import ActivationName, Convolution, Network, NetworkError, Node, pair
from inceptions.networks.trace import Shape, padding_rule, trace_node

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def build(node: Node, shape: Shape, network: Network, where: str) -> tuple[nn.Module, Shape]:
    """Return the module for `node`, which reads (N, *shape), and the shape that it leaves.

    Raises NetworkError, beginning with `where`, when branches, shortcuts or windows do not fit.
    """
    module = _module(node, shape, network, where)
    return module, trace_node(node, shape, network.numerics, where).output


def _module(node: Node, shape: Shape, network: Network, where: str) -> nn.Module:
    match node:
        case tuple():
            parts = []
            for part in node:
                module, shape = build(part, shape, network, where)
                parts.append(module)
            return nn.Sequential(*parts)
        case spec.Parallel():
            check_names((name for name, _ in node.branches), nn.ModuleDict(), f"{where}, branch")
            return Concat({name: _module(branch, shape, network, f"{where}, branch '{name}'") for name, branch in node.branches})
        case spec.Residual():
            body = _module(node.body, shape, network, f"{where}, body")
            shortcut = _module(node.shortcut, shape, network, f"{where}, shortcut") if node.shortcut else None
            return Sum(body=body, scale=node.scale, shortcut=shortcut, act=_activation(node.activation))
        case spec.Conv():
            return _conv(node, shape, network)
        case spec.SeparableConv():
            return _separable(node, shape, network)
        case spec.Linear():
            layer = linear(prod(shape), node, network)
            norm = _batch_norm(node.channels, network, kind=nn.BatchNorm1d) if node.norm else None
            return Chain(flatten=nn.Flatten(), linear=layer, bn=norm, act=_activation(node.activation))
        case spec.MaxPool():
            return _max_pool(node, network)
        case spec.AvgPool():
            return _avg_pool(node, network, where)
        case spec.AdaptiveAvgPool():
            return nn.AdaptiveAvgPool2d(node.grid)
        case spec.LocalResponseNorm():
            return nn.LocalResponseNorm(node.size, node.alpha, node.beta, node.k)
        case spec.BatchNorm():
            return Chain(bn=_batch_norm(shape.channels, network), act=_activation(node.activation))
        case spec.Activation():
            return _activation(node.kind, inplace=False) or nn.Identity()
        case spec.Dropout():
            return nn.Dropout(node.rate)
        case spec.L2Normalize():
            return L2Normalize()
        case _:
            assert_never(node)


def check_names(names: Iterable[str], holder: nn.Module, where: str) -> None:
    """Check that `holder` can have submodules called `names`; NetworkError, beginning with `where`, names the first that it can't have."""
    for name in names:
        if not name or "." in name:
            raise NetworkError(f"{where} '{name}': the name is a part of keys of the state dict; give one with letters and no dot")
        if hasattr(holder, name):
            raise NetworkError(f"{where} '{name}': every {type(holder).__name__} of torch has something of that name; give another one")


def linear(in_features: int, node: spec.Linear, network: Network, *, bias_init: float | None = None) -> nn.Linear:
    """Return a fully connected layer filled as the network's initialiser says; its bias with `bias_init`, or the network's."""
    layer = _allocate(nn.Linear(in_features, node.channels, bias=node.has_bias, device="meta"))
    initialize(layer, node.init or network.init, bias=network.bias_init if bias_init is None else bias_init)
    return layer


def _allocate(layer: Layer) -> Layer:
    """Return a layer of device "meta" with tensors that nobody has filled; torch's `skip_init` does it by an import of half a second."""
    for name, parameter in list(layer.named_parameters()):
        setattr(layer, name, nn.Parameter(torch.empty(parameter.shape)))
    return layer


def _conv(node: spec.Conv, shape: Shape, network: Network) -> nn.Module:
    pad, padding = _padding(node, network)
    conv = _conv2d(shape.channels, node.channels, node, network, padding=padding, bias=node.has_bias, groups=node.groups)
    return Chain(pad=pad, conv=conv, bn=_norm(node, network), act=_activation(node.activation))


def _separable(node: spec.SeparableConv, shape: Shape, network: Network) -> nn.Module:
    pad, padding = _padding(node, network)
    middle = shape.channels * node.multiplier
    depthwise = _conv2d(shape.channels, middle, node, network, padding=padding, bias=False, groups=shape.channels)
    pointwise = _conv2d(middle, node.channels, spec.Conv(node.channels, 1, init=node.init), network, padding=(0, 0), bias=node.has_bias)
    return Chain(
        pad=pad,
        depthwise=depthwise,
        depthwise_bn=_batch_norm(middle, network) if node.depthwise_norm else None,
        depthwise_act=_activation(node.depthwise_activation),
        pointwise=pointwise,
        bn=_norm(node, network),
        act=_activation(node.activation),
    )


def _conv2d(
    channels: int, out: int, node: Convolution, network: Network, *, padding: tuple[int, int], bias: bool, groups: int = 1
) -> nn.Conv2d:
    settings = {"stride": node.stride, "padding": padding, "dilation": node.dilation, "groups": groups, "bias": bias}
    layer = _allocate(nn.Conv2d(channels, out, pair(node.kernel), **settings, device="meta"))
    initialize(layer, node.init or network.init, bias=network.bias_init)
    return layer


def _padding(node: Convolution, network: Network) -> tuple[SamePad | None, tuple[int, int]]:
    kernel = pair(node.kernel)
    half = tuple(node.dilation * (k - 1) // 2 for k in kernel)
    match padding_rule(node, network.numerics):
        case "valid":
            return None, (0, 0)
        case "tensorflow" if max(kernel) > 1 and (node.stride > 1 or any(node.dilation * (k - 1) % 2 for k in kernel)):
            return SamePad(kernel, stride=node.stride, dilation=node.dilation, value=0.0), (0, 0)
        case _:
            return None, (half[0], half[1])


def _max_pool(node: spec.MaxPool, network: Network) -> nn.Module:
    rule = padding_rule(node, network.numerics)
    reach = node.dilation * (node.kernel - 1)
    settings: dict[str, Any] = {"kernel_size": node.kernel, "stride": node.stride, "dilation": node.dilation}
    if rule == "tensorflow" and (node.stride > 1 or reach % 2 or node.dilation > 1):  # torch pads by half of an undilated kernel at most
        pad = SamePad(pair(node.kernel), stride=node.stride, dilation=node.dilation, value=float("-inf"))
        return Chain(pad=pad, pool=nn.MaxPool2d(**settings))
    padding = reach // 2 if rule in ("tensorflow", "symmetric") else 0
    return nn.MaxPool2d(**settings, padding=padding, ceil_mode=rule == "ceil")


def _avg_pool(node: spec.AvgPool, network: Network, where: str) -> nn.Module:
    rule = padding_rule(node, network.numerics)
    if rule == "tensorflow" and (node.stride > 1 or node.kernel % 2 == 0):
        raise NetworkError(f"{where}: an average pool of stride {node.stride} and kernel {node.kernel} can't pad unevenly; make it VALID")
    return nn.AvgPool2d(
        node.kernel,
        node.stride,
        padding=(node.kernel - 1) // 2 if rule in ("tensorflow", "symmetric") else 0,
        ceil_mode=rule == "ceil",
        count_include_pad=network.numerics.avg_pool_counts_padding,
    )


def _norm(node: Convolution, network: Network) -> nn.Module | None:
    return _batch_norm(node.channels, network) if node.norm else None


def _batch_norm(channels: int, network: Network, kind: type[nn.BatchNorm2d | nn.BatchNorm1d] = nn.BatchNorm2d) -> nn.Module:
    return kind(channels, eps=network.numerics.bn_epsilon, momentum=network.numerics.bn_momentum)


def _activation(kind: ActivationName | None, *, inplace: bool = True) -> nn.Module | None:
    match kind:
        case None:
            return None
        case "relu":
            return nn.ReLU(inplace=inplace)
        case "elu":
            return nn.ELU()
        case "sigmoid":
            return nn.Sigmoid()
        case _:
            assert_never(kind)
