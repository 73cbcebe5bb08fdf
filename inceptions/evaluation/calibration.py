"""A network's confidence, put right: enters what it says of images that it has not learned from, leaves one temperature.

Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 4.2. Dividing all logits by one number changes no answer,
only how sure it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST_IMAGES = 20  # with fewer, the temperature would be that of chance
_COLDEST, _HOTTEST = 0.05, 20.0
_HALVINGS = 60


def fit_temperature(log_probabilities: Tensor, labels: Tensor) -> float:
    """Return the temperature, 0.05 to 20, at which log probabilities (N, K), or logits, have the least mean cross-entropy on labels (N,).

    The cross-entropy is convex in the inverse of the temperature, so that halving an interval finds where its slope is none.
    """
    logits = log_probabilities.double()
    of_truth = logits.gather(1, labels[:, None])[:, 0]
    low, high = 1 / _HOTTEST, 1 / _COLDEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        expected = ((middle * logits).softmax(1) * logits).sum(1)
        low, high = (low, middle) if float((expected - of_truth).mean()) > 0 else (middle, high)
    return 2 / (low + high)


@torch.no_grad()
def apply_temperature(classifier: nn.Linear, temperature: float) -> None:
    """Have the classifier give its logits divided by the temperature, so that whoever runs the network, in whatever form, has them so."""
    classifier.weight.div_(temperature)
    if classifier.bias is not None:
        classifier.bias.div_(temperature)
