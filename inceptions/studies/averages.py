"""Averages over crops and models, as in the GoogLeNet paper's table: enters the models of all seeds, leaves a row for each number of both.

Models are averaged in the order of their seeds, the first, the first two and so on. In the table differences are of the same images, in
pairs; verdicts are on every model alone, seed by seed, and on all together against each.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from inceptions.data.splits import Sample
from inceptions.errors import UserError
from inceptions.evaluation.evaluate import Row, evaluate
from inceptions.evaluation.interval import Interval
from inceptions.evaluation.metrics import error, error_difference
from inceptions.evaluation.saved import read_predictions, write_predictions
from inceptions.evaluation.score import Score
from inceptions.networks.trace import trace
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
    models: Sequence[LoadedModel],
    samples: Sequence[Sample],
    classes: Sequence[str],
    file: Path,
    *,
    crops: Sequence[int],
    images: Any,
    **settings: Any,
) -> tuple[Row[Score], ...]:
    """Return rows for each number of crops: each number of models, fewest first, then each other model alone.

    file: where the predictions are kept; those of the same models and images are not made again. images: what these are known by, in
    JSON's types. settings: as of `evaluate`.
    """
    named = {f"seed {seed}": model for seed, model in enumerate(models)}
    groups = [tuple(named)[:count] for count in range(1, len(named) + 1)] + [(name,) for name in tuple(named)[1:]]
    known_by = json.dumps({"models": [model.card.sha256 for model in models], "images": images, "crops": crops})
    if kept := _kept(file, known_by):
        cost = trace(replace(models[0].card.network, aux=())).total.multiply_adds  # of each, for they differ in their seeds alone
        parts = [(tuple(names.split(" + ")), number, score) for (names, number), score in kept.items()]
        return tuple(Row(group, number, number * len(group) * cost, score) for group, number, score in parts)
    found = evaluate(named, samples, classes, crops=crops, groups=groups, **settings)
    write_predictions(found.scores, found.classes, found.paths, file, known_by=known_by)
    return found.rows


def _kept(file: Path, known_by: str) -> dict[tuple[str, int], Score]:
    """Return the scores that a file holds of what is known by that; none of others, of a file that is none, or where there is none."""
    try:
        saved = read_predictions(file)
    except (OSError, ValueError, KeyError, UserError):  # pyarrow's errors are of the first two
        return {}
    return saved.scores if saved.known_by == known_by else {}


def table(rows: Sequence[Row[Score]]) -> tuple[AverageRow, ...]:
    """Return what the rows of the first models come to."""
    base, (first, *_) = rows[0].score, rows[0].models

    def line(row: Row[Score]) -> AverageRow:
        return AverageRow(
            len(row.models), row.crops, row.score.count, row.multiply_adds, error(row.score), error_difference(base, row.score)
        )

    return tuple(line(row) for row in rows if row.models[0] == first)


def judge_averages(rows: Sequence[Row[Score]]) -> tuple[Verdict, ...]:
    """Return verdicts: each model alone, more crops against fewer, and the first step's gain against the last's; all models against each.

    Of each model alone, intervals are over seeds; of all together, which there are once, over images, by the bootstrap.
    """
    most, alone, together = max(len(row.models) for row in rows), defaultdict(list), {}
    for row in rows:
        wrong = 100.0 * (row.score.ranks[np.argsort(row.score.indices)] > 0)
        if len(row.models) == 1:
            alone[row.crops].append(wrong)
        elif len(row.models) == most:
            together[row.crops] = wrong
    points = {crops: np.mean(wrong, axis=1) for crops, wrong in sorted(alone.items())}  # of error, by seed
    verdicts = [_verdict((1, more), (1, fewer), interval(points[more] - points[fewer])) for fewer, more in pairwise(points)]
    for crops, wrong in sorted(together.items()):
        verdicts.append(_verdict((most, crops), (1, crops), _over_images(wrong - np.mean(alone[crops], axis=0))))
    if len(points) > 2:
        verdicts.append(_judge_gains(points))
    return tuple(verdicts)


def _over_images(values: np.ndarray) -> Interval:
    """Return the mean of a value of each image, with the bootstrap's interval: few kinds, so that images drawn anew are counts of these."""
    kinds, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(0).multinomial(len(values), counts / len(values), size=2000) @ kinds / len(values)
    return Interval(float(values.mean()), *map(float, np.quantile(drawn, [0.025, 0.975])))


def _judge_gains(points: dict[int, np.ndarray]) -> Verdict:
    """Return the verdict on the gain of the last step to more crops being smaller than that of the first."""
    (one, few), (more, most) = tuple(points)[:2], tuple(points)[-2:]
    first, last = points[one] - points[few], points[more] - points[most]
    found = interval(first - last)
    names = f"{one} to {few} crops", f"{more} to {most} crops"
    gains = f"{names[0]} take {np.mean(first):.1f} points of errors away, {names[1]} {np.mean(last):.1f}"
    said = f"{gains}: the first gains {found.value:+.1f} points on the last {_spread(found)}"
    return Verdict(Claim(*names), found, word_for(shown=found.low > 0, contradicted=found.high < 0), said)


def _verdict(better: tuple[int, int], worse: tuple[int, int], points: Interval) -> Verdict:
    claim = Claim(name_of(*better), name_of(*worse))
    word = "more" if points.value > 0 else "fewer"
    said = f"{claim.better}: {abs(points.value):.1f} points {word} errors than {claim.worse} {_spread(points)}"
    return Verdict(claim, points, word_for(shown=points.high < 0, contradicted=points.low > 0), said)


def _spread(points: Interval) -> str:
    return "(one seed, no interval)" if math.isinf(points.low) else f"({points.low:+.1f} to {points.high:+.1f})"


def name_of(models: int, crops: int) -> str:
    """Return "7 models, 144 crops", or "each model, 144 crops"."""
    return f"{'each model' if models == 1 else f'{models} models'}, {crops} {'crop' if crops == 1 else 'crops'}"
