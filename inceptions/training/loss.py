"""The loss of a network as it trains: enters `Outputs` or logits and labels, leaves one number to minimise."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from inceptions.networks.models import Outputs


def classification_loss(out: Outputs | Tensor, labels: Tensor, *, aux_weights: tuple[float, ...], label_smoothing: float) -> Tensor:
    """Return the mean cross-entropy, with that of each auxiliary head added in its weight (1409.4842, section 5).

    out: logits (N, K), or `Outputs`; labels: (N,) class numbers. Smoothing spreads over all K classes (1512.00567, section 7).
    """
    if isinstance(out, Tensor):
        return functional.cross_entropy(out, labels, label_smoothing=label_smoothing)
    loss = functional.cross_entropy(out.logits, labels, label_smoothing=label_smoothing)
    for weight, logits in zip(aux_weights, out.aux, strict=True):
        loss = loss + weight * functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    return loss
