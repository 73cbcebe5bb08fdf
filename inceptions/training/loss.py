"""The loss of a network as it trains: enters `Outputs` or logits and labels, leaves one number to minimise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from inceptions.networks.models import Outputs


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

    def _one(self, logits: Tensor, labels: Tensor) -> Tensor:
        weight = None if self.class_weights is None else torch.tensor(self.class_weights, device=logits.device, dtype=logits.dtype)
        return functional.cross_entropy(logits, labels, weight=weight, label_smoothing=self.label_smoothing)


def balanced_weights(labels: list[int], *, classes: int) -> tuple[float, ...]:
    """Return N / (K n_k) for each class k of N images, n_k of them its own: the mean over images is 1."""
    counts = torch.bincount(torch.tensor(labels), minlength=classes).clamp(min=1)
    return tuple((len(labels) / (classes * counts)).tolist())
