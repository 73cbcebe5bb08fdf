"""Averages over crops and models, as in the GoogLeNet paper's table: enters the models of all seeds, leaves a row for each number of both.

Models are averaged in the order of their seeds, the first, the first two and so on. Differences are of the same images, in pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from inceptions.data.splits import Sample
from inceptions.evaluation.evaluate import Evaluation, Row, evaluate
from inceptions.evaluation.interval import Interval
from inceptions.evaluation.metrics import error, error_difference
from inceptions.evaluation.score import Score
from inceptions.studies.study import Claim
from inceptions.studies.verdict import Verdict, word_for
from inceptions.weights.folder import LoadedModel


@dataclass(frozen=True, slots=True)
class AverageRow:
    """One line of the table: numbers of models, crops and images, multiply-adds of one, top-1 error, and its points above the first's."""

    models: int
    crops: int
    images: int
    multiply_adds: int
    error: Interval
    against_base: Interval


def average(
    models: Sequence[LoadedModel], samples: Sequence[Sample], classes: Sequence[str], *, crops: Sequence[int], **settings: Any
) -> Evaluation[Score]:
    """Return an evaluation with a row for each number of crops and each number of models, fewest first. settings: as of `evaluate`."""
    named = {f"seed {seed}": model for seed, model in enumerate(models)}
    groups = [tuple(named)[:count] for count in range(1, len(named) + 1)]
    return evaluate(named, samples, classes, crops=crops, groups=groups, **settings)


def table(rows: Sequence[Row[Score]]) -> tuple[AverageRow, ...]:
    """Return what the rows come to."""
    base = rows[0].score

    def line(row: Row[Score]) -> AverageRow:
        return AverageRow(
            len(row.models), row.crops, row.score.count, row.multiply_adds, error(row.score), error_difference(base, row.score)
        )

    return tuple(map(line, rows))


def judge_averages(rows: Sequence[Row[Score]]) -> tuple[Verdict, ...]:
    """Return verdicts: with one model more crops against fewer, and the first step's gain against the last's; all models against one."""
    by = {(len(row.models), row.crops): row.score for row in rows}
    most, numbers = max(count for count, _ in by), sorted({crops for _, crops in by})
    pairs = [((1, more), (1, fewer)) for fewer, more in pairwise(numbers)]
    if most > 1:
        pairs += [((most, crops), (1, crops)) for crops in numbers]
    verdicts = [_verdict(better, worse, error_difference(by[worse], by[better])) for better, worse in pairs]
    if len(numbers) > 2:
        verdicts.append(_judge_gains(numbers, [by[1, crops] for crops in numbers]))
    return tuple(verdicts)


def _judge_gains(crops: Sequence[int], scores: Sequence[Score]) -> Verdict:
    """Return the verdict on the gain of the last step to more crops being smaller than that of the first, on the same images."""
    wrong = [100 * (score.ranks[np.argsort(score.indices)] > 0) for score in scores]
    first, last = wrong[0] - wrong[1], wrong[-2] - wrong[-1]
    more = first - last
    values, counts = np.unique(more, return_counts=True)  # few kinds: drawing images anew is a multinomial distribution's counts
    drawn = np.random.default_rng(0).multinomial(len(more), counts / len(more), size=2000) @ values / len(more)
    points = Interval(float(more.mean()), *map(float, np.quantile(drawn, [0.025, 0.975])))
    names = f"{crops[0]} to {crops[1]} crops", f"{crops[-2]} to {crops[-1]} crops"
    gains = f"{names[0]} take {first.mean():.1f} points of errors away, {names[1]} {last.mean():.1f}"
    said = f"{gains}: the first gains {points.value:+.1f} points on the last ({points.low:+.1f} to {points.high:+.1f})"
    return Verdict(Claim(*names), points, word_for(shown=points.low > 0, contradicted=points.high < 0), said)


def _verdict(better: tuple[int, int], worse: tuple[int, int], points: Interval) -> Verdict:
    claim = Claim(name_of(*better), name_of(*worse))
    word = "more" if points.value > 0 else "fewer"
    said = f"{claim.better}: {abs(points.value):.1f} points {word} errors than {claim.worse} ({points.low:+.1f} to {points.high:+.1f})"
    return Verdict(claim, points, word_for(shown=points.high < 0, contradicted=points.low > 0), said)


def name_of(models: int, crops: int) -> str:
    """Return "7 models, 144 crops"."""
    return f"{models} {'model' if models == 1 else 'models'}, {crops} {'crop' if crops == 1 else 'crops'}"
