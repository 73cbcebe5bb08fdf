"""What `evaluate` says of images without labels: enters predictions, leaves a table of how many are taken for which class."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from inceptions.cli.terminal import Column, print_table, tell
from inceptions.data.splits import list_names
from inceptions.evaluation.score import NO_CLASS

if TYPE_CHECKING:
    from inceptions.evaluation.evaluate import Evaluation, Row
    from inceptions.evaluation.score import Predictions

SHOWN = 10  # classes, the commonest


def predictions_as_plain(found: Evaluation[Predictions]) -> dict[str, Any]:
    """Return predictions in JSON's types, as `as_plain` of evaluate; predicted: how many images were taken for each class, most first."""
    rows = [
        {
            "models": list(row.models),
            "crops": row.crops,
            "images": row.score.count,
            "nan_outputs": row.score.nan_outputs,
            "predicted": dict(_count(row, found.classes)),
            "mean_confidence": row.score.mean_confidence,
            "multiply_adds": row.multiply_adds,
        }
        for row in found.rows
    ]
    return {"classes": len(found.classes), "rows": rows, "views_per_second": found.views_per_second, "notes": list(found.notes)}


def print_predictions(found: Evaluation[Predictions], data: str) -> None:
    """Print a line for each of what was compared, where there are several, and the commonest classes of the last."""
    last = found.rows[-1]
    if len(found.rows) > 1:
        _print_rows(found)
    counts, rows = _count(last, found.classes), []
    for name, count in counts[:SHOWN]:
        mine = last.score.predicted == found.classes.index(name)
        rows.append((name, str(count), f"{100 * np.mean(last.score.confidence[mine]):.1f} %"))
    print_table((Column("predicted", "text"), Column("images"), Column("mean confidence")), rows)
    if len(counts) > SHOWN:
        others = sum(count for _, count in counts[SHOWN:])
        tell(f"and {others} images as {len(counts) - SHOWN} other classes")
    if last.score.nan_outputs:
        tell(f"note: nothing is predicted of {last.score.nan_outputs} images: the network gives nan")
    if last.score.unreadable:
        one = last.score.unreadable[0].path
        tell(f"note: {len(last.score.unreadable)} unreadable files left out, such as {one}")
    how = f"{last.name}, {last.crops} crop{'s' if last.crops > 1 else ''}, mean confidence {100 * last.score.mean_confidence:.1f} %"
    tell(f"{last.score.count} images of {data}, without labels: {how}")


def _print_rows(found: Evaluation[Predictions]) -> None:
    columns = (Column("models", "text"), Column("crops"), Column("mean confidence"), Column("predicted most", "text"))
    rows = []
    for row in found.rows:
        most = list_names([f"{count} {name}" for name, count in _count(row, found.classes)], 3)
        rows.append((row.name, str(row.crops), f"{100 * row.score.mean_confidence:.1f} %", most))
    print_table(columns, rows)


def _count(row: Row[Predictions], classes: tuple[str, ...]) -> list[tuple[str, int]]:
    return [(classes[place], count) for place, count in Counter(row.score.predicted.tolist()).most_common() if place != NO_CLASS]
