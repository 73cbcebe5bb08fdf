"""What a network learns from a batch: enter images and labels, leave gradients. The step that all ways of training have in common.

The loss: enters `Outputs` or logits and labels, leaves one number to minimise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from inceptions.errors import UserError
from inceptions.networks.modules.models import Outputs
from inceptions.training.side_by_side import SideBySide

Part = tuple[Tensor, Tensor, Tensor]
PASSED_OVER = 40  # steps in a row: by then float16's losses are scaled by 2^-24, and no scale will do


@dataclass(frozen=True, slots=True)
class Loss:
    """Mean cross-entropy, with that of each auxiliary head added in its weight (1409.4842, section 5).

    label_smoothing: q = (1 - e) one_hot + e / K over all K classes, the true one too (1512.00567, section 7).
    class_weights: one for each class, or None; the mean is then over the weights, as torch's is.
    """

    label_smoothing: float = 0.0
    aux_weights: tuple[float, ...] = ()
    class_weights: tuple[float, ...] | None = None

    def __call__(self, out: Outputs | Tensor, labels: Tensor) -> Tensor:
        """Return the loss of logits (N, K), or `Outputs`, against class numbers (N,) or shares of classes (N, K)."""
        if isinstance(out, Tensor):
            return self._one(out, labels)
        loss = self._one(out.logits, labels)
        for weight, logits in zip(self.aux_weights, out.aux, strict=True):
            loss = loss + weight * self._one(logits, labels)
        return loss

    def weight(self, labels: Tensor) -> float:
        """Return how much these images count in a mean with others: their number, or the sum of their classes' weights."""
        if self.class_weights is None or labels.ndim > 1:
            return float(len(labels))
        return float(_on(torch.device("cpu"), self.class_weights)[labels.cpu()].sum())

    def _one(self, logits: Tensor, labels: Tensor) -> Tensor:
        weight = None if self.class_weights is None else _on(logits.device, self.class_weights).to(logits.dtype)
        return functional.cross_entropy(logits, labels, weight=weight, label_smoothing=self.label_smoothing)


@cache
def _on(device: torch.device, values: tuple[float, ...]) -> Tensor:
    """Return the values as a tensor that is brought to the device once: each time, the host would wait for all that is queued there."""
    return torch.tensor(values, device=device)


def balanced_weights(labels: list[int], *, classes: int) -> tuple[float, ...]:
    """Return N / (K n_k) for each class k of the K that have images, n_k of N: the mean over images is 1. Without images: 0.

    Label smoothing gives every class a share of the loss: one without images would have the largest of all.
    """
    counts = torch.bincount(torch.tensor(labels), minlength=classes)
    weights = len(labels) / (int((counts > 0).sum()) * counts.clamp(min=1))
    return tuple(torch.where(counts > 0, weights, 0.0).tolist())


