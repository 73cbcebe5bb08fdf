"""What looks and surfaces come to: enters them with the runs they are of, leaves a row for each arm and a verdict on each claim.

Numbers are compared seed by seed as logarithms of their ratio; of a run they are the median over its looks, or the mean over a plane.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from inceptions.evaluation.interval import Interval
from inceptions.studies.smoothness import StepLook
from inceptions.studies.study import Claim, Study
from inceptions.studies.surface import Surface
from inceptions.studies.verdict import AS_GOOD, RunResult, Verdict, interval, steps_to, word_for

NEAR = 0.5  # filter's lengths: within so many of the end, the rise of the loss is taken
FLAT = 0.1  # of the loss of guessing: a plateau falls by less over the distance from start to end, and lies above HIGH of it
HIGH = 0.5


@dataclass(frozen=True, slots=True)
class Smoothness:
    """A run's looks, and what they come to as medians over them.

    varies: the range of the loss over the steps along the gradient. changes: the gradient's largest change there. beta: the effective
    smoothness. shift: the relative change of a layer's gradient by the step of the layers below, cosine: that of the two, drift: of what
    the layer reads, each the mean of the layers that are followed. training: its run with the accuracy in training as its curve.
    """

    arm: str
    seed: int
    varies: float
    changes: float
    beta: float
    shift: float
    cosine: float
    drift: float
    training: RunResult
    looks: tuple[StepLook, ...]


def summarize_looks(run: RunResult, looks: Sequence[StepLook], training: Sequence[float]) -> Smoothness:
    """Return what the looks of a run come to. training: the accuracy in training after each epoch, 0 to 1."""

    def of_layers(name: str) -> float:
        return median(math.fsum(getattr(shift, name) for shift in look.shifts) / len(look.shifts) for look in looks)

    return Smoothness(
        run.arm,
        run.seed,
        varies=median(loss_range(look) for look in looks),
        changes=median(max(look.along.changes) for look in looks),
        beta=median(look.along.smoothness for look in looks),
        shift=of_layers("relative"),
        cosine=of_layers("cosine"),
        drift=of_layers("drift"),
        training=replace(run, curve=tuple(training)),
        looks=tuple(looks),
    )


def loss_range(look: StepLook) -> float:
    """Return how far apart the losses along the gradient are; infinity where one is no number."""
    low, high = min(look.along.losses), max(look.along.losses)
    return high - low if math.isfinite(high) else math.inf


def judge_smoothness(study: Study, found: Sequence[Smoothness]) -> tuple[Verdict, ...]:
    """Return verdicts: on the landscape of each claim's two arms, or, where one has noise, on what the noise does."""
    noisy = {arm.name for arm in study.arms if arm.noise}
    verdicts = []
    for claim in study.claims:
        pairs = _pairs(claim, found, lambda each: each.arm)
        verdicts += _of_noise(claim, pairs) if claim.better in noisy else _of_landscape(claim, pairs)
    return tuple(verdicts)


def _of_landscape(claim: Claim, pairs: Sequence[tuple[Smoothness, Smoothness]]) -> list[Verdict]:
    one, other = claim.better, claim.worse
    phrases = {
        "varies": f"{one}: along the gradient the loss varies {{}} times as much as {other}",
        "changes": f"{one}: along the gradient the gradient changes {{}} times as much as {other}",
        "beta": f"{one}: the effective smoothness, better where it is smaller, is {{}} times that {other}",
    }
    found = [_ratio(claim, _logs(pairs, name), said, below=0.0) for name, said in phrases.items()]
    shifts = {
        "shift": f"{one}: the step of the layers below changes a layer's gradient {{}} times as much as {other}, and the claim is no less",
        "drift": f"{one}: what a layer reads drifts {{}} times as far in a step as {other}, and the claim is no less",
    }
    return found + [_ratio(claim, _logs(pairs, name), said, above=-math.log(AS_GOOD)) for name, said in shifts.items()]


def _of_noise(claim: Claim, pairs: Sequence[tuple[Smoothness, Smoothness]]) -> list[Verdict]:
    one, other = claim.better, claim.worse
    drift = _ratio(claim, _logs(pairs, "drift"), f"{one}: what a layer reads drifts {{}} times as far in a step as {other}", above=0.0)
    steps = []
    for noisy, plain in ((noisy.training, plain.training) for noisy, plain in pairs):
        target = min(max(noisy.curve), max(plain.curve))
        steps.append(math.log(steps_to(noisy, target) / steps_to(plain, target)) if target else 0.0)
    said = f"{one}: {{}} times as many steps as {other} to the accuracy in training that both reach, and up to {AS_GOOD} is as fast"
    return [drift, _ratio(claim, steps, said, below=math.log(AS_GOOD))]


