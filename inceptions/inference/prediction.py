"""What is said of an image: a `Prediction`, and the columns of a table of them. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inceptions.data.stored import Stored


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The likeliest classes of one image with their probabilities (softmax, 0 to 1), the likeliest first; or why it can't be read.

    vector: what the classifier reads (F,), float32; None where the image can't be read.
    """

    path: Path | Stored
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    error: str | None = None
    vector: np.ndarray | None = None


def column_names(top_k: int) -> list[str]:
    """Return file, class, probability, class_2, probability_2 and so on, error."""
    places = ["", *(f"_{place}" for place in range(2, top_k + 1))]
    return ["file", *(f"{column}{place}" for place in places for column in ("class", "probability")), "error"]


def row_of(item: Prediction, *, top_k: int) -> list[str]:
    """Return what stands in these columns."""
    cells = [value for name, p in zip(item.classes, item.probabilities, strict=True) for value in (name, f"{p:.6f}")]
    return [str(item.path), *cells, *[""] * (2 * top_k - len(cells)), item.error or ""]
