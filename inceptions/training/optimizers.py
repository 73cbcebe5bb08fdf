"""Optimisers: enters a recipe's optimiser and groups of parameters, leaves torch's, or TensorFlow's RMSProp and Adam, or Muon."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, assert_never

import torch
from torch import Tensor, nn

from inceptions.devices import pick_precision
from inceptions.training.recipe import Adam, AdamW, Muon, Optimizer, RMSProp, Sgd

FUSED = ("cpu", "cuda")  # devices for which torch has SGD and AdamW in one operation a group
each: Any = torch  # whose operations on lists of tensors are private by their names alone


def make_optimizer(
    optimizer: Optimizer, groups: Iterable[dict[str, Any]], *, lr: float, fused_on: torch.device | None = None
) -> torch.optim.Optimizer:
    """Return torch's optimiser over `groups` (keys params, weight_decay, and lr where it is not the common one).

    fused_on: the device of the parameters, where all of a group may move in one operation. Gradients must then lie in memory as their
    parameters do, as those that torch accumulates do: its kernel for CPUs doesn't look.
    """
    groups, fused = list(groups), True if fused_on is not None and fused_on.type in FUSED else None
    match optimizer:
        case Sgd():
            nesterov = optimizer.nesterov and optimizer.momentum > 0
            return SGD(groups, lr=lr, momentum=optimizer.momentum, nesterov=nesterov, fused=fused)
        case RMSProp():
            return TensorFlowRMSProp(groups, lr, decay=optimizer.decay, momentum=optimizer.momentum, epsilon=optimizer.epsilon)
        case Adam():
            return TensorFlowAdam(groups, lr, betas=(optimizer.beta1, optimizer.beta2), epsilon=optimizer.epsilon)
        case AdamW():
            return TorchAdamW(groups, lr=lr, betas=(optimizer.beta1, optimizer.beta2), eps=optimizer.epsilon, fused=fused)
        case Muon():
            return _make_muon(optimizer, groups, lr=lr)
        case _:
            assert_never(optimizer)


def _make_muon(optimizer: Muon, groups: Iterable[dict[str, Any]], *, lr: float) -> torch.optim.Optimizer:
    """Return it over kernels of convolutions and all else, of each group apart."""
    parts = []
    for group in groups:
        rate = group.get("lr", lr)
        kernels = [parameter for parameter in group["params"] if parameter.ndim == 4]
        rest = [parameter for parameter in group["params"] if parameter.ndim != 4]
        parts.append({"params": kernels, "lr": rate, "momentum": optimizer.momentum, "weight_decay": 0.0, "orthogonal": True})
        parts.append({**group, "params": rest, "lr": optimizer.rest_lr * rate, "momentum": optimizer.rest_momentum})
    return OrthogonalMomentum([part for part in parts if part["params"]], lr)


def kernel_groups(module: nn.Module, *, weight_decay: float, lr: float, bias_lr: float = 1.0) -> list[dict[str, Any]]:
    """Return groups: kernels, which decay; biases and batch normalisation, which don't; its biases apart where their rate is another.

    bias_lr: the rate of batch normalisation's biases, in multiples of `lr`.
    """
    biases = [m.bias for m in module.modules() if isinstance(m, nn.BatchNorm2d) and m.bias is not None] if bias_lr != 1 else []
    apart = {id(bias) for bias in biases}
    groups = decay_groups((p for p in module.parameters() if id(p) not in apart), weight_decay=weight_decay)
    return [*groups, {"params": biases, "weight_decay": 0.0, "lr": bias_lr * lr}] if biases else groups


def decay_groups(parameters: Iterable[nn.Parameter], *, weight_decay: float) -> list[dict[str, Any]]:
    """Return groups: kernels, which decay; biases and batch normalisation, which don't; none that is empty."""
    found = list(parameters)
    kernels, others = [p for p in found if p.ndim > 1], [p for p in found if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


class Eager(torch.optim.Optimizer):
    """What torch's optimisers are, but for what they do when they are compiled, which takes an import of more than a second.

    torch's compiler stands around these methods, and nothing here compiles an optimiser.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


class SGD(Eager, torch.optim.SGD):
    """torch's, with momentum that begins at zero, which comes to the same; fused, torch takes a group's for all new or all old.

    A part that opens later would be refused, where it shares a group.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"] if group["fused"] and group["momentum"] else ():
                if parameter.grad is not None and "momentum_buffer" not in self.state[parameter]:
                    self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return self._step(closure)

    _step = inspect.unwrap(torch.optim.SGD.step)


class TorchAdamW(Eager, torch.optim.AdamW):
    """torch's."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class TensorFlowAdam(Eager, torch.optim.Adam):
    """torch's Adam with epsilon beside the root of the running mean as it is, and not as corrected for beginning at zero.

    That is TensorFlow's, and the "epsilon hat" of 1412.6980, section 2. It matters where epsilon is large, as FaceNet's 0.1: at the first
    step it weighs 32 times as much as torch's, so that training begins gently.
    """

    def __init__(self, params: Any, lr: float, *, betas: tuple[float, float], epsilon: float) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=epsilon)
        self.epsilon = epsilon

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            taken = next((int(self.state[p]["step"]) for p in group["params"] if p.grad is not None and self.state[p]), 0)
            group["eps"] = self.epsilon / math.sqrt(1 - group["betas"][1] ** (taken + 1))
        return self._step(closure)

    _step = inspect.unwrap(torch.optim.Adam.step)


class ByGroup(Eager):
    """An optimiser of our own, which moves all parameters of a group at once: a device is told of some operations, not of some for each."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every parameter that has a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            moving = [parameter for parameter in group["params"] if parameter.grad is not None]
            if moving:
                self._move(moving, group)
        return loss

    def _move(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        raise NotImplementedError


class TensorFlowRMSProp(ByGroup):
    """s = decay s + (1 - decay) g^2;  m = momentum m + lr g / sqrt(s + epsilon);  w = w - m.

    It differs from torch's in three ways that matter where epsilon is 1, as in training Inception-v3 and its successors: epsilon stands
    inside the square root, the running mean of the squared gradients starts at one instead of zero, and the learning rate is applied
    before the momentum, not after (`tf.raw_ops.ApplyRMSProp`; 1512.00567, section 8).

    params: parameters or groups. weight_decay is added to the gradients, as TensorFlow's L2 loss is.
    """

    def __init__(
        self, params: Any, lr: float, *, decay: float = 0.9, momentum: float = 0.9, epsilon: float = 1.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "momentum": momentum, "epsilon": epsilon, "weight_decay": weight_decay})

    def _move(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter].update(square=torch.ones_like(parameter), moment=torch.zeros_like(parameter))
        gradients: Any = [parameter.grad for parameter in parameters]
        squares, moments = ([self.state[parameter][name] for parameter in parameters] for name in ("square", "moment"))
        if group["weight_decay"]:
            gradients = each._foreach_add(gradients, parameters, alpha=group["weight_decay"])
        each._foreach_lerp_(squares, each._foreach_mul(gradients, gradients), 1 - group["decay"])
        roots = each._foreach_add(squares, group["epsilon"])
        each._foreach_sqrt_(roots)
        each._foreach_mul_(moments, group["momentum"])
        each._foreach_addcdiv_(moments, gradients, roots, value=group["lr"])
        each._foreach_sub_(parameters, moments)


class OrthogonalMomentum(ByGroup):
    """m = momentum m + g;  w = w - lr |w| / sqrt(filters) O(g + momentum m), brought to its former length, in groups that are `orthogonal`.

    O: the nearest matrix, of filters by all else, whose singular values are all 1, about. Such a step moves every filter, and those
    directions too in which gradients are small. In other groups: g = g + weight_decay w;  m = momentum m + g;  w = w - lr (g + momentum m).
    """

    def __init__(self, params: Any, lr: float, *, momentum: float = 0.6, weight_decay: float = 0.0, orthogonal: bool = False) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "orthogonal": orthogonal})

    def _move(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["moment"] = torch.zeros_like(parameter)
        gradients: Any = [parameter.grad for parameter in parameters]
        moments = [self.state[parameter]["moment"] for parameter in parameters]
        if group["weight_decay"]:
            gradients = each._foreach_add(gradients, parameters, alpha=group["weight_decay"])
        each._foreach_mul_(moments, group["momentum"])
        each._foreach_add_(moments, gradients)
        steps = each._foreach_add(gradients, moments, alpha=group["momentum"])
        if group["orthogonal"]:
            _turn(parameters, steps, lr=group["lr"])
        else:
            each._foreach_add_(parameters, steps, alpha=-group["lr"])


def _turn(kernels: list[Tensor], steps: list[Tensor], *, lr: float) -> None:
    """Take orthogonal steps with kernels, to their former lengths."""
    lengths, fast = each._foreach_norm(kernels), pick_precision("auto", kernels[0].device) is torch.bfloat16
    arithmetic = torch.bfloat16 if fast else kernels[0].dtype
    moves = [
        orthogonal(step.flatten(1), arithmetic).view(step.shape) * (length / len(step) ** 0.5)
        for step, length in zip(steps, lengths, strict=True)
    ]
    each._foreach_add_(kernels, moves, alpha=-lr)
    after = each._foreach_norm(kernels)
    each._foreach_mul_(kernels, [was / now.clamp(min=1e-12) for was, now in zip(lengths, after, strict=True)])


def orthogonal(matrix: Tensor, arithmetic: torch.dtype) -> Tensor:
    """Return U S V^T for the U D V^T that a matrix (rows, columns) is, with S near 1: by three steps of Newton's and Schulz's iteration.

    Its odd polynomial of fifth degree grows steeply at 0, so that few steps lift small singular values: S is from 0.7 to 1.2, about, but
    for those of which D is a hundredth of the greatest. arithmetic: what it is computed in.
    """
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    x = (wide / (wide.norm() + 1e-7)).to(arithmetic)
    for _ in range(3):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return (x if wide is matrix else x.T).to(matrix.dtype)
