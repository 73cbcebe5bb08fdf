"""A network's confidence, put right: enters what it makes of images that it has not learned from, leaves one temperature.

Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 4.2. Dividing all logits by one number changes no answer,
only how sure it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inceptions.evaluation.score import Score
from inceptions.weights.card import COLDEST, HOTTEST

LEAST_IMAGES = 20  # with fewer, the temperature would be that of chance
MOST_LOGITS = 2**25  # float32: 128 MiB; one number needs no more
_HALVINGS = 28  # of the range in ratio: to 2e-8
_AT_A_TIME = 4096  # images, in float64


@dataclass(frozen=True, slots=True)
class Fitted:
    """A temperature, the number of images that it was fitted on, and what there is to say: why it is 1, or not where the loss is least."""

    temperature: float
    images: int
    note: str = ""

    def said(self, part: str) -> str:
        """Return it in words, with the part that the images are of, such as "validation"."""
        if self.temperature == 1 and self.note:
            return f"none is fitted, for {self.note}"
        note = f"; {self.note}" if self.note else ""
        return f"{self.temperature:.3g}, fitted on {self.images:,} {part} images (1706.04599, section 4.2){note}"

    def record(self, part: str) -> dict[str, Any]:
        """Return what a model's provenance keeps of it, in JSON's types."""
        return {"fitted_on": self.images, "part": part, **({"note": self.note} if self.note else {})}


@dataclass(frozen=True, slots=True)
class Confidence:
    """What a report says of how sure a model is: its temperature in words, and the score without, where it has one."""

    temperature: str
    undivided: Score | None = None


def fit_temperature(logits: Tensor, labels: Tensor) -> Fitted:
    """Return the temperature, 0.05 to 20, at which logits (N, K), or log probabilities, have the least mean cross-entropy on labels (N,).

    The cross-entropy is convex in the inverse of the temperature, so that halving its range finds where the slope is none. Images with a
    logit that is no finite number are left out. It stays 1 with fewer than 20 images, and where it would change nothing.

    Differs from the paper where all images are right, and the cross-entropy falls for ever as the temperature does: there the mean
    confidence becomes (N + 1) / (N + 2), Laplace's rule of succession.
    """
    usable = logits.isfinite().all(1)
    logits, labels = logits[usable], labels[usable]
    count, classes = logits.shape
    if count < LEAST_IMAGES:
        return Fitted(1.0, count, f"there are {count} images to fit it on, and {LEAST_IMAGES} are needed")
    parts = [(some.double(), wanted) for some, wanted in zip(logits.split(_AT_A_TIME), labels.split(_AT_A_TIME), strict=True)]

    def slope(inverse: float) -> float:
        """Return that of the cross-entropy: the expected logit less that of the truth."""
        return sum(float((((inverse * z).softmax(1) * z).sum(1) - z.gather(1, y[:, None])[:, 0]).sum()) for z, y in parts)

    def too_sure(inverse: float) -> float:
        return sum(float((inverse * z).softmax(1).amax(1).sum()) for z, _ in parts) / count - (count + 1) / (count + 2)

    if classes == 1 or slope(1 / HOTTEST) == slope(1 / COLDEST) == 0:
        return Fitted(1.0, count, "the network says the same of all classes" if classes > 1 else "there is one class")
    all_right = all(bool((z.argmax(1) == y).all()) for z, y in parts)
    temperature = _root(too_sure if all_right else slope)
    note = f"all of them are right, so their mean confidence is made {count + 1}/{count + 2} (Laplace)" if all_right else ""
    if temperature in (COLDEST, HOTTEST):
        note = "; ".join([*([note] if note else []), f"a temperature goes from {COLDEST:g} to {HOTTEST:g}, and the best is beyond"])
    return Fitted(temperature, count, note)


def _root(rising: Callable[[float], float]) -> float:
    """Return the temperature, to six digits, at whose inverse a function that rises passes through zero; or the nearest end."""
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return float(f"{1 / math.sqrt(low * high):.6g}")


def thinned(count: int, *, classes: int) -> slice:
    """Return which of so many images are enough to fit a temperature on: evenly taken, so that their logits fit into memory."""
    return slice(None, None, max(1, -(-count * classes // MOST_LOGITS)))


def join_logits(shares: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return logits (N, K) and labels (N,) of all shares, of which some may have none."""
    some = [share for share in shares if len(share[1])] or shares[:1]
    return torch.cat([logits for logits, _ in some]), torch.cat([labels for _, labels in some])
