"""compare: from run folders to a table of what differs, how good each is, and whether that is chance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from inceptions.cli.terminal import out
from inceptions.errors import UserError
from inceptions.extras import require

if TYPE_CHECKING:
    from inceptions.evaluation.score import Interval


def run_comparison(folders: list[Path], output: Path | None) -> None:
    """Print the runs side by side, and draw their curves over each other into `output`."""
    from inceptions.evaluation.compare import differing, error_difference, read_run

    if len(folders) < 2:
        raise UserError("give two run folders or more, such as runs/a runs/b")
    require("report", "pyarrow", *(["matplotlib"] if output else []), needed_for="compare")
    runs = [read_run(folder) for folder in folders]
    names = [str(folder) for folder in folders]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", overflow="fold")
    for column in ("accuracy", "95 % interval", "error against the first", "epochs", "minutes"):
        table.add_column(column, justify="right")
    for name, run in zip(names, runs, strict=True):
        accuracy = run.score.interval
        against = "base" if run is runs[0] else _against(error_difference(runs[0], run))
        minutes = f"{run.rows[-1].seconds / 60:.1f}" if run.rows else ""
        errors = (f"{100 * accuracy.value:.2f} %", f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f} %", against)
        table.add_row(name, *errors, str(len(run.rows)), minutes)
    out.print(table)
    _print_settings(differing(runs), names)
    out.print("intervals: Wilson's; of errors on the same images, in points, below zero is better, the paired bootstrap's", soft_wrap=True)
    if output is not None:
        from inceptions.evaluation import plots

        plots.save_figure(plots.curves_over_each_other({name: run.rows for name, run in zip(names, runs, strict=True)}), output)
        out.print(f"drew the curves in {output}", soft_wrap=True)


def _against(points: Interval | None) -> str:
    return "other images" if points is None else f"{points.value:+.2f} ({points.low:+.2f} to {points.high:+.2f})"


def _print_settings(settings: dict[str, list[str]], names: list[str]) -> None:
    if not settings:
        out.print("the settings are the same but for the seed")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    for name in names:
        table.add_column(name, overflow="fold")
    for setting, values in settings.items():
        table.add_row(setting, *values)
    out.print(table)
