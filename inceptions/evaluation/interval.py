"""A number and how well it is known. Needs no torch."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval, which is infinite where nothing is known of the spread."""

    value: float
    low: float
    high: float
