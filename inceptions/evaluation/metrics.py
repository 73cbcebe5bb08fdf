"""What a `Score` adds up to: enters one or two, leaves errors with intervals, calibration, and a row for each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inceptions.evaluation.interval import Interval, wilson
from inceptions.evaluation.score import NO_CLASS, Score

CONFUSIONS = 15
BINS = 15  # of confidence: Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 4
_RESAMPLES = 10_000


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


def error(score: Score, *, k: int = 1) -> Interval:
    """Return the top-k error, 0 to 1, with Wilson's interval."""
    return wilson(score.count - score.right_in(k), score.count)


def top5_error(score: Score, *, classes: int) -> Interval | None:
    """Return the top-5 error, 0 to 1; None with five classes or fewer, where it says nothing."""
    return error(score, k=5) if classes > 5 else None


def error_difference(base: Score, other: Score, *, k: int = 1, seed: int = 0) -> Interval:
    """Return the top-k error of `other` less that of `base`, in percentage points, with the interval of the paired bootstrap.

    Below zero, `other` makes fewer errors; it is so everywhere in this package. Images are drawn anew with their pair of answers; as only
    three kinds matter (`other` alone wrong, `base` alone wrong, else), the counts of a multinomial distribution are the same thing.

    Raises ValueError for scores of other images.
    """
    if not np.array_equal(np.sort(base.indices), np.sort(other.indices)):
        raise ValueError("both must have been scored on the same images")
    return paired_difference(*(score.ranks[np.argsort(score.indices)] >= k for score in (base, other)), seed=seed)


def paired_difference(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> Interval:
    """Return by how many points `second` is true of more images than `first`, both (N,) of bools, with the paired bootstrap's interval."""
    better, worse, count = int(np.sum(first & ~second)), int(np.sum(second & ~first)), max(1, len(first))
    shares = np.array([better, worse, count - better - worse]) / count
    drawn = np.random.default_rng(seed).multinomial(count, shares, size=_RESAMPLES)
    low, high = np.quantile(100 * (drawn[:, 1] - drawn[:, 0]) / count, [0.025, 0.975])
    return Interval(100 * (worse - better) / count, float(low), float(high))


def calibration_error(score: Score) -> float:
    """Return the expected calibration error, 0 to 1: how far confidence is from accuracy, over 15 equal bins of confidence.

    A bin has its upper edge, as in 1706.04599: a confidence of 1 is of the last.
    """
    answered = score.predicted != NO_CLASS
    if not answered.any():
        return float("nan")
    confidence, right = score.confidence[answered], score.ranks[answered] == 0
    bins = np.digitize(confidence, np.linspace(0, 1, BINS + 1, dtype=np.float32)[1:-1], right=True)
    return float(np.abs(np.bincount(bins, weights=right - confidence.astype(np.float64))).sum() / len(bins))


def class_rows(score: Score, classes: tuple[str, ...]) -> list[ClassRow]:
    """Return a row for each class, those without images too."""
    confusion = score.confusion(len(classes))
    right, true, answered = confusion.diagonal(), np.bincount(score.labels, minlength=len(classes)), confusion.sum(0)
    with np.errstate(invalid="ignore"):  # 0 / 0: nothing can be said
        recall, precision = right / true, right / answered
        f1 = np.where(true > 0, 2 * right / (true + answered), np.nan)
    wrong = confusion - np.diag(right)
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


def commonest_confusions(score: Score, classes: tuple[str, ...], *, most: int = CONFUSIONS) -> list[tuple[str, str, int]]:
    """Return the commonest confusions: true class, predicted class, and how often."""
    counts = score.confusion(len(classes))
    wrong = counts - np.diag(counts.diagonal())
    pairs = [divmod(int(place), len(classes)) for place in np.argsort(-wrong, axis=None, kind="stable")[:most]]
    return [(classes[true], classes[predicted], int(wrong[true, predicted])) for true, predicted in pairs if wrong[true, predicted]]
