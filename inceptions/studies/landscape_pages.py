"""Tables and pictures of the landscape: enters a `StudyResult` with smoothness or surfaces, leaves Markdown, plain values and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from inceptions.evaluation.plots import BLACK, tidy
from inceptions.studies.landscapes import FLAT, HIGH, NEAR, Smoothness, Terrain
from inceptions.studies.run import StudyResult
from inceptions.studies.smoothness import LENGTHS, StepLook
from inceptions.studies.surface import IMAGES, REACH, Surface

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import QuadContourSet
    from matplotlib.figure import Figure

COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7")
MEDIANS = {
    "Loss varies by": "varies",
    "Gradient changes by": "changes",
    "Effective smoothness": "beta",
    "Layer's gradient changes, share": "shift",
    "…its cosine": "cosine",
    "Layer's input drifts, deviations": "drift",
}
SHOWN = 3  # seeds whose surfaces are drawn
LEVELS = 12  # of the contours
MARKS = {"start": "s", "first": "o", "second": "^", "end": "o"}


def smoothness_lines(found: Sequence[Smoothness]) -> list[str]:
    """Return the table of the medians over looks, each the mean of the seeds with the least and the greatest."""
    arms = list(_by_arm(found))
    lines = [f"| Median of a run | {' | '.join(arm for arm, _ in arms)} |", f"|---|{'---:|' * len(arms)}"]
    for said, name in MEDIANS.items():
        lines.append(f"| {said} | {' | '.join(_spread([getattr(run, name) for run in runs]) for _, runs in arms)} |")
    looks, lengths = len(found[0].looks), ", ".join(f"{length:g}" for length in LENGTHS)
    said = (
        f"Medians over {looks} looks of a run; the mean of the seeds with the least and the greatest. Steps along the gradient are "
        f"{lengths} times the peak learning rate long; the last three are means of the layers that are followed."
    )
    return [*lines, "", said, ""]


def terrain_lines(found: Sequence[Terrain]) -> list[str]:
    """Return the tables of surfaces in numbers, each the mean of the seeds with the least and the greatest."""
    round_end, through = ([each for each in found if (each.rise is None) is wanted] for wanted in (False, True))
    lines = ["| Round the end of | Loss rises by, nats |", "|---|---:|"]
    lines += [f"| {arm} | {_spread([each.rise for each in runs])} |" for arm, runs in _by_arm(round_end)]
    if through:
        lines += ["", "| Through the start and the ends of | Plateau, % | Between the ends, nats above the higher |", "|---|---:|---:|"]
        for arm, runs in _by_arm(through):
            lines.append(f"| {arm} | {_spread([100 * each.plateau for each in runs])} | {_spread([each.barrier for each in runs])} |")
    said = (
        f"The loss of {IMAGES} training images at most, unvaried; the mean of the seeds with the least and the greatest. The rise is the "
        f"mean within {NEAR:g} of a filter's length. A plateau lies above {HIGH:g} of the loss of guessing, and falls by less than "
        f"{FLAT:g} of it over the distance from the start to the first end."
    )
    return [*lines, "", said, ""]


def smoothness_values(found: Sequence[Smoothness]) -> list[dict[str, Any]]:
    """Return each run's medians, and its looks as columns."""
    columns: dict[str, Callable[[StepLook], float]] = {
        "step": lambda look: look.step,
        "loss": lambda look: look.along.loss,
        "least_loss": lambda look: min(look.along.losses),
        "greatest_loss": lambda look: max(look.along.losses),
        "least_change": lambda look: min(look.along.changes),
        "greatest_change": lambda look: max(look.along.changes),
        "smoothness": lambda look: look.along.smoothness,
        **{name: lambda look, name=name: _of_layers(look, name) for name in ("relative", "cosine", "drift")},
    }
    rows = []
    for run in found:
        medians = {name: getattr(run, name) for name in MEDIANS.values()}
        looks = {name: [float(f"{column(look):.5g}") for look in run.looks] for name, column in columns.items()}
        rows.append({"arm": run.arm, "seed": run.seed, **medians, "training_accuracy": list(run.training.curve), "looks": looks})
    return rows


