"""Pictures of a run: enters numbers, leaves PNG files or SVG text. Needs matplotlib (`inceptions[report]`)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#666666"


def curves(rows: Sequence[Any], *, best_epoch: int) -> Figure:
    """Return loss and accuracy over the epochs; `rows` have the fields of metrics.csv."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    epochs = [row.epoch for row in rows]
    for axis, name, unit in ((loss, "loss", "loss (nats)"), (accuracy, "accuracy", "accuracy (%)")):
        factor = 100 if name == "accuracy" else 1
        axis.plot(epochs, [factor * getattr(row, f"train_{name}") for row in rows], color=ORANGE, marker=".", label="train (augmented)")
        axis.plot(epochs, [factor * getattr(row, f"val_{name}") for row in rows], color=BLUE, marker=".", label="validation")
        axis.axvline(best_epoch, color=GREY, linewidth=0.8, linestyle=":", label=f"best: epoch {best_epoch}")
        axis.set(xlabel="epoch", ylabel=unit)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    loss.legend(frameon=False)
    return figure


def confusion_matrix(counts: np.ndarray, classes: Sequence[str], *, title: str) -> Figure:
    """Return the confusion matrix; counts (K, K), row the true class. Rows are shaded by their share; names shown up to 50 classes."""
    from matplotlib.figure import Figure

    number = len(classes)
    side = min(14.0, max(3.8, 1.8 + 0.34 * number))
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axis = figure.subplots()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if number <= 50:
        axis.set_xticks(range(number), [_short(name) for name in classes], rotation=45 if max(map(len, classes)) > 2 else 0, ha="right")
        axis.set_yticks(range(number), [_short(name) for name in classes])
        if max(map(len, classes)) <= 2:
            axis.set_xticks(range(number), classes, ha="center")
    if number <= 25:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
    axis.set(xlabel="predicted", ylabel="true", title=title)
    figure.colorbar(image, shrink=0.7, label="share of the true class")
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write `figure` as a PNG of 150 dots an inch."""
    figure.savefig(path, dpi=150)


def as_svg(figure: Figure) -> str:
    """Return `figure` as SVG text, to be put into a page."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "inceptions"}):
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"
