"""The learning rate as a function of the step: enters a frozen schedule, leaves the factor on the peak rate.

A pure function of the step, so that a resumed run, a parameter server and a plot all see the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, assert_never

from inceptions.errors import UserError


@dataclass(frozen=True, slots=True)
class OneCycle:
    """Up in a cosine from 1/25 of the peak during `warmup` of the steps, down in a cosine to 1/25,000: torch's OneCycleLR (1708.07120)."""

    warmup: float = 0.2
    kind: Literal["one_cycle"] = "one_cycle"

    def __post_init__(self) -> None:
        _check_share("schedule.warmup", self.warmup)


@dataclass(frozen=True, slots=True)
class Exponential:
    """Times `factor` every `every_epochs` epochs, at once (staircase) or spread over the steps; not below `floor` of the peak.

    warmup_epochs: the rate rises evenly from nothing during these; cold_epochs before them it stays at `cold` of the peak.
    """

    factor: float = 0.94
    every_epochs: float = 2.0
    staircase: bool = True
    floor: float = 0.0
    warmup_epochs: float = 0.0
    cold_epochs: float = 0.0
    cold: float = 0.0
    kind: Literal["exponential"] = "exponential"

    def __post_init__(self) -> None:
        _check_share("schedule.factor", self.factor)
        if not self.every_epochs > 0:
            raise UserError(f"schedule.every_epochs is {self.every_epochs}; it must be above 0")


@dataclass(frozen=True, slots=True)
class Steps:
    """The peak until the first epoch of `at`, then `factors[0]` of it, and so on: pairs (epoch, factor)."""

    at: tuple[tuple[float, float], ...] = ()
    kind: Literal["steps"] = "steps"


@dataclass(frozen=True, slots=True)
class Constant:
    """The peak throughout."""

    kind: Literal["constant"] = "constant"


Schedule = OneCycle | Exponential | Steps | Constant


def lr_factor(schedule: Schedule, step: int, *, steps_per_epoch: int, epochs: int) -> float:
    """Return the factor on the peak learning rate at `step`, counted from 0."""
    epoch = step / steps_per_epoch
    match schedule:
        case OneCycle():
            return _one_cycle(schedule.warmup, step, max(2, steps_per_epoch * epochs))
        case Exponential():
            return _exponential(schedule, epoch)
        case Steps():
            return next((factor for start, factor in reversed(schedule.at) if epoch >= start), 1.0)
        case Constant():
            return 1.0
        case _:
            assert_never(schedule)


def _one_cycle(warmup: float, step: int, total: int) -> float:
    peak, last = warmup * total - 1, total - 1
    if step <= peak:
        return _cosine(1 / 25, 1.0, step / peak)
    return _cosine(1.0, 1 / 25_000, min(1.0, (step - peak) / (last - peak)))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (math.cos(math.pi * share) + 1)


def _exponential(schedule: Exponential, epoch: float) -> float:
    if epoch < schedule.cold_epochs:
        return schedule.cold
    warm = epoch - schedule.cold_epochs
    if warm < schedule.warmup_epochs:
        return schedule.cold + (1 - schedule.cold) * warm / schedule.warmup_epochs
    periods = epoch / schedule.every_epochs
    return max(schedule.floor, schedule.factor ** (math.floor(periods + 1e-9) if schedule.staircase else periods))


def _check_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise UserError(f"{name} is {value}; it must be above 0 and at most 1")
