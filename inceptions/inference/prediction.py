"""What is said of an image, and rows of it: enters predictions as they come, leaves a CSV file. Needs no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inceptions.data.stored import Stored
from inceptions.names import cell


@dataclass(frozen=True, slots=True)
class Prediction:
    """The likeliest classes of one image with their probabilities (softmax, 0 to 1), the likeliest first; or why it can't be read."""

    path: Path | Stored
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    error: str | None = None


def column_names(top_k: int) -> list[str]:
    """Return file, class, probability, class_2, probability_2 and so on, error."""
    places = ["", *(f"_{place}" for place in range(2, top_k + 1))]
    return ["file", *(f"{column}{place}" for place in places for column in ("class", "probability")), "error"]


def row_of(item: Prediction, *, top_k: int) -> list[str]:
    """Return what stands in these columns."""
    cells = [value for name, p in zip(item.classes, item.probabilities, strict=True) for value in (name, f"{p:.6f}")]
    return [str(item.path), *cells, *[""] * (2 * top_k - len(cells)), item.error or ""]


def write_rows(predictions: Iterable[Prediction], write: Callable[[str], None], *, top_k: int) -> Iterator[Prediction]:
    """Yield the predictions, each when its row of a CSV file is written; names that a spreadsheet would run are made harmless."""
    for number, item in enumerate(predictions):
        if not number:
            write(_line(column_names(top_k)))
        write(_line(row_of(item, top_k=top_k)))
        yield item


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(map(cell, cells))
    return text.getvalue()