def plot_smoothness(result: StudyResult) -> Figure:
    """Return Figure 4 of 1805.11604, its three panels, then training accuracy (Figure 2), and what becomes of layers (Figure 3)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.6), layout="constrained")
    (loss, gradient, smooth), (training, shift, drift) = figure.subplots(2, 3)
    for place, (arm, runs) in enumerate(_by_arm(result.smoothness)):
        colour = COLOURS[place % len(COLOURS)]
        _draw_band(loss, runs, colour, arm, lambda look: min(look.along.losses), lambda look: max(look.along.losses))
        _draw_band(gradient, runs, colour, arm, lambda look: min(look.along.changes), lambda look: max(look.along.changes))
        for axis, value in ((smooth, _smooth), (shift, lambda look: _of_layers(look, "relative")), (drift, _drift)):
            steps, means = _means(runs, value)
            axis.plot(steps, means, color=colour)
        curves = np.array([run.training.curve for run in runs])
        steps = (1 + np.arange(curves.shape[1])) * runs[0].training.steps_per_epoch
        training.plot(steps, 100 * curves.mean(0), color=colour, marker=".")
        training.fill_between(steps, 100 * curves.min(0), 100 * curves.max(0), color=colour, alpha=0.15)
    loss.set(ylabel="loss along the gradient (nats)")
    gradient.set(ylabel="change of the gradient along it", yscale="log")
    smooth.set(ylabel="effective smoothness", yscale="log")
    training.set(xlabel="steps", ylabel="accuracy in training (%)")
    shift.set(xlabel="steps", ylabel="a layer's gradient, share that changes", yscale="log")
    drift.set(xlabel="steps", ylabel="a layer's input, drift (deviations)", yscale="log")
    training.legend(*loss.get_legend_handles_labels(), frameon=False, loc="lower right")  # where accuracy leaves room
    tidy(loss, gradient, smooth, training, shift, drift)
    return figure


def plot_surfaces(result: StudyResult) -> Figure:
    """Return a picture with contours of each surface, a row for each network and kind of plane, a column for each seed, three at most.

    Pictures of the same kind have the same levels, which rise by equal factors.
    """
    from matplotlib.figure import Figure

    kinds = [[each for each in result.surfaces if bool(each.between) is through and each.seed < SHOWN] for through in (False, True)]
    rows = [(list(runs), kind) for kind in kinds for _, runs in _by_arm(kind)]
    columns = max(len(runs) for runs, _ in rows)
    figure = Figure(figsize=(1.4 + 3.1 * columns, 3.1 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (runs, kind) in zip(axes, rows, strict=True):
        levels = _levels(kind)
        drawn = [_draw_surface(axis, surface, levels) for axis, surface in zip(line, runs, strict=True)]
        figure.colorbar(drawn[0], ax=list(line), label="loss (nats)", format="%.3g")
    return figure


def _draw_surface(axis: Axes, surface: Surface, levels: np.ndarray) -> QuadContourSet:
    losses = np.clip(np.array(surface.losses), levels[0], levels[-1])
    drawn = axis.contourf(surface.xs, surface.ys, losses, levels=levels, cmap="viridis", norm="log")
    lines = axis.contour(surface.xs, surface.ys, losses, levels=levels, colors="white", linewidths=0.5)
    axis.clabel(lines, levels[1:-1:3], fmt="%.3g", fontsize=7)
    names = {"start": "start", **dict(zip(("first", "second"), surface.arms, strict=False)), "end": surface.arms[0]}
    for point, (x, y) in surface.points.items():
        axis.plot(x, y, MARKS[point], color="white", markeredgecolor=BLACK, markersize=6)
        place = (x - surface.xs[0]) / (surface.xs[-1] - surface.xs[0])
        side = "left" if place < 1 / 3 else "right" if place > 2 / 3 else "center"  # so that the words stay inside
        above = -14 if point == "start" else 7  # points, below where the first end's name would cover it
        axis.annotate(f"{names[point]}, {surface.at_points[point]:.2g}", (x, y), (0, above), textcoords="offset points", ha=side, **_WORDS)
    axis.set_title(f"{'through start and ends' if surface.between else f'round the end, ±{REACH:g}'}, seed {surface.seed}", fontsize=9)
    axis.set_aspect("equal")
    axis.tick_params(labelsize=7)
    axis.locator_params(nbins=5)  # their labels, of neighbours too, stay apart
    return drawn


_WORDS: dict[str, Any] = {"fontsize": 7, "bbox": {"boxstyle": "round,pad=0.15", "color": "white", "alpha": 0.75}}


def _levels(surfaces: Sequence[Surface]) -> np.ndarray:
    """Return levels in equal factors from the least loss to four times that of guessing, or to the greatest where it is less."""
    values = np.concatenate([np.ravel(surface.losses) for surface in surfaces])
    most = min(4 * surfaces[0].guessing, float(values[np.isfinite(values)].max(initial=0.0)))
    least = max(float(values.min()), most / 1e3)
    return np.geomspace(least, max(most, 1.01 * least), LEVELS)


def _draw_band(
    axis: Axes, runs: Sequence[Smoothness], colour: str, arm: str, low: Callable[[StepLook], float], high: Callable[[StepLook], float]
) -> None:
    steps, below = _means(runs, low)
    _, above = _means(runs, high)
    axis.fill_between(steps, below, above, color=colour, alpha=0.4, linewidth=0.8, label=arm)


def _means(runs: Sequence[Smoothness], value: Callable[[StepLook], float]) -> tuple[list[int], np.ndarray]:
    """Return the steps that all runs were looked at, and the geometric mean of a value over them; nan where it is no number."""
    count = min(len(run.looks) for run in runs)
    values = np.array([[value(look) for look in run.looks[:count]] for run in runs])
    values = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    return [look.step for look in runs[0].looks[:count]], np.exp(np.log(values).mean(0))


def _smooth(look: StepLook) -> float:
    return look.along.smoothness


def _drift(look: StepLook) -> float:
    return _of_layers(look, "drift")


def _of_layers(look: StepLook, name: str) -> float:
    return math.fsum(getattr(shift, name) for shift in look.shifts) / len(look.shifts)


def _by_arm(found: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Yield what was found of each arm, or of the arms that share a plane, in their order."""
    names = dict.fromkeys(each.arm if isinstance(each, Smoothness) else " and ".join(each.arms) for each in found)
    for name in names:
        yield name, [each for each in found if (each.arm if isinstance(each, Smoothness) else " and ".join(each.arms)) == name]


def _spread(values: Sequence[float]) -> str:
    """Return "2.1 (1.9 to 2.4)"."""
    mean = math.fsum(values) / len(values)
    return f"{mean:.3g}" if len(values) == 1 else f"{mean:.3g} ({min(values):.3g} to {max(values):.3g})"
