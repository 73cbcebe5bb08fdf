"""A study's result for people and programs: enters a `StudyResult`, leaves study.md, study.json and study.svg."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inceptions.evaluation.plots import tidy
from inceptions.files import whole_file, write_whole
from inceptions.json_text import to_json
from inceptions.names import shown
from inceptions.studies.landscape_pages import plot_smoothness, plot_surfaces, smoothness_lines, smoothness_values, terrain_lines
from inceptions.studies.run import StudyResult
from inceptions.studies.surface import as_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def write_pages(result: StudyResult, folder: Path, *, command: str, data: str) -> None:
    """Write the table, the numbers and the plot of a study into `folder`."""
    write_whole(folder / "study.md", as_markdown(result, command=command, data=data))
    write_whole(folder / "study.json", to_json(as_plain(result, command=command, data=data)))
    with whole_file(folder / "study.svg") as scratch:
        _plot(result).savefig(scratch, metadata={"Date": None})


def as_plain(result: StudyResult, *, command: str, data: str) -> dict[str, Any]:
    """Return the study in plain values."""
    return {
        "study": result.study.name,
        "data": data,
        "command": command,
        "epochs": result.epochs,
        "images": dict(zip(("training", "in_the_end"), result.images, strict=True)),
        "arms": [asdict(arm) for arm in result.arms],
        "runs": [asdict(run) for run in result.runs],
        "averages": [asdict(row) for row in result.averages],
        **({"smoothness": smoothness_values(result.smoothness)} if result.smoothness else {}),
        **({"terrains": [asdict(each) for each in result.terrains]} if result.terrains else {}),
        **({"surfaces": [as_values(each) for each in result.surfaces]} if result.surfaces else {}),
        "verdicts": [asdict(verdict) for verdict in result.verdicts],
        "other_budgets": [{"epochs": other.epochs, **as_plain(other, command=command, data=data)} for other in result.others],
    }


def as_markdown(result: StudyResult, *, command: str, data: str) -> str:
    """Return the study as Markdown: the hypothesis, the table, the verdicts, and the command that makes them."""
    study, seeds = result.study, len({run.seed for run in result.runs})
    intervals = "intervals are Student's t over seeds, for differences are taken seed by seed"
    if result.averages:
        intervals += (
            "; over images (Wilson's, and the bootstrap's) of several models together and in the table, whose one model is that of seed 0"
        )
    lines = [
        f"# {study.title}",
        "",
        f"Hypothesis: {study.hypothesis} ({study.source}).",
        "",
        *_arm_lines(result),
        "",
        *_dead_lines(result),
        *(_average_lines(result) if result.averages else ()),
        *(smoothness_lines(result.smoothness) if result.smoothness else ()),
        *(terrain_lines(result.terrains) if result.terrains else ()),
        *(f"- **{verdict.word[0].upper()}{verdict.word[1:]}**: {verdict.said}." for verdict in result.verdicts),
        "",
        *_other_lines(result),
        f"{seeds} {'seed' if seeds == 1 else 'seeds'} on {shown(data)}, {_budget(result)}; {intervals}.",
        "",
        f"    {command}",
        "",
    ]
    return "\n".join(lines)


def _budget(result: StudyResult) -> str:
    """Return how long a run is, and how many images its accuracy is of: where there are no others, of those that it is trained on."""
    epochs, steps = result.epochs, max(len(run.curve) * run.steps_per_epoch for run in result.runs)
    trained, tested = result.images
    others = f"{tested:,} others" if tested else "the same"
    return f"{epochs} {'epoch' if epochs == 1 else 'epochs'} of {trained:,} images in {steps:,} steps, accuracy of {others}"


def _other_lines(result: StudyResult) -> list[str]:
    """Return what the arms and the claims came to with other epochs, in one line each."""
    lines = []
    for other in result.others:
        said = "; ".join(f"{verdict.word}, {verdict.said}" for verdict in other.verdicts)
        arms = ", ".join(f"{arm.name} {100 * arm.accuracy.value:.1f} %" for arm in other.arms)
        lines.append(f"With {other.epochs} {'epoch' if other.epochs == 1 else 'epochs'} and not {result.epochs}, {arms}: {said}.")
    return [line for text in lines for line in (text, "")]


def _arm_lines(result: StudyResult) -> list[str]:
    lines = ["| Arm | Parameters | Multiply-adds, M | Accuracy, % | 95 % interval | Seconds a run |", "|---|---:|---:|---:|---|---:|"]
    for arm in result.arms:
        spread = "one seed" if math.isinf(arm.accuracy.low) else f"{100 * arm.accuracy.low:.1f} to {100 * arm.accuracy.high:.1f}"
        cells = (f"{arm.parameters:,}", f"{arm.multiply_adds / 1e6:.1f}", f"{100 * arm.accuracy.value:.2f}", spread, f"{arm.seconds:.0f}")
        lines.append(f"| {arm.name} | {' | '.join(cells)} |")
    return lines


def _dead_lines(result: StudyResult) -> list[str]:
    """Return which arms have runs that died, and how many of how many; of all arms where a claim is on that."""
    counts = [(arm.name, [run.died for run in result.runs if run.arm == arm.name]) for arm in result.arms]
    is_asked = any(claim.by == "deaths" for claim in result.study.claims)
    said = "; ".join(f"{name}: {sum(died)} of {len(died)}" for name, died in counts if is_asked or any(died))
    return [f"Runs that died, or are no better than saying one class of all images: {said}.", ""] if said else []


def _average_lines(result: StudyResult) -> list[str]:
    """Return the paper's table of models, crops, cost and error."""
    lines = ["| Models | Crops | Multiply-adds, M | Top-1 error, % | 95 % interval | Against the first |", "|---:|---:|---:|---:|---|---|"]
    for place, row in enumerate(result.averages):
        points = row.against_base
        against = f"{points.value:+.2f} ({points.low:+.1f} to {points.high:+.1f})" if place else "base"
        spread = f"{100 * row.error.low:.1f} to {100 * row.error.high:.1f}"
        cells = (str(row.models), str(row.crops), f"{row.multiply_adds / 1e6:,.0f}", f"{100 * row.error.value:.2f}", spread, against)
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _plot(result: StudyResult) -> Figure:
    if result.averages:
        return _plot_averages(result)
    if result.smoothness:
        return plot_smoothness(result)
    return plot_surfaces(result) if result.surfaces else _plot_arms(result)


