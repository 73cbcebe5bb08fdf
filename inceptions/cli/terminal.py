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


def show_warnings() -> None:
    """Print what the package logs as lines on standard error, without disturbing a progress bar."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            err.print(f"{record.levelname.lower()}: {record.getMessage()}", style="yellow", markup=False, soft_wrap=True)

    logger = logging.getLogger("inceptions")
    logger.handlers = [Lines()]
    logger.propagate = False
