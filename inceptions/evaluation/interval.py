"""A number and how well it is known. Needs no torch."""

import math
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
