"""What a `Score` adds up to: enters one or two, leaves errors with intervals, calibration, and a row for each class.

torchmetrics does the arithmetic (`inceptions[report]`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from inceptions.evaluation.score import Score, wilson

BINS = 15  # of confidence: Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 4
_RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Share:
    """A share of images with its 95 % interval, all 0 to 1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ClassRow:
    """How one class did: images of it, shares 0 to 1 (nan where nothing can be said), and what it was most taken for, with how often."""

    name: str
    images: int
    precision: float
    recall: float
    f1: float
    taken_for: str
    taken_for_count: int


def error(score: Score, *, k: int = 1) -> Share:
    """Return the top-k error with Wilson's interval."""
    wrong = score.count - score.right_in(k)
    return Share(wrong / score.count if score.count else float("nan"), *wilson(wrong, score.count))


def difference(a: Score, b: Score, *, k: int = 1, seed: int = 0) -> Share:
    """Return by how much the top-k error of `b` is below that of `a` on the same images, with the interval of the paired bootstrap.

    Images are drawn anew with their pair of answers; as only three kinds matter (a right alone, b right alone, else), the counts of a
    multinomial distribution are the same thing.
    """
    mine, other = a.ranks[np.argsort(a.indices)] < k, b.ranks[np.argsort(b.indices)] < k
    if len(mine) != len(other) or not np.array_equal(np.sort(a.indices), np.sort(b.indices)):
        raise ValueError("both must have been scored on the same images")
    better, worse, count = int(np.sum(other & ~mine)), int(np.sum(mine & ~other)), max(1, len(mine))
    shares = np.array([better, worse, count - better - worse]) / count
    drawn = np.random.default_rng(seed).multinomial(count, shares, size=_RESAMPLES)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / count, [0.025, 0.975])
    return Share((better - worse) / count, float(low), float(high))


def calibration_error(score: Score) -> float:
    """Return the expected calibration error, 0 to 1: how far confidence is from accuracy, over 15 equal bins of confidence."""
    from torchmetrics.functional.classification import binary_calibration_error

    if not score.count:
        return float("nan")
    right = torch.from_numpy((score.ranks == 0).astype(np.int64))
    return float(binary_calibration_error(torch.from_numpy(score.confidence).float(), right, n_bins=BINS, norm="l1"))


def class_rows(score: Score, classes: tuple[str, ...]) -> list[ClassRow]:
    """Return a row for each class, those without images too."""
    from torchmetrics.functional.classification import multiclass_f1_score, multiclass_precision, multiclass_recall

    count = len(classes)
    predicted, labels = (torch.from_numpy(values.astype(np.int64)) for values in (score.predicted, score.labels))
    measures = (multiclass_precision, multiclass_recall, multiclass_f1_score)
    found = [measure(predicted, labels, num_classes=count, average="none").numpy() for measure in measures]
    confusion = score.confusion(count)
    true, answered = confusion.sum(1), confusion.sum(0)
    precision, recall, f1 = (np.where(seen > 0, values, np.nan) for values, seen in zip(found, (answered, true, true), strict=True))
    wrong = confusion - np.diag(confusion.diagonal())
    most = wrong.argmax(1)
    return [
        ClassRow(
            name=name,
            images=int(true[k]),
            precision=float(precision[k]),
            recall=float(recall[k]),
            f1=float(f1[k]),
            taken_for=classes[most[k]] if wrong[k, most[k]] else "",
            taken_for_count=int(wrong[k, most[k]]),
        )
        for k, name in enumerate(classes)
    ]