@dataclass(frozen=True, slots=True)
class Terrain:
    """A surface in numbers. rise: the mean of the loss above the end's, near it, on a plane round an end; None on others.

    plateau: the share of a plane through start and ends that is one, 0 to 1. barrier: how far the loss between the ends is above the
    higher of them. None on planes round an end.
    """

    arms: tuple[str, ...]
    seed: int
    rise: float | None
    plateau: float | None
    barrier: float | None


def summarize_surface(surface: Surface) -> Terrain:
    """Return a surface in numbers."""
    if not surface.between:
        return Terrain(surface.arms, surface.seed, _rise(surface), None, None)
    barrier = max(surface.between) - max(surface.between[0], surface.between[-1])
    return Terrain(surface.arms, surface.seed, None, _plateau(surface), barrier if math.isfinite(barrier) else math.inf)


def _rise(surface: Surface) -> float:
    distance = np.hypot(*np.meshgrid(surface.xs, surface.ys))
    near = (distance <= NEAR * (1 + 1e-9)) & (distance > 0)
    return float(np.mean(np.array(surface.losses)[near]) - surface.at_points["end"])


def _plateau(surface: Surface) -> float:
    """Return the share of the plane that is high and flat; by the mean of both differences beside each point, one at the rim."""
    losses = np.array(surface.losses)
    with np.errstate(invalid="ignore"):  # of infinite losses, which are not flat
        slope = np.hypot(*np.gradient(losses, surface.ys, surface.xs))
    return float(np.mean((losses >= HIGH * surface.guessing) & (slope < FLAT * surface.guessing)))


def judge_surfaces(study: Study, found: Sequence[Terrain]) -> tuple[Verdict, ...]:
    """Return verdicts: on plateaus between start and ends, and on the rise round an end, of the networks of each claim's two arms."""
    verdicts = []
    through, round_end = ([each for each in found if (each.rise is None) is wanted] for wanted in (True, False))
    for claim in study.claims:
        one, other = claim.better, claim.worse
        shares = [(a.plateau, b.plateau) for a, b in _pairs(claim, through, lambda each: each.arms[0])]
        if shares:
            verdicts.append(_of_plateaus(claim, shares))
        rises = [_log(a.rise, b.rise) for a, b in _pairs(claim, round_end, lambda each: each.arms[0])]
        verdicts.append(_ratio(claim, rises, f"{one}: round the end the loss rises {{}} times as far as {other}", below=0.0))
    return tuple(verdicts)


def _of_plateaus(claim: Claim, shares: Sequence[tuple[Any, Any]]) -> Verdict:
    found, means = interval([a - b for a, b in shares]), [100 * float(np.mean(part)) for part in zip(*shares, strict=True)]
    spread = "one seed, no interval" if math.isinf(found.low) else f"{100 * found.low:+.1f} to {100 * found.high:+.1f} points"
    said = f"{claim.better}: {means[0]:.1f} % of the plane through start and ends is a plateau, {claim.worse} {means[1]:.1f} % "
    return Verdict(claim, found, word_for(shown=found.high < 0, contradicted=found.low > 0), f"{said}({spread})")


def _pairs(claim: Claim, found: Sequence[Any], arm: Callable[[Any], str]) -> list[tuple[Any, Any]]:
    """Return what was found of both arms of a claim, of each seed of which there is both."""
    by = {(arm(each), each.seed): each for each in found}
    seeds = sorted(seed for name, seed in by if name == claim.better and (claim.worse, seed) in by)
    return [(by[claim.better, seed], by[claim.worse, seed]) for seed in seeds]


def _logs(pairs: Sequence[tuple[Smoothness, Smoothness]], name: str) -> list[float]:
    return [_log(getattr(one, name), getattr(other, name)) for one, other in pairs]


def _log(one: float, other: float) -> float:
    """Return the logarithm of a ratio; nan where there is none."""
    return math.log(one / other) if 0 < one < math.inf and 0 < other < math.inf else math.nan


def _ratio(claim: Claim, logs: Sequence[float], said: str, *, below: float | None = None, above: float | None = None) -> Verdict:
    """Return the verdict that a ratio, of whose logarithm there is one for each seed, lies below a bound, or above one.

    said: with a place for the ratio.
    """
    missing = sum(map(math.isnan, logs))
    if missing:
        words = f"{said.format('x')}: x is no number with {missing} of {len(logs)} seeds"
        return Verdict(claim, Interval(math.nan, -math.inf, math.inf), word_for(shown=False, contradicted=False), words)
    found = interval(logs)
    low, ratio, high = (math.exp(max(-50.0, min(value, 50.0))) for value in (found.low, found.value, found.high))
    words = said.format(f"{ratio:.3g}") + (" (one seed, no interval)" if math.isinf(found.low) else f" ({low:.3g} to {high:.3g})")
    if below is not None:
        return Verdict(claim, found, word_for(shown=found.high < below, contradicted=found.low > below), words)
    assert above is not None
    return Verdict(claim, found, word_for(shown=found.low > above, contradicted=found.high < above), words)
