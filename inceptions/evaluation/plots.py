"""Pictures of a run: enters numbers, leaves PNG files or SVG text. Needs matplotlib (`inceptions[report]`)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inceptions.errors import UserError
from inceptions.files import whole_file
from inceptions.names import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from inceptions.evaluation.score import Score

LONGEST = 18  # letters of a name beside an axis
NAMED, NUMBERED = 50, 25  # so many classes have their names at the confusion matrix, and numbers in its cells
BLUE, ORANGE, GREY, BLACK = "#0072b2", "#d55e00", "#666666", "#000000"


def curves(rows: Sequence[Any], *, best_epoch: int) -> Figure:
    """Return loss and accuracy over the epochs; `rows` have the fields of metrics.csv."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6))  # with margins that are known, for to find them takes as long as to draw
    loss, accuracy = figure.subplots(1, 2, gridspec_kw={"left": 0.09, "right": 0.985, "bottom": 0.15, "top": 0.96, "wspace": 0.24})
    epochs = [row.epoch for row in rows]
    for axis, name, unit in ((loss, "loss", "loss (nats)"), (accuracy, "accuracy", "accuracy (%)")):
        factor = 100 if name == "accuracy" else 1
        axis.plot(epochs, [factor * getattr(row, f"train_{name}") for row in rows], color=ORANGE, marker=".", label="train (augmented)")
        validated = [factor * getattr(row, f"val_{name}") for row in rows]
        if not np.isnan(validated).all():
            axis.plot(epochs, validated, color=BLUE, marker=".", label="validation")
        axis.axvline(best_epoch, color=GREY, linewidth=0.8, linestyle=":", label=f"best: epoch {best_epoch}")
        axis.set(xlabel="epoch", ylabel=unit)
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    tidy(loss, accuracy)
    loss.legend(frameon=False)
    return figure


def tidy(*axes: Axes) -> None:
    """Give axes a faint grid in place of the frame around them."""
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)


