"""Optimisers as values: enters one and groups of parameters, leaves torch's optimiser."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, assert_never

from inceptions.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class Sgd:
    """Stochastic gradient descent with momentum."""

    momentum: float = 0.9
    nesterov: bool = False
    kind: Literal["sgd"] = "sgd"

    def __post_init__(self) -> None:
        _check_decay("optimizer.momentum", self.momentum)


@dataclass(frozen=True, slots=True)
class RMSProp:
    """TensorFlow's RMSProp, epsilon inside the root; the defaults are those of 1512.00567, section 8, and its released code."""

    decay: float = 0.9
    momentum: float = 0.9
    epsilon: float = 1.0
    kind: Literal["rmsprop"] = "rmsprop"

    def __post_init__(self) -> None:
        _check_decay("optimizer.decay", self.decay)
        _check_decay("optimizer.momentum", self.momentum)


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam (1412.6980)."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    kind: Literal["adam"] = "adam"


Optimizer = Sgd | RMSProp | Adam


def make_optimizer(optimizer: Optimizer, groups: Iterable[dict[str, Any]], *, lr: float) -> torch.optim.Optimizer:
    """Return torch's optimiser over `groups` (keys params, weight_decay, and lr where it is not the common one)."""
    import torch

    from inceptions.training.rmsprop import TensorFlowRMSProp

    groups = list(groups)
    match optimizer:
        case Sgd():
            return torch.optim.SGD(groups, lr=lr, momentum=optimizer.momentum, nesterov=optimizer.nesterov and optimizer.momentum > 0)
        case RMSProp():
            return TensorFlowRMSProp(groups, lr, decay=optimizer.decay, momentum=optimizer.momentum, epsilon=optimizer.epsilon)
        case Adam():
            return torch.optim.Adam(groups, lr=lr, betas=(optimizer.beta1, optimizer.beta2), eps=optimizer.epsilon)
        case _:
            assert_never(optimizer)


def kernel_groups(module: nn.Module, *, weight_decay: float, lr: float, bias_lr: float = 1.0) -> list[dict[str, Any]]:
    """Return groups: kernels, which decay; biases and batch normalisation, which don't; its biases apart where their rate is another.

    bias_lr: the rate of batch normalisation's biases, in multiples of `lr`.
    """
    from torch import nn

    biases = [m.bias for m in module.modules() if isinstance(m, nn.BatchNorm2d) and m.bias is not None] if bias_lr != 1 else []
    apart = {id(bias) for bias in biases}
    kernels = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1 and id(p) not in apart]
    groups = [{"params": kernels, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [*groups, {"params": biases, "weight_decay": 0.0, "lr": bias_lr * lr}] if biases else groups


def _check_decay(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise UserError(f"{name} is {value}; it must be at least 0 and below 1")