class LossScale:
    """What float16's short range takes: losses scaled up, so that small gradients don't vanish, and the gradients scaled back (1710.03740).

    Where a gradient is infinite the step is to be passed over, and the scale falls; it rises again after 2,000 steps that were not. torch's
    scaler does that; what it leaves to the host, whether to step, is read with the loss, for which the host waits anyway.

    passed_over: how many steps in a row.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self.optimizer, self.scaler, self.passed_over = optimizer, torch.amp.GradScaler(device.type), 0

    def unscale(self) -> None:
        """Bring the gradients back to what they are, and the scale to what the next step's is to be."""
        self.scaler.unscale_(self.optimizer)
        self.scaler.update()

    def note(self, is_finite: bool) -> None:
        """Count the steps that are passed over; raises UserError where there is no end of them."""
        self.passed_over = 0 if is_finite else self.passed_over + 1
        if self.passed_over >= PASSED_OVER:
            raise UserError(f"gradients are no numbers in float16, {self.passed_over} steps in a row; train with precision=float32")

    def state_dict(self) -> dict[str, Any]:
        """Return what the next step depends on."""
        return {**self.scaler.state_dict(), "passed_over": self.passed_over}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to what `state_dict` gave."""
        self.passed_over = state["passed_over"]
        self.scaler.load_state_dict({name: value for name, value in state.items() if name != "passed_over"})


class Computed(NamedTuple):
    """The share of a batch's mean loss that is this process's, how many images were right, and whether the gradients are numbers.

    They are looked at in float16 alone, where it is no fault if they are not; of a loss that is no number, they are of no use in any case.
    """

    loss: float
    right: int
    is_finite: bool


@dataclass(frozen=True, slots=True)
class Gradients:
    """How gradients are worked out: of which loss, in which arithmetic (None: float32), and clipped to which norm, of all together.

    scale: of the losses, in float16. side_by_side: with small images beside each other, for weights' gradients on AMX.
    """

    loss: Loss
    autocast: torch.dtype | None = None
    clip_norm: float | None = None
    scale: LossScale | None = None
    side_by_side: bool = False

    def compute(self, model: nn.Module, parts: Sequence[Part], *, total: float, world: int = 1) -> Computed:
        """Add the gradients of a batch to those of the parameters.

        parts: images (N, C, S, S), targets, which are labels or mixtures of them, and labels (N,), which may be on the host yet; computed
        one after another; N may be 0, so that each process computes as many. total: what all images weigh, those of all `world` processes,
        between which gradients are averaged once, at the last part.
        """
        value = torch.zeros(2, device=parts[0][0].device)  # read once, when all is queued: the host waits for a device but once a step
        for number, (images, targets, labels) in enumerate(parts, start=1):
            is_last = number == len(parts)
            with model.no_sync() if isinstance(model, DistributedDataParallel) and not is_last else nullcontext():
                with torch.autocast(images.device.type, dtype=self.autocast, enabled=self.autocast is not None):
                    with SideBySide() if self.side_by_side else nullcontext():
                        out = model(images)
                    loss = self.loss(out, targets) if len(images) else _nothing(out)
                share = self.loss.weight(labels if targets.ndim == 1 else targets) / total
                weighted = loss * (share * world)
                (weighted if self.scale is None else self.scale.scaler.scale(weighted)).backward()
            logits = out if isinstance(out, Tensor) else out.logits
            truth = targets if targets.ndim == 1 else labels.to(logits.device, non_blocking=True)
            right = (logits.argmax(1) == truth).sum() if len(images) else loss.new_zeros(())
            value += torch.stack([loss.detach().float() * share, right.float()])
        norm = self._finish(model)
        mean, count, *rest = (value if norm is None else torch.cat([value, norm.reshape(1)])).tolist()
        return Computed(mean, int(count), all(map(math.isfinite, rest)))

    def _finish(self, model: nn.Module) -> Tensor | None:
        """Scale the gradients back and clip them; return their norm where it says whether they are numbers."""
        if self.scale is not None:
            self.scale.unscale()
        parameters = list(model.parameters())
        if self.clip_norm is not None:  # of a loss that is no number the gradients are of no use anyway
            norm = nn.utils.clip_grad_norm_(parameters, self.clip_norm)
            return norm if self.scale is not None else None
        return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]) if self.scale is not None else None


def split(images: Tensor, targets: Tensor, labels: Tensor, *, count: int, pad: bool = False) -> list[Part]:
    """Return a batch in `count` parts that differ by one image at most, or in fewer, so that each has two: of one, normalisation is none.

    pad: with empty parts in front, up to `count`, for processes that must keep step.
    """
    fitting = max(1, min(count, len(images) // 2))
    parts = list(zip(*(tensor.tensor_split(fitting) for tensor in (images, targets, labels)), strict=True))
    empty = (images[:0], targets[:0], labels[:0])
    return [*repeat(empty, count - fitting if pad else 0), *parts]


def _nothing(out: Outputs | Tensor) -> Tensor:
    """Return 0, as a function of what the network gives, so that every parameter has a gradient, of zeros."""
    outputs = [out] if isinstance(out, Tensor) else [out.logits, *out.aux]
    return sum((output.sum() for output in outputs), start=outputs[0].new_zeros(()))
