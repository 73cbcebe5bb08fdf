"""What a study showed: enters what each run of each arm came to, leaves means with intervals and a plain word for each claim.

With a few seeds the spread between them is what matters: intervals are Student's t over seeds, differences are taken seed by seed, for both
arms of a seed see the same images in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from inceptions.evaluation.interval import Interval
from inceptions.studies.study import Claim, Study

Word = Literal["shown", "not shown at this size", "contradicted"]
AS_GOOD = 1.25  # times as many steps count as as fast, and a change so many times smaller as no less
EQUAL = 0.01  # accuracies that are no more than this apart count as equal, where it is cost that is compared


@dataclass(frozen=True, slots=True)
class RunResult:
    """One run: arm and seed, the accuracy in the end (0 to 1), and after each epoch on validation; the steps of an epoch; seconds.

    died: whether its loss was no number any more, or it says the same of all images, and its accuracy is that of guessing.
    known_by: the digest of all that decides it, but for where its images lie.
    """

    arm: str
    seed: int
    accuracy: float
    curve: tuple[float, ...]
    steps_per_epoch: int
    seconds: float
    died: bool = False
    known_by: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim, what was found of it (in accuracy or runs, 0 to 1, in powers of e of steps, or in points of error), and the word for it."""

    claim: Claim
    difference: Interval
    word: Word
    said: str


def interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Return the mean and its 95 % interval by Student's t; infinitely wide with one value."""
    from scipy.stats import t

    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Interval(mean, -math.inf, math.inf)
    half = float(t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    return Interval(mean, mean - half, mean + half)


def judge(study: Study, runs: Sequence[RunResult], costs: dict[str, int]) -> list[Verdict]:
    """Return a verdict on each claim; costs are multiply-adds of an image by arm. Arms need a run of every seed."""
    by = {(run.arm, run.seed): run for run in runs}
    seeds = sorted({run.seed for run in runs})
    verdicts = []
    for claim in study.claims:
        pairs = [(by[claim.better, seed], by[claim.worse, seed]) for seed in seeds]
        match study.measure_of(claim):
            case "accuracy":
                verdicts.append(_by_accuracy(claim, pairs))
            case "cost":
                verdicts.append(_by_cost(claim, pairs, costs))
            case "steps":
                verdicts.append(_by_steps(claim, pairs))
            case "deaths":
                verdicts.append(_by_deaths(claim, pairs))
    return verdicts


def steps_to(run: RunResult, accuracy: float) -> float:
    """Return after how many steps the validation accuracy is first so high, on straight lines between epochs; infinity if never."""
    before = 0.0
    for epoch, now in enumerate(run.curve):
        if now >= accuracy:
            part = (accuracy - before) / (now - before) if now > before else 0.0
            return (epoch + part) * run.steps_per_epoch
        before = now
    return math.inf


def _by_accuracy(claim: Claim, pairs: Sequence[tuple[RunResult, RunResult]]) -> Verdict:
    found = interval([better.accuracy - worse.accuracy for better, worse in pairs])
    said = f"{claim.better} is {_points(found)} than {claim.worse} {_spread(found)}"
    if claim.no_worse:
        word = word_for(shown=found.low > -EQUAL, contradicted=found.high < -EQUAL)
        return Verdict(claim, found, word, f"{said}, and the claim is no more than {100 * EQUAL:g} point less")
    return Verdict(claim, found, word_for(shown=found.low > 0, contradicted=found.high < 0), said)


def _by_cost(claim: Claim, pairs: Sequence[tuple[RunResult, RunResult]], costs: dict[str, int]) -> Verdict:
    found = interval([better.accuracy - worse.accuracy for better, worse in pairs])
    share = costs[claim.better] / costs[claim.worse]
    said = f"{claim.better} takes {100 * share:.0f} % of the multiply-adds of {claim.worse} and is {_points(found)} {_spread(found)}"
    return Verdict(claim, found, word_for(shown=share < 1 and found.low > -EQUAL, contradicted=share >= 1 or found.high < -EQUAL), said)


def _by_steps(claim: Claim, pairs: Sequence[tuple[RunResult, RunResult]]) -> Verdict:
    logs = []
    for better, worse in pairs:
        target = worse.curve[(len(worse.curve) - 1) // 2] if claim.no_worse else max(worse.curve)
        # an accuracy of 0 is there before the first step, of both
        logs.append(math.log(steps_to(better, target) / steps_to(worse, target)) if target else 0.0)
    if math.inf in logs:
        missed = sum(value == math.inf for value in logs)
        when = " half-way" if claim.no_worse else ""
        said = f"{claim.better} does not reach the accuracy of {claim.worse}{when} with {missed} of {len(logs)} seeds"
        return Verdict(claim, Interval(math.inf, math.inf, math.inf), word_for(shown=False, contradicted=missed == len(logs)), said)
    found = interval(logs)
    low, mean, high = (100 * math.exp(min(value, 50)) for value in (found.low, found.value, found.high))
    spread = "one seed, no interval" if len(logs) == 1 else f"{low:.0f} to {high:.0f}"
    if claim.no_worse:
        said = f"{claim.better} reaches the accuracy that {claim.worse} has half-way in {mean:.0f} % ({spread}) of its steps, and up to "
        said += f"{100 * AS_GOOD:.0f} % is as fast"
        return Verdict(claim, found, word_for(shown=found.high < math.log(AS_GOOD), contradicted=found.low > math.log(AS_GOOD)), said)
    said = f"{claim.better} reaches the accuracy of {claim.worse} in {mean:.0f} % ({spread}) of its steps"
    return Verdict(claim, found, word_for(shown=found.high < 0, contradicted=found.low > 0), said)


def _by_deaths(claim: Claim, pairs: Sequence[tuple[RunResult, RunResult]]) -> Verdict:
    better, worse = (sum(run.died for run in runs) for runs in zip(*pairs, strict=True))
    share = (worse - better) / len(pairs)
    all_of_one = better == 0 and worse == len(pairs) > 1
    said = f"{worse} of {len(pairs)} runs died ({claim.worse}), and {better} of {len(pairs)} ({claim.better})"
    return Verdict(claim, Interval(share, share, share), word_for(shown=all_of_one, contradicted=worse == 0), said)


def word_for(*, shown: bool, contradicted: bool) -> Word:
    """Return the word for what was shown, contradicted, or neither."""
    return "shown" if shown else "contradicted" if contradicted else "not shown at this size"


def _points(found: Interval) -> str:
    return f"{100 * abs(found.value):.1f} points {'less' if found.value < 0 else 'more'} accurate"


def _spread(found: Interval) -> str:
    return "(one seed, no interval)" if math.isinf(found.low) else f"({100 * found.low:+.1f} to {100 * found.high:+.1f})"
