"""Predictions on images and what they add up to: enters a module and a loader, leaves a `Score`; without labels, `Predictions`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from inceptions.data.dataset import Batch, Unreadable
from inceptions.devices import memory_for
from inceptions.evaluation.interval import Interval, wilson

NO_CLASS = -1  # what is predicted of an image for which a network gives nan


class _Answers:
    """What predictions have in common, with labels and without."""

    __slots__ = ()
    predicted: np.ndarray

    @property
    def count(self) -> int:
        """How many images were looked at."""
        return len(self.predicted)

    @property
    def nan_outputs(self) -> int:
        """For how many images the network gives nan."""
        return int(np.sum(self.predicted == NO_CLASS))


@dataclass(frozen=True, slots=True)
class Score(_Answers):
    """What a model does on a labelled set of N images and K classes.

    indices: (N,) places in the set. labels, predicted: (N,) class numbers. confidence: (N,) softmax of the predicted class, 0 to 1.
    losses: (N,) cross-entropy in nats. ranks: (N,) how many classes come before the true one. unreadable: files that were left out.

    An image for which the network gives nan counts as wrong: NO_CLASS is predicted, its rank is K; its confidence and loss are nan, which
    means and calibration leave out.
    """

    indices: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    losses: np.ndarray
    ranks: np.ndarray
    unreadable: tuple[Unreadable, ...] = ()

    COLUMNS: ClassVar = ("indices", "labels", "predicted", "confidence", "losses", "ranks")

    @property
    def accuracy(self) -> float:
        """The share of images whose first class is right, 0 to 1; nan without images."""
        return float(np.mean(self.predicted == self.labels)) if self.count else float("nan")

    @property
    def loss(self) -> float:
        """The mean cross-entropy, in nats; nan without images."""
        return _mean(self.losses)

    def right_in(self, k: int) -> int:
        """Return for how many images the true class is among the k likeliest."""
        return int(np.sum(self.ranks < k))

    @property
    def interval(self) -> Interval:
        """The accuracy, 0 to 1, with Wilson's interval."""
        return wilson(int(np.sum(self.predicted == self.labels)), self.count)

    def confusion(self, classes: int) -> np.ndarray:
        """Return counts (K, K): row the true class, column the predicted one; of the images of which a class is predicted."""
        answered = self.predicted != NO_CLASS
        counts = np.bincount(self.labels[answered] * classes + self.predicted[answered], minlength=classes * classes)
        return counts.reshape(classes, classes)


@dataclass(frozen=True, slots=True)
class Predictions(_Answers):
    """What a model says of N images that have no labels: indices, predicted, confidence (N,) and unreadable as in `Score`."""

    indices: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    unreadable: tuple[Unreadable, ...] = ()

    COLUMNS: ClassVar = ("indices", "predicted", "confidence")

    @property
    def mean_confidence(self) -> float:
        """The mean softmax of the predicted class, 0 to 1; nan without images."""
        return _mean(self.confidence)


AnyScore = TypeVar("AnyScore", Score, Predictions)


def score(module: nn.Module, loader: Iterable[Batch], *, device: torch.device, autocast: torch.dtype | None = None) -> Score:
    """Return how `module` (images to logits, or `Outputs`) does on the images of `loader`, in evaluation mode.

    autocast: the type of the arithmetic, where it is not that of the weights. The module is left in the mode that it was in.
    """
    return score_at((1.0,), module, loader, device=device, autocast=autocast)[0]


def score_at(
    temperatures: Sequence[float],
    module: nn.Module,
    loader: Iterable[Batch],
    *,
    device: torch.device,
    autocast: torch.dtype | None = None,
) -> list[Score]:
    """Return the same for each of the temperatures that the logits are divided by; the images are read and computed once."""
    nothing = score_of(torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64), np.zeros(0, dtype=np.int64))
    shares = [[nothing] for _ in temperatures]
    for batch, logits in _answers(module, loader, device, autocast):
        for found, temperature in zip(shares, temperatures, strict=True):
            log_probabilities = (logits / temperature).log_softmax(1)
            found.append(score_of(log_probabilities, batch.labels, batch.indices.numpy(), batch.unreadable))
    return [join(found) for found in shares]


def logits_of(module: nn.Module, loader: Iterable[Batch], *, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the logits (N, K) of the images of `loader`, in evaluation mode, float32, and their labels (N,)."""
    found = [(torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64))]
    found += [(logits, batch.labels) for batch, logits in _answers(module, loader, device, None) if len(batch.labels)]
    logits, labels = zip(*(found[1:] or found), strict=True)
    return torch.cat(logits), torch.cat(labels)


@torch.inference_mode()
def _answers(
    module: nn.Module, loader: Iterable[Batch], device: torch.device, autocast: torch.dtype | None
) -> Iterator[tuple[Batch, Tensor]]:
    """Yield each batch with its logits (N, K), float32 on the CPU; with (0, 1) where none of its images can be read."""
    was_training = module.training
    module.eval()
    for batch in loader:
        logits = torch.zeros(0, 1)
        if len(batch.labels):
            with memory_for(len(batch.labels), device), torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
                out = module(batch.images(device))
            logits = (out if isinstance(out, Tensor) else out.logits).float().cpu()
        yield batch, logits
    module.train(was_training)


def score_of(log_probabilities: Tensor, labels: Tensor, indices: np.ndarray, unreadable: tuple[Unreadable, ...] = ()) -> Score:
    """Return the score of log probabilities (N, K) on labels (N,) of the images at `indices` (N,) of their set."""
    of_truth = log_probabilities.gather(1, labels[:, None])
    earlier = torch.arange(log_probabilities.shape[1]) < labels[:, None]  # of equals the first is predicted
    ranks = ((log_probabilities > of_truth) | (earlier & (log_probabilities == of_truth))).sum(1)
    likeliest, predicted = log_probabilities.max(1)  # nan where there is one
    has_nan = likeliest.isnan()
    return Score(
        indices,
        labels.numpy(),
        predicted.masked_fill(has_nan, NO_CLASS).numpy(),
        likeliest.exp().numpy(),
        (-of_truth[:, 0]).masked_fill(has_nan, math.nan).numpy(),
        ranks.masked_fill(has_nan, log_probabilities.shape[1]).numpy(),
        unreadable,
    )


def predictions_of(probabilities: Tensor, indices: np.ndarray, unreadable: tuple[Unreadable, ...] = ()) -> Predictions:
    """Return the likeliest class by probabilities (N, K) of each of the images at `indices` (N,) of their set."""
    confidence, predicted = probabilities.max(1)
    return Predictions(indices, predicted.masked_fill(confidence.isnan(), NO_CLASS).numpy(), confidence.numpy(), unreadable)


def join(shares: Sequence[AnyScore]) -> AnyScore:
    """Return what was found on all images, from what was found on shares of them, in the order of the images."""
    kind = type(shares[0])
    columns = {name: np.concatenate([getattr(share, name) for share in shares]) for name in kind.COLUMNS}
    order = np.argsort(columns["indices"], kind="stable")
    unreadable = tuple(item for share in shares for item in share.unreadable)
    return kind(**{name: values[order] for name, values in columns.items()}, unreadable=unreadable)


def _mean(values: np.ndarray) -> float:
    """Return the mean of what is a number; nan where nothing is."""
    numbers = values[~np.isnan(values)]
    return float(np.mean(numbers, dtype=np.float64)) if len(numbers) else math.nan
