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
    from inceptions.evaluation.metrics import Share


def run_comparison(folders: list[Path], output: Path | None) -> None:
    """Print the runs side by side, and draw their curves over each other into `output`."""
    from inceptions.evaluation.compare import differing, less_error, read_run

    if len(folders) < 2:
        raise UserError("give two run folders or more, such as runs/a runs/b")
    require("report", "pyarrow", *(["matplotlib"] if output else []), needed_for="compare")
    runs = [read_run(folder) for folder in folders]
    names = [str(folder) for folder in folders]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", overflow="fold")
    for column in ("accuracy", "95 % interval", "less error than the first", "epochs", "minutes"):
        table.add_column(column, justify="right")
    for name, run in zip(names, runs, strict=True):
        low, high = run.score.interval
        against = "" if run is runs[0] else _against(less_error(runs[0], run))
        minutes = f"{run.rows[-1].seconds / 60:.1f}" if run.rows else ""
        errors = (f"{100 * run.score.accuracy:.2f} %", f"{100 * low:.1f} to {100 * high:.1f} %", against)
        table.add_row(name, *errors, str(len(run.rows)), minutes)
    out.print(table)
    _print_settings(differing(runs), names)
    out.print("intervals: Wilson's, and the paired bootstrap's of the difference on the same images", soft_wrap=True)
    if output is not None:
        from inceptions.evaluation import plots

        plots.save_figure(plots.curves_over_each_other({name: run.rows for name, run in zip(names, runs, strict=True)}), output)
        out.print(f"drew the curves in {output}", soft_wrap=True)


def _against(less: Share | None) -> str:
    return "other images" if less is None else f"{100 * less.value:+.2f} ({100 * less.low:+.2f} to {100 * less.high:+.2f})"


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
