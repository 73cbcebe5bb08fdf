"""Predictions on labelled images and what they add up to: enters a module and a loader, leaves a `Score`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from inceptions.data.dataset import Batch, Unreadable


@dataclass(frozen=True, slots=True)
class Score:
    """What a model does on a labelled set of N images and K classes.

    indices: (N,) places in the set. labels, predicted: (N,) class numbers. confidence: (N,) softmax of the predicted class, 0 to 1.
    loss: mean cross-entropy in nats. unreadable: files that were left out.
    """

    indices: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    loss: float
    unreadable: tuple[Unreadable, ...]

    @property
    def count(self) -> int:
        """How many images were scored."""
        return len(self.labels)

    @property
    def accuracy(self) -> float:
        """The share of images whose first class is right, 0 to 1; nan without images."""
        return float(np.mean(self.predicted == self.labels)) if self.count else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy by Wilson's method, 0 to 1."""
        return wilson(int(np.sum(self.predicted == self.labels)), self.count)

    def confusion(self, classes: int) -> np.ndarray:
        """Return counts (K, K): row the true class, column the predicted one."""
        counts = np.bincount(self.labels * classes + self.predicted, minlength=classes * classes)
        return counts.reshape(classes, classes)


def wilson(right: int, count: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's interval of the share right / count at z standard deviations; (0, 1) when nothing was counted."""
    if not count:
        return 0.0, 1.0
    share, square = right / count, z * z / count
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


@torch.inference_mode()
def score(module: nn.Module, loader: DataLoader[Batch], *, device: torch.device, autocast: torch.dtype | None = None) -> Score:
    """Return how `module` (images to logits, or `Outputs`) does on the images of `loader`, in evaluation mode.

    autocast: the type of the arithmetic, where it is not that of the weights. The module is left in the mode that it was in.
    """
    was_training = module.training
    module.eval()
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    unreadable: list[Unreadable] = []
    for batch in loader:
        unreadable += batch.unreadable
        if len(batch.labels):
            images = batch.images.to(device, memory_format=torch.channels_last, non_blocking=True)
            with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
                out = module(images)
            logits = out if isinstance(out, Tensor) else out.logits
            parts.append((logits.float().cpu(), batch.labels, batch.indices))
    module.train(was_training)
    return _score(parts, tuple(unreadable))


def _score(parts: list[tuple[Tensor, Tensor, Tensor]], unreadable: tuple[Unreadable, ...]) -> Score:
    if not parts:
        none = np.zeros(0, dtype=np.int64)
        return Score(none, none, none, np.zeros(0, dtype=np.float32), float("nan"), unreadable)
    logits, labels, indices = (torch.cat(column) for column in zip(*parts, strict=True))
    confidence, predicted = logits.softmax(1).max(1)
    loss = functional.cross_entropy(logits, labels).item()
    return Score(indices.numpy(), labels.numpy(), predicted.numpy(), confidence.numpy(), loss, unreadable)
