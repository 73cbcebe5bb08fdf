"""What the commands print with: two consoles and a few words. Standard output is for results, standard error for everything else."""

from __future__ import annotations

import logging
import sys

from rich.console import Console

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def complain(message: str) -> None:
    """Print an error as one line on standard error."""
    print(f"inceptions: {' '.join(message.split())}", file=sys.stderr)


class Download:
    """A progress bar for bytes that come from the network, shown once some do: give `step` to whatever fetches."""

    def __init__(self, name: str) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
        self.bar = self.progress.add_task(f"fetching {name}", visible=False)

    def __enter__(self) -> Download:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def step(self, done: int, total: int | None) -> None:
        """Show that `done` bytes of `total` are there."""
        self.progress.update(self.bar, completed=done, total=total, visible=True)


def show_warnings() -> None:
    """Print what the package logs as lines on standard error, without disturbing a progress bar."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            err.print(f"{record.levelname.lower()}: {record.getMessage()}", style="yellow", markup=False, soft_wrap=True)

    logger = logging.getLogger("inceptions")
    logger.handlers = [Lines()]
    logger.propagate = False
