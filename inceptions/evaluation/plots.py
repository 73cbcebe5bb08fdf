"""Pictures of a run: enters numbers, leaves PNG files or SVG text. Needs matplotlib (`inceptions[report]`)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inceptions.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from inceptions.evaluation.score import Score

NAMED, NUMBERED = 50, 25  # so many classes have their names at the confusion matrix, and numbers in its cells
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
        validated = [factor * getattr(row, f"val_{name}") for row in rows]
        if not np.isnan(validated).all():
            axis.plot(epochs, validated, color=BLUE, marker=".", label="validation")
        axis.axvline(best_epoch, color=GREY, linewidth=0.8, linestyle=":", label=f"best: epoch {best_epoch}")
        axis.set(xlabel="epoch", ylabel=unit)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    loss.legend(frameon=False)
    return figure


def curves_over_each_other(runs: Mapping[str, Sequence[Any]]) -> Figure:
    """Return training loss and validation accuracy of several runs over their epochs, by name; `rows` as in `curves`."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for place, (name, rows) in enumerate(runs.items()):
        colour, epochs = colormaps["tab10"](place % 10), [row.epoch for row in rows]
        loss.plot(epochs, [row.train_loss for row in rows], color=colour, marker=".", label=name)
        validated = [100 * row.val_accuracy for row in rows]
        shown = [100 * row.train_accuracy for row in rows] if np.isnan(validated).all() else validated
        accuracy.plot(epochs, shown, color=colour, marker=".", linestyle=":" if np.isnan(validated).all() else "-")
    loss.set(xlabel="epoch", ylabel="training loss (nats)")
    accuracy.set(xlabel="epoch", ylabel="validation accuracy (%); dotted: training")
    for axis in (loss, accuracy):
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    loss.legend(frameon=False, fontsize=8)
    return figure


def confusion_matrix(counts: np.ndarray, classes: Sequence[str], *, title: str) -> Figure:
    """Return the confusion matrix; counts (K, K), row the true class. Rows are shaded by their share.

    Above 50 classes cells would be specks, so the confusions alone are drawn, each as a dot as large as it is common.
    """
    from matplotlib.figure import Figure

    number = len(classes)
    side = min(14.0, max(3.8, 1.8 + 0.34 * number)) if number <= NAMED else 7.0
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axis = figure.subplots()
    if number <= NAMED:
        figure.colorbar(_cells(axis, counts, classes), shrink=0.7, label="share of the true class")
    else:
        _dots(axis, counts)
    axis.set(xlabel="predicted", ylabel="true", title=title)
    return figure


def _cells(axis: Axes, counts: np.ndarray, classes: Sequence[str]) -> AxesImage:
    number = len(classes)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(number), [_short(name) for name in classes], rotation=45 if max(map(len, classes)) > 2 else 0, ha="right")
    axis.set_yticks(range(number), [_short(name) for name in classes])
    if max(map(len, classes)) <= 2:
        axis.set_xticks(range(number), classes, ha="center")
    if number <= NUMBERED:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "#111111"
            axis.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
    return image


def _dots(axis: Axes, counts: np.ndarray, most: int = 2_000) -> None:
    wrong = counts - np.diag(counts.diagonal())
    places = np.argsort(-wrong, axis=None, kind="stable")[: min(most, np.count_nonzero(wrong))]
    rows, columns = np.divmod(places, len(counts))
    axis.plot([0, len(counts)], [0, len(counts)], color=GREY, linewidth=0.5)
    axis.set(xlim=(0, len(counts)), ylim=(len(counts), 0), aspect="equal")
    axis.scatter(columns, rows, s=4 + 60 * wrong[rows, columns] / max(1, wrong.max()), color=ORANGE, alpha=0.7, linewidths=0)


def reliability(score: Score, *, bins: int = 10) -> Figure:
    """Return accuracy against confidence, and how many images have which: where the bars end below the diagonal, it is too sure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    edges = np.linspace(0, 1, bins + 1)
    answered = ~np.isnan(score.confidence)
    places = np.clip(np.digitize(score.confidence[answered], edges[1:-1], right=True), 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    right = np.bincount(places, weights=score.ranks[answered] == 0, minlength=bins)
    shares = np.divide(right, counts, out=np.zeros(bins), where=counts > 0)
    left, width = 100 * edges[:-1], 100 / bins
    top.bar(left, 100 * shares, width=width, align="edge", color=BLUE, edgecolor="white", label="images right")
    top.plot([0, 100], [0, 100], color=ORANGE, linestyle="--", label="as sure as it should be")
    top.set(ylabel="right (%)", ylim=(0, 100), xlim=(0, 100))
    top.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)  # above, where no bar is
    bottom.bar(left, 100 * counts / max(1, score.count), width=width, align="edge", color=GREY, edgecolor="white")
    bottom.set(xlabel="confidence (%)", ylabel="of the images (%)")
    for axis in (top, bottom):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write `figure` as the kind of picture that the name ends in, PNG with 150 dots an inch. Raises UserError for another ending."""
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"{path}: plots are written as .png, .svg or .pdf; give a name that ends so")
    if path.suffix.lower() != ".png":
        figure.savefig(path)
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(150)
    FigureCanvasAgg(figure).print_png(path)  # figure.savefig draws twice


def as_svg(figure: Figure) -> str:
    """Return `figure` as SVG text to be put into a page, whose colour its black lines and words take; nothing is behind it."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "inceptions", "svg.fonttype": "none"}):
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    text = out.getvalue()
    return text[text.index("<svg") :].replace("#000000", "currentColor").replace("'DejaVu Sans'", "system-ui")


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"
