"""What a network learns from a batch: enter images and labels, leave gradients. The step that all ways of training have in common.

The loss: enters `Outputs` or logits and labels, leaves one number to minimise.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from inceptions.networks.modules.models import Outputs

Part = tuple[Tensor, Tensor, Tensor]


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
        return float(torch.tensor(self.class_weights)[labels.cpu()].sum())

    def _one(self, logits: Tensor, labels: Tensor) -> Tensor:
        weight = None if self.class_weights is None else torch.tensor(self.class_weights, device=logits.device, dtype=logits.dtype)
        return functional.cross_entropy(logits, labels, weight=weight, label_smoothing=self.label_smoothing)


def balanced_weights(labels: list[int], *, classes: int) -> tuple[float, ...]:
    """Return N / (K n_k) for each class k of the K that have images, n_k of N: the mean over images is 1. Without images: 0.

    Label smoothing gives every class a share of the loss: one without images would have the largest of all.
    """
    counts = torch.bincount(torch.tensor(labels), minlength=classes)
    weights = len(labels) / (int((counts > 0).sum()) * counts.clamp(min=1))
    return tuple(torch.where(counts > 0, weights, 0.0).tolist())


@dataclass(frozen=True, slots=True)
class Gradients:
    """How gradients are worked out: of which loss, in which arithmetic (None: float32), and clipped to which norm, of all together."""

    loss: Loss
    autocast: torch.dtype | None = None
    clip_norm: float | None = None

    def compute(self, model: nn.Module, parts: Sequence[Part], *, total: float, world: int = 1) -> tuple[float, int]:
        """Add the gradients of a batch to those of the parameters; return this process's share of the mean loss, and how many were right.

        parts: images (N, C, S, S), targets, which are labels or mixtures of them, and labels (N,), computed one after another; N may be 0,
        so that each process computes as many. total: what all images weigh, those of all `world` processes, between which gradients are
        averaged once, at the last part. A loss that is no number leaves the gradients of no use.
        """
        value = torch.zeros(2, device=parts[0][0].device)  # read once, when all is queued: the host waits for a device but once a step
        for number, (images, targets, labels) in enumerate(parts, start=1):
            is_last = number == len(parts)
            with model.no_sync() if isinstance(model, DistributedDataParallel) and not is_last else nullcontext():
                with torch.autocast(images.device.type, dtype=self.autocast, enabled=self.autocast is not None):
                    out = model(images)
                    loss = self.loss(out, targets) if len(images) else _nothing(out)
                share = self.loss.weight(targets) / total
                (loss * (share * world)).backward()
            logits = out if isinstance(out, Tensor) else out.logits
            right = (logits.argmax(1) == labels).sum() if len(images) else loss.new_zeros(())
            value += torch.stack([loss.detach().float() * share, right.float()])
        if self.clip_norm is not None:  # of a loss that is no number the gradients are of no use anyway
            nn.utils.clip_grad_norm_(model.parameters(), self.clip_norm)
        mean, count = value.tolist()
        return mean, int(count)


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
