"""Runs side by side: enters run folders, leaves what differs in their settings, their accuracies, and whether the difference is chance."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from inceptions.errors import UserError
from inceptions.evaluation import metrics
from inceptions.evaluation.saved import read_predictions
from inceptions.evaluation.score import Interval, Score

PASSING = ("versions", "started", "images", "recipe.source", "recipe.cost", "recipe.expect", "recipe.seed")  # says nothing of the method


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A finished run: its folder, settings by dotted name, the rows of metrics.csv, the score on its test images, and their names."""

    folder: Path
    settings: dict[str, str]
    rows: tuple[Any, ...]
    score: Score
    images: dict[int, str]


def read_run(folder: Path) -> RunRecord:
    """Return what `inceptions train` left in `folder`. Raises UserError where there is no finished run."""
    needed = [folder / name for name in ("recipe.yaml", "metrics.csv", "predictions.parquet")]
    missing = [path.name for path in needed if not path.is_file()]
    if missing:
        raise UserError(f"{folder} is not a finished run: no {' and no '.join(missing)} in it; give folders that `inceptions train` wrote")
    recipe, metrics, predictions = needed
    with metrics.open(encoding="utf-8", newline="") as file:
        rows = tuple(SimpleNamespace(**{name: float(value) for name, value in row.items()}) for row in csv.DictReader(file))
    saved = read_predictions(predictions)
    settings = flatten(yaml.safe_load(recipe.read_text(encoding="utf-8")))
    plain = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings}
    return RunRecord(folder, plain, rows, list(saved.scores.values())[-1], saved.images)


def differing(runs: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Return the settings that are not the same in all runs, by dotted name, with the value in each; but for those in PASSING."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {name: [run.settings.get(name, "") for run in runs] for name in names if not name.startswith(PASSING)}
    return {name: found for name, found in values.items() if len(set(found)) > 1}


def error_difference(first: RunRecord, other: RunRecord) -> Interval | None:
    """Return the error of `other` less that of `first`, in percentage points, with its interval; None where they saw other images."""
    return metrics.error_difference(first.score, other.score) if first.images == other.images else None


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested settings by dotted names, such as optimizer.momentum."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
