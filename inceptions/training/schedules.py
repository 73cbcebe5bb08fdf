"""The learning rate as a function of the step: enters a frozen schedule, leaves the factor on the peak rate.

A pure function of the step, so that a resumed run, a parameter server and a plot all see the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, assert_never

from inceptions.errors import UserError


def check(name: str, value: object, holds: bool, allowed: str) -> None:
    """Raise UserError where a setting is not what it may be, which `allowed` says."""
    if not holds:
        raise UserError(f"{name} is {value!r}; it must be {allowed}")


@dataclass(frozen=True, slots=True)
class OneCycle:
    """Up in a cosine from 1/25 of the peak during `warmup` of the steps, down in a cosine to 1/25,000: torch's OneCycleLR (1708.07120).

    Where `warmup` is no more than one step, as it is in runs of a few steps, the first has the peak.
    """

    warmup: float = 0.2
    kind: Literal["one_cycle"] = "one_cycle"

    def __post_init__(self) -> None:
        check("schedule.warmup", self.warmup, 0 < self.warmup <= 1, "above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class Cosine:
    """Down in a cosine from the peak to `floor` of it (1608.03983), after `warmup_epochs` of an even rise (1706.02677, section 2.2)."""

    warmup_epochs: float = 0.0
    floor: float = 0.0
    kind: Literal["cosine"] = "cosine"

    def __post_init__(self) -> None:
        check("schedule.warmup_epochs", self.warmup_epochs, 0 <= self.warmup_epochs < math.inf, "a number of epochs, 0 or more")
        check("schedule.floor", self.floor, 0 <= self.floor <= 1, "from 0 to 1")


@dataclass(frozen=True, slots=True)
class Exponential:
    """Times `factor` every `every_epochs` epochs, at once (staircase) or spread over the steps; not below `floor` of the peak.

    warmup_epochs: during these the rate rises evenly, from `cold` of it, to what the decay has come to by then; cold_epochs before them it
    stays at `cold` of that.
    """

    factor: float = 0.94
    every_epochs: float = 2.0
    staircase: bool = True
    floor: float = 0.0
    warmup_epochs: float = 0.0
    cold_epochs: float = 0.0
    cold: float = 0.1
    kind: Literal["exponential"] = "exponential"

    def __post_init__(self) -> None:
        for name in ("factor", "cold"):
            value = getattr(self, name)
            check(f"schedule.{name}", value, 0 < value <= 1, "above 0 and at most 1")
        for name in ("warmup_epochs", "cold_epochs"):
            value = getattr(self, name)
            check(f"schedule.{name}", value, 0 <= value < math.inf, "a number of epochs, 0 or more")
        check("schedule.every_epochs", self.every_epochs, 0 < self.every_epochs < math.inf, "a number of epochs above 0")
        check("schedule.floor", self.floor, 0 <= self.floor <= 1, "from 0 to 1")


@dataclass(frozen=True, slots=True)
class Steps:
    """The peak until the first epoch of `at`, then the factor on it that stands beside, and so on: pairs (epoch, factor), epochs rising."""

    at: tuple[tuple[float, float], ...] = ()
    kind: Literal["steps"] = "steps"

    def __post_init__(self) -> None:
        epochs, factors = [epoch for epoch, _ in self.at], [factor for _, factor in self.at]
        rising = all(0 <= epoch < math.inf for epoch in epochs) and all(a < b for a, b in pairwise(epochs))
        check(
            "schedule.at", self.at, rising and all(0 <= f <= 1 for f in factors), "pairs (epoch, factor): epochs rise, factors are 0 to 1"
        )


@dataclass(frozen=True, slots=True)
class Constant:
    """The peak throughout."""

    kind: Literal["constant"] = "constant"


Schedule = OneCycle | Cosine | Exponential | Steps | Constant


def lr_factor(schedule: Schedule, step: int, *, steps_per_epoch: int, epochs: int) -> float:
    """Return the factor on the peak learning rate at `step`, counted from 0."""
    epoch = step / steps_per_epoch
    match schedule:
        case OneCycle():
            return _one_cycle(schedule.warmup, step, steps_per_epoch * epochs)
        case Cosine():
            return _warm_cosine(schedule, step, steps_per_epoch, steps_per_epoch * epochs)
        case Exponential():
            return _exponential(schedule, epoch)
        case Steps():
            return next((factor for start, factor in reversed(schedule.at) if epoch >= start), 1.0)
        case Constant():
            return 1.0
        case _:
            assert_never(schedule)


def statistics_share(momentum: float, step: int) -> float:
    """Return the share of the batch of `step`, counted from 0, in running statistics that begin unmeasured (`Recipe.bn_momentum`)."""
    return max(momentum, min(0.1, 9 / (10 + step)))


def _one_cycle(warmup: float, step: int, total: int) -> float:
    peak, last = max(0.0, warmup * total - 1), total - 1
    if step <= peak:
        return _cosine(1 / 25, 1.0, step / peak) if peak else 1.0
    return _cosine(1.0, 1 / 25_000, min(1.0, (step - peak) / (last - peak)) if last > peak else 1.0)


def _warm_cosine(schedule: Cosine, step: int, steps_per_epoch: int, total: int) -> float:
    warmup = schedule.warmup_epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return _cosine(1.0, schedule.floor, min(1.0, (step - warmup) / max(1.0, total - warmup)))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (math.cos(math.pi * share) + 1)


def _exponential(schedule: Exponential, epoch: float) -> float:
    begins = schedule.cold_epochs + schedule.warmup_epochs
    if epoch >= begins:
        return _decayed(schedule, epoch)
    risen = max(0.0, epoch - schedule.cold_epochs) / schedule.warmup_epochs if schedule.warmup_epochs else 0.0
    return _decayed(schedule, begins) * (schedule.cold + (1 - schedule.cold) * risen)


def _decayed(schedule: Exponential, epoch: float) -> float:
    periods = epoch / schedule.every_epochs
    return max(schedule.floor, schedule.factor ** (math.floor(periods + 1e-9) if schedule.staircase else periods))
