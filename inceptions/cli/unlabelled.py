"""What `evaluate` says of images without labels: enters predictions, leaves a table of how many are taken for which class."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table

from inceptions.cli.terminal import out
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
        out.print(_table_of_rows(found))
    counts = _count(last, found.classes)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("predicted", overflow="fold", min_width=16)
    for column in ("images", "mean confidence"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, count in counts[:SHOWN]:
        mine = last.score.predicted == found.classes.index(name)
        table.add_row(name, str(count), f"{100 * np.mean(last.score.confidence[mine]):.1f} %")
    out.print(table)
    if len(counts) > SHOWN:
        others = sum(count for _, count in counts[SHOWN:])
        out.print(f"and {others} images as {len(counts) - SHOWN} other classes", soft_wrap=True)
    if last.score.nan_outputs:
        out.print(f"note: nothing is predicted of {last.score.nan_outputs} images: the network gives nan", soft_wrap=True)
    if last.score.unreadable:
        one = last.score.unreadable[0].path
        out.print(f"note: {len(last.score.unreadable)} unreadable files left out, such as {one}", markup=False, soft_wrap=True)
    how = f"{last.name}, {last.crops} crop{'s' if last.crops > 1 else ''}, mean confidence {100 * last.score.mean_confidence:.1f} %"
    out.print(f"{last.score.count} images of {data}, without labels: {how}", markup=False, soft_wrap=True)


def _table_of_rows(found: Evaluation[Predictions]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("models", overflow="fold", min_width=16)
    for column in ("crops", "mean confidence"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("predicted most", overflow="fold")
    for row in found.rows:
        most = list_names([f"{count} {name}" for name, count in _count(row, found.classes)], 3)
        table.add_row(row.name, str(row.crops), f"{100 * row.score.mean_confidence:.1f} %", most)
    return table


def _count(row: Row[Predictions], classes: tuple[str, ...]) -> list[tuple[str, int]]:
    return [(classes[place], count) for place, count in Counter(row.score.predicted.tolist()).most_common() if place != NO_CLASS]
