"""Runs side by side: enters run folders, leaves what differs in their settings, their accuracies, and whether the difference is chance."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from inceptions.errors import UserError
from inceptions.evaluation import metrics
from inceptions.evaluation.interval import Interval, tested
from inceptions.evaluation.saved import read_predictions
from inceptions.evaluation.score import Score
from inceptions.extras import require
from inceptions.names import shown
from inceptions.weights.card import CARD_NAME, read_card

PASSING = ("versions", "started", "images", "recipe.source", "recipe.cost", "recipe.expect", "recipe.seed")  # says nothing of the method


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A finished run: its folder, settings by dotted name, the rows of metrics.csv, and how its best model did on how many images.

    score, images: of each of them, and their names; None and none of a run that was trained without the libraries of predictions.
    known_by: what the images and the way they were divided are known again by, wherever they lie; None where that wasn't kept.
    """

    folder: Path
    settings: dict[str, str]
    rows: tuple[Any, ...]
    accuracy: Interval
    count: int
    score: Score | None
    images: dict[int, str]
    known_by: tuple[str, int] | None = None


def read_run(folder: Path) -> RunRecord:
    """Return what training left in `folder`.

    Raises UserError where there is no finished run, a file of it can't be read, or pyarrow is missing to read its predictions.
    """
    needed = [folder / name for name in ("recipe.yaml", "metrics.csv", f"best/{CARD_NAME}")]
    missing = [str(path.relative_to(folder)) for path in needed if not path.is_file()]
    if missing:
        raise UserError(f"{folder} is not a finished run: no {' and no '.join(missing)} in it; give run folders that training wrote")
    recipe, metrics, card = needed
    predictions = folder / "predictions.parquet"
    if predictions.is_file():
        require("report", "pyarrow", needed_for=f"reading {shown(predictions)}")
        with _reading(predictions):
            saved = read_predictions(predictions)
        score, images = list(saved.scores.values())[-1], saved.images
        accuracy, count = score.interval, score.count
    else:
        accuracy, count = _tested(card.parent)
        score, images = None, {}
    with _reading(metrics), metrics.open(encoding="utf-8", newline="") as file:
        rows = tuple(SimpleNamespace(**{name: float(value) for name, value in row.items()}) for row in csv.DictReader(file))
    with _reading(recipe):
        settings = dict(flatten(yaml.safe_load(recipe.read_text(encoding="utf-8"))))
    plain = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    split = read_card(card.parent).split
    known_by = (split.fingerprint, split.seed) if split else None
    return RunRecord(folder, plain, rows, accuracy, count, score, images, known_by)


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Raise UserError where the block can't read a file, or it is none that training writes."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{file} can't be read ({error.strerror or error})") from None
    except (ValueError, TypeError, LookupError, AttributeError, yaml.YAMLError) as error:  # pyarrow's are ValueErrors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{file} is damaged ({reason}); leave the run out") from None


def _tested(best: Path) -> tuple[Interval, int]:
    """Return the accuracy with Wilson's interval, and of how many images, that the card keeps of the test in the end."""
    found = tested(read_card(best).metrics)
    if found is None:
        raise UserError(f"{best.parent} is not a finished run: its best model is not tested yet; go on with it, or leave it out")
    _, count, accuracy = found
    return accuracy, count


def differing(runs: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Return the settings that are not the same in all runs, by dotted name, with the value in each; but for those in PASSING."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {name: [run.settings.get(name, "") for run in runs] for name in names if not name.startswith(PASSING)}
    return {name: found for name, found in values.items() if len(set(found)) > 1}


def error_difference(first: RunRecord, other: RunRecord) -> Interval | None:
    """Return the error of `other` less that of `first`, in percentage points, with its interval; None where the images aren't the same."""
    if first.score is None or other.score is None or not _are_same_images(first, other):
        return None
    return metrics.error_difference(first.score, other.score)


def _are_same_images(first: RunRecord, other: RunRecord) -> bool:
    """Whether both are tested on the same images, which may have another path: given from elsewhere, or moved since."""
    if first.images == other.images:
        return True
    return first.known_by is not None and first.known_by == other.known_by and first.images.keys() == other.images.keys()


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested settings by dotted names, such as optimizer.momentum."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
