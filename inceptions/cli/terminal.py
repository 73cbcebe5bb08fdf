"""What the commands print with. Standard output is for results, standard error for everything else.

Names of files and classes are somebody else's: nothing that is printed is read as markup, and what a terminal would obey is written out.
On a terminal a table is drawn; in a pipe or a file each row is a line with tabs between its columns, for cut, grep and sort.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import indent
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inceptions.json_text import to_json
from inceptions.names import shown

out = Console(highlight=False, markup=False, emoji=False)
err = Console(highlight=False, markup=False, emoji=False, stderr=True)
log = logging.getLogger("inceptions")

Cell = str | tuple[str, str]
"""What stands in a place of a table: a text, or two, the second below the first and dim; in a pipe two are two columns."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's title, two for cells of two; name: never wrapped; text: wrapped; number: never, and at the right."""

    title: Cell
    kind: Literal["name", "text", "number"] = "number"


def set_verbosity(*, quiet: bool, verbose: bool) -> None:
    """Decide what is told on standard error: with quiet errors alone; with verbose every event, and where an error came from."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(f"{record.levelname.lower()}: {record.getMessage()}", style="yellow" if record.levelno >= logging.WARNING else "dim")

    out.quiet, err.quiet = False, quiet
    log.handlers = [Lines()]
    log.propagate = False
    log.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.WARNING)


def say(line: str, *, style: str = "") -> None:
    """Print a line of the result."""
    out.print(Text(shown(line), style), soft_wrap=True)


def tell(line: str = "", *, style: str = "") -> None:
    """Print a line about the result or the work on standard error."""
    err.print(Text(shown(line), style), soft_wrap=True)


def tell_on(status: Any) -> Callable[[str], None]:
    """Return what says what takes time: in a status line that goes away on a terminal; in a log, for good."""
    return lambda line: status.update(f"{shown(line)}…") if err.is_terminal else tell(f"{line}…")


def complain(message: str) -> None:
    """Print an error as one line on standard error; where everything is told, with the place that it came from."""
    if log.level == logging.DEBUG and sys.exc_info()[0] is not None:
        for line in traceback.format_exc().splitlines():
            tell(line)
    print(f"inceptions: {shown(' '.join(message.split()))}", file=sys.stderr)


def print_json(value: Any) -> None:
    """Print a value as JSON; characters without a shape of their own are JSON's own escapes."""
    _write(_json_text(value))


def print_json_list(values: Iterable[Any]) -> None:
    """Print a list as `print_json` does, each value when it comes: there may be more than the memory holds."""
    before = "["
    for value in values:
        _write(before + "\n" + indent(_json_text(value), " "), end="")
        before = ","
    _write("[]" if before == "[" else "\n]")


def _json_text(value: Any) -> str:
    return "".join(sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1] for sign in to_json(value))


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], *, totals: Sequence[Sequence[Cell]] = ()) -> None:
    """Print the rows, and below a line the totals."""
    if out.is_terminal:
        out.print(_drawn(columns, rows, totals))
        return
    _write_row([column.title for column in columns])
    for row in (*rows, *totals) if totals else rows:  # as they come
        _write_row(row)


def _drawn(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], totals: Sequence[Sequence[Cell]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in columns:
        number, name = column.kind == "number", column.kind == "name"
        table.add_column(_text(column.title), justify="right" if number else "left", no_wrap=number or name, overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row))
    if totals:
        table.add_section()
    for row in totals:
        table.add_row(*map(_text, row), style="bold")
    return table


def _text(cell: Cell) -> Text:
    if isinstance(cell, str):
        return Text(shown(cell))
    above, below = map(shown, cell)
    return Text.assemble(above, "\n", (below, "dim"))


def _write_row(cells: Sequence[Cell]) -> None:
    _write("\t".join(shown(part) for cell in cells for part in ([cell] if isinstance(cell, str) else cell)))


def _write(text: str, *, end: str = "\n") -> None:
    if not out.quiet:
        print(text, file=out.file, end=end)


@contextmanager
def track(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Give a function that moves a progress bar on by so many, with rate and time left; nothing is shown where there is no terminal.

    total: None where nobody knows.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn

    class Rate(TextColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.0f}/s" if task.speed else "")

    parts = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(""),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*parts, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


class Download:
    """A progress bar for bytes that come from the network, shown once some do: give `step` to whatever fetches."""

    def __init__(self, name: str) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

        parts = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*parts, console=err, transient=True, disable=not err.is_terminal)
        self.task = self.progress.add_task(f"fetching {shown(name)}", visible=False)

    def __enter__(self) -> Download:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def step(self, done: int, total: int | None) -> None:
        """Show that `done` bytes of `total` are there."""
        self.progress.update(self.task, completed=done, total=total, visible=True)
