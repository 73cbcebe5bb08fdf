"""A number and how well it is known. Needs no torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval, which is infinite where nothing is known of the spread."""

    value: float
    low: float
    high: float


def wilson(right: int, count: int, *, z: float = 1.959964) -> Interval:
    """Return the share right / count with Wilson's interval at z standard deviations; nan, 0 to 1, when nothing was counted."""
    if not count:
        return Interval(math.nan, 0.0, 1.0)
    share, square = right / count, z * z / count
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def tested(metrics: Mapping[str, float]) -> tuple[str, int, Interval] | None:
    """Return what a card's metrics keep of the test in the end: on which part, of how many images, the accuracy; or None.

    Of no image, where none could be read, the accuracy is nan, and the card has none.
    """
    part = next((name for name in ("test", "val", "train") if f"{name}_images" in metrics), None)
    if part is None:
        return None
    count = int(metrics[f"{part}_images"])
    if count and f"{part}_accuracy" not in metrics:
        return None
    return part, count, wilson(round(metrics[f"{part}_accuracy"] * count) if count else 0, count)