def _plot_averages(result: StudyResult) -> Figure:
    """Return top-1 error with its interval over multiply-adds, a line for each number of crops or of models, of which there are fewer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axis, rows = figure.subplots(), result.averages
    kind = min(("crops", "models"), key=lambda kind: len({getattr(row, kind) for row in rows}))
    for place, number in enumerate(sorted({getattr(row, kind) for row in rows})):
        mine = [row for row in rows if getattr(row, kind) == number]
        values = [100 * row.error.value for row in mine]
        bounds = [[100 * (row.error.value - row.error.low) for row in mine], [100 * (row.error.high - row.error.value) for row in mine]]
        label = f"{number} {kind[:-1] if number == 1 else kind}"
        costs = [row.multiply_adds / 1e6 for row in mine]
        axis.errorbar(costs, values, yerr=bounds, color=COLOURS[place % len(COLOURS)], marker="o", capsize=3, label=label)
    axis.set(xlabel="multiply-adds (M)", ylabel="top-1 error (%)", xscale="log")
    axis.legend(frameon=False)
    tidy(axis)
    return figure


def _plot_arms(result: StudyResult) -> Figure:
    """Return validation accuracy over steps, the mean of the seeds with the least and the greatest, and the accuracy in the end."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    course, end = figure.subplots(1, 2, width_ratios=(3, 2))
    for place, arm in enumerate(result.arms):
        colour = COLOURS[place % len(COLOURS)]
        mine = [run for run in result.runs if run.arm == arm.name]
        steps = [(epoch + 1) * mine[0].steps_per_epoch for epoch in range(min(len(run.curve) for run in mine))]
        columns = [[100 * run.curve[epoch] for run in mine] for epoch in range(len(steps))]
        course.plot(steps, [sum(column) / len(column) for column in columns], color=colour, marker=".", label=arm.name)
        course.fill_between(steps, [min(column) for column in columns], [max(column) for column in columns], color=colour, alpha=0.15)
        half = 0.0 if math.isinf(arm.accuracy.low) else 100 * (arm.accuracy.high - arm.accuracy.value)
        end.errorbar([100 * arm.accuracy.value], [place], xerr=[half], color=colour, marker="o", capsize=3)
        end.plot([100 * run.accuracy for run in mine], [place] * len(mine), color=colour, marker="|", linestyle="none", alpha=0.6)
    course.set(xlabel="steps", ylabel="validation accuracy (%)")
    course.legend(frameon=False)
    end.set(xlabel="accuracy in the end (%)")
    end.set_yticks(range(len(result.arms)), [arm.name for arm in result.arms])
    end.margins(y=0.25)
    end.invert_yaxis()
    tidy(course, end)
    return figure
