"""compare: from run folders to a table of what differs, how good each is, and whether that is chance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from inceptions.cli.terminal import Column, print_json, print_table, tell
from inceptions.errors import UserError
from inceptions.extras import require

if TYPE_CHECKING:
    from inceptions.evaluation.compare import RunRecord
    from inceptions.evaluation.interval import Interval


def run_comparison(folders: list[Path], output: Path | None, *, as_json: bool) -> None:
    """Print the runs side by side, and draw their curves over each other into `output`."""
    if len(folders) < 2:
        raise UserError("give two run folders or more, such as runs/a runs/b")
    from inceptions.evaluation.compare import differing, error_difference, read_run

    if output is not None:
        require("report", "matplotlib", needed_for="compare --output")
    runs = [read_run(folder) for folder in folders]
    against = [error_difference(runs[0], run) for run in runs]
    settings = differing(runs)
    if as_json:
        print_json({"runs": [_as_plain(*pair) for pair in zip(runs, against, strict=True)], "settings": settings})
    else:
        _print(runs, against)
        _print_settings(settings, [str(folder) for folder in folders])
        if any(run.score is None for run in runs):
            tell("no predictions: for differences, training keeps those of each image where inceptions[report] is installed")
        tell("intervals: Wilson's; of errors on the same images, in points, below zero is better, the paired bootstrap's")
    if output is not None:
        from inceptions.evaluation import plots

        curves = {str(folder): run.rows for folder, run in zip(folders, runs, strict=True)}
        plots.save_figure(plots.curves_over_each_other(curves), output)
        tell(f"drew the curves in {output}")


def _as_plain(run: RunRecord, points: Interval | None) -> dict[str, Any]:
    """Return a run in plain values; accuracy and its interval are shares, 0 to 1.

    error_difference_points: the error less that of the first run on the same images; null where it saw others, or one of them
    kept no predictions.
    """
    return {
        "run": str(run.folder),
        "images": run.count,
        "accuracy": run.accuracy.value,
        "interval": [run.accuracy.low, run.accuracy.high],
        "error_difference_points": points and points.value,
        "error_difference_points_interval": points and [points.low, points.high],
        "epochs": len(run.rows),
        "seconds": run.rows[-1].seconds if run.rows else None,
    }


def _print(runs: list[RunRecord], against: list[Interval | None]) -> None:
    rows = []
    for run, points in zip(runs, against, strict=True):
        accuracy = run.accuracy
        shares = (f"{100 * accuracy.value:.2f} %", f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f} %")
        minutes = f"{run.rows[-1].seconds / 60:.1f}" if run.rows else ""
        rows.append((str(run.folder), shares, _against(run, runs[0], points), str(len(run.rows)), minutes))
    pairs = (Column(("accuracy", "95 % interval")), Column(("error against the first", "95 % interval")))
    print_table((Column("run", "text"), *pairs, Column("epochs"), Column("minutes")), rows)


def _against(run: RunRecord, first: RunRecord, points: Interval | None) -> tuple[str, str]:
    if run is first:
        return "base", ""
    if points is None:
        return "other images" if run.score and first.score else "no predictions", ""
    return f"{points.value:+.2f}", f"{points.low:+.2f} to {points.high:+.2f}"


def _print_settings(settings: dict[str, list[str]], names: list[str]) -> None:
    if not settings:
        tell("the settings are the same but for the seed")
        return
    columns = (Column("setting", "name"), *(Column(name, "text") for name in names))
    print_table(columns, [(setting, *values) for setting, values in settings.items()])