def curves_over_each_other(runs: Mapping[str, Sequence[Any]]) -> Figure:
    """Return training loss and validation accuracy of several runs over their epochs, by name; `rows` as in `curves`."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    names, families = as_labels(runs)
    for place, rows in enumerate(runs.values()):
        colour, epochs = colormaps["tab10"](place % 10), [row.epoch for row in rows]
        loss.plot(epochs, [row.train_loss for row in rows], color=colour, marker=".", label=names[place])
        validated = [100 * row.val_accuracy for row in rows]
        shown = [100 * row.train_accuracy for row in rows] if np.isnan(validated).all() else validated
        accuracy.plot(epochs, shown, color=colour, marker=".", linestyle=":" if np.isnan(validated).all() else "-")
    loss.set(xlabel="epoch", ylabel="training loss (nats)")
    accuracy.set(xlabel="epoch", ylabel="validation accuracy (%); dotted: training")
    for axis in (loss, accuracy):
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    tidy(loss, accuracy)
    loss.legend(frameon=False, prop={"family": families, "size": 8})
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
    names, families = as_labels(classes)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    tilted = max(map(len, names)) > 2
    axis.set_xticks(range(number), names, family=families, rotation=45 if tilted else 0, ha="right" if tilted else "center")
    axis.set_yticks(range(number), names, family=families)
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


def reliability(score: Score, *, undivided: Score | None = None, bins: int = 10) -> Figure:
    """Return accuracy against confidence, and how many images have which: where the bars end below the diagonal, it is too sure.

    undivided: what it was before its logits were divided by a temperature, which becomes dots and a line.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5.2))
    margins = {"left": 0.14, "right": 0.96, "bottom": 0.1, "top": 0.93, "hspace": 0.09}
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1), gridspec_kw=margins)
    edges = np.linspace(0, 1, bins + 1)
    counts, shares = _by_confidence(score, edges)
    left, width = 100 * edges[:-1], 100 / bins
    top.bar(left, 100 * shares, width=width, align="edge", color=BLUE, edgecolor="white", label="images right")
    top.plot([0, 100], [0, 100], color=ORANGE, linestyle="--", label="as sure as it should be")
    if undivided is not None:
        before, were_right = _by_confidence(undivided, edges)
        middles, some = 100 * (edges[:-1] + edges[1:]) / 2, before > 0
        top.plot(middles[some], 100 * were_right[some], color=BLACK, marker="o", markersize=4, linestyle=":", label="without temperature")
        bottom.stairs(100 * before / max(1, undivided.count), 100 * edges, color=BLACK, linestyle=":")
    top.set(ylabel="right (%)", ylim=(0, 100), xlim=(0, 100))
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0}  # where no bar is
    narrow = {} if undivided is None else {"fontsize": 8, "columnspacing": 1, "handlelength": 1.5}
    top.legend(frameon=False, ncols=3, **narrow, **above)
    bottom.bar(left, 100 * counts / max(1, score.count), width=width, align="edge", color=GREY, edgecolor="white")
    bottom.set(xlabel="confidence (%)", ylabel="of the images (%)")
    for axis in (top, bottom):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _by_confidence(score: Score, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many images have a confidence between two edges (B + 1,), (B,), and the share of them that is right, 0 to 1."""
    bins, answered = len(edges) - 1, ~np.isnan(score.confidence)
    places = np.clip(np.digitize(score.confidence[answered], edges[1:-1], right=True), 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    right = np.bincount(places, weights=score.ranks[answered] == 0, minlength=bins)
    return counts, np.divide(right, counts, out=np.zeros(bins), where=counts > 0)


def save_figure(figure: Figure, path: Path) -> None:
    """Write `figure` as the kind of picture that the name ends in, PNG with 150 dots an inch.

    Raises UserError for another ending, or where it can't be written.
    """
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"{path}: plots are written as .png, .svg or .pdf; give a name that ends so")
    with whole_file(path) as scratch:
        if path.suffix.lower() != ".png":
            figure.savefig(scratch)
            return
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        figure.set_dpi(150)
        FigureCanvasAgg(figure).print_png(scratch)  # figure.savefig draws twice


def as_svg(figure: Figure) -> str:
    """Return `figure` as SVG text to be put into a page, whose colour its black lines and words take; its background is gone then."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    for part in (figure, *figure.axes):
        part.set_facecolor("none")
    with mpl.rc_context({"svg.hashsalt": "inceptions", "svg.fonttype": "none"}):
        out = io.StringIO()
        figure.set_dpi(72)  # SVG's own
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})  # figure.savefig draws twice
    text = out.getvalue()
    return re.sub("<[^>]*>", _as_in_page, text[text.index("<svg") :])


def _as_in_page(tag: re.Match[str]) -> str:
    """Return a tag, and so no name that stands between tags, with the page's colour and font."""
    return tag[0].replace("#000000", "currentColor").replace("'DejaVu Sans'", "system-ui")


def as_labels(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return names as matplotlib writes them letter by letter, shortened, and the families of fonts that have their letters.

    Letters that no font here has become escapes. A dollar sign begins no formula, nor does an underscore hide a name from a legend.
    """
    short = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in map(shown, names)]
    families, missing = _find_fonts(frozenset("".join(short)))
    drawn = ["".join(ascii(letter)[1:-1] if letter in missing else letter for letter in name) for name in short]
    return [f" {name}" if name.startswith("_") else name for name in (name.replace("$", r"\$") for name in drawn)], families


@lru_cache(maxsize=64)
def _find_fonts(letters: frozenset[str]) -> tuple[list[str], set[str]]:
    """Return the families to write these letters with, matplotlib's own first, and the letters that no installed font has."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

    families, missing = ["DejaVu Sans"], {letter for letter in letters if not letter.isspace()}
    installed = [(entry.fname, entry.name) for entry in fontManager.ttflist if not entry.name.startswith("Last Resort")]  # all boxes
    for path, family in [(findfont(FontProperties(family=families)), ""), *installed]:
        if not missing:
            break
        try:
            covered = missing & set(map(chr, get_font(path).get_charmap()))
        except (OSError, RuntimeError):  # removed since matplotlib listed it, or damaged
            continue
        missing -= covered
        families += [family] if covered and family else []
    return families, missing
