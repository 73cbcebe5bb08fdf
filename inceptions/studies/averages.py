"""Averages over crops and models, as in the GoogLeNet paper's table: enters the models of all seeds, leaves a row for each number of both.

Models are averaged in the order of their seeds, the first, the first two and so on. In the table differences are of the same images, in
pairs; verdicts are on the errors of every model alone.
"""

from __future__ import annotations

import math
from collections import defaultdict
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
from inceptions.studies.verdict import Verdict, interval, word_for
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
    """Return an evaluation with rows for each number of crops: each number of models, fewest first, then each other model alone.

    settings: as of `evaluate`.
    """
    named = {f"seed {seed}": model for seed, model in enumerate(models)}
    groups = [tuple(named)[:count] for count in range(1, len(named) + 1)] + [(name,) for name in tuple(named)[1:]]
    return evaluate(named, samples, classes, crops=crops, groups=groups, **settings)


def table(rows: Sequence[Row[Score]]) -> tuple[AverageRow, ...]:
    """Return what the rows of the first models come to."""
    base, (first, *_) = rows[0].score, rows[0].models

    def line(row: Row[Score]) -> AverageRow:
        return AverageRow(
            len(row.models), row.crops, row.score.count, row.multiply_adds, error(row.score), error_difference(base, row.score)
        )

    return tuple(line(row) for row in rows if row.models[0] == first)


def judge_averages(rows: Sequence[Row[Score]]) -> tuple[Verdict, ...]:
    """Return verdicts: with one model more crops against fewer, and the first step's gain against the last's; all models against one.

    Each is on the points of error of each model alone, seed by seed.
    """
    most, alone, together = max(len(row.models) for row in rows), defaultdict(list), {}
    for row in rows:
        points = 100 * (1 - row.score.accuracy)
        if len(row.models) == 1:
            alone[row.crops].append(points)
        elif len(row.models) == most:
            together[row.crops] = points
    numbers = sorted(alone)
    pairs = [((1, more), (1, fewer), _less(alone[fewer], alone[more])) for fewer, more in pairwise(numbers)]
    pairs += [((most, crops), (1, crops), [found - each for each in alone[crops]]) for crops, found in sorted(together.items())]
    verdicts = [_verdict(*pair) for pair in pairs]
    if len(numbers) > 2:
        gains = [_less(alone[more], alone[fewer]) for fewer, more in (numbers[:2], numbers[-2:])]
        verdicts.append(_judge_gains(numbers, *gains))
    return tuple(verdicts)


def _less(base: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return by how much each of `others` is above its `base`."""
    return [other - one for one, other in zip(base, others, strict=True)]


def _judge_gains(crops: Sequence[int], first: Sequence[float], last: Sequence[float]) -> Verdict:
    """Return the verdict on the gain of the last step to more crops being smaller than that of the first."""
    points = interval(_less(last, first))
    names = f"{crops[0]} to {crops[1]} crops", f"{crops[-2]} to {crops[-1]} crops"
    gains = f"{names[0]} take {np.mean(first):.1f} points of errors away, {names[1]} {np.mean(last):.1f}"
    said = f"{gains}: the first gains {points.value:+.1f} points on the last {_spread(points)}"
    return Verdict(Claim(*names), points, word_for(shown=points.low > 0, contradicted=points.high < 0), said)


def _verdict(better: tuple[int, int], worse: tuple[int, int], differences: Sequence[float]) -> Verdict:
    claim, points = Claim(name_of(*better), name_of(*worse)), interval(differences)
    word = "more" if points.value > 0 else "fewer"
    said = f"{claim.better}: {abs(points.value):.1f} points {word} errors than {claim.worse} {_spread(points)}"
    return Verdict(claim, points, word_for(shown=points.high < 0, contradicted=points.low > 0), said)


def _spread(points: Interval) -> str:
    return "(one seed, no interval)" if math.isinf(points.low) else f"({points.low:+.1f} to {points.high:+.1f})"


def name_of(models: int, crops: int) -> str:
    """Return "7 models, 144 crops"."""
    return f"{models} {'model' if models == 1 else 'models'}, {crops} {'crop' if crops == 1 else 'crops'}"
