"""Several processes of one command, as torchrun starts them: the first prints and writes; what fails in one ends all with one message."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from inceptions.cli.terminal import err, out

if TYPE_CHECKING:
    from inceptions.training.processes import Processes  # which imports torch

T = TypeVar("T")


class Together:
    """The processes of a command, or this one alone, for which nothing here makes a difference; all but the first are silent."""

    def __init__(self) -> None:
        self.processes: Processes | None = None

    def __enter__(self) -> Together:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from inceptions.training.processes import Processes

            self.processes = Processes()
        if not self.is_first:
            out.quiet = err.quiet = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.processes is not None:
            self.processes.__exit__(kind, error, trace)

    @property
    def part(self) -> tuple[int, int]:
        """Return (rank, number of processes)."""
        return self.processes.part if self.processes else (0, 1)

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that prints and writes."""
        return self.part[0] == 0

    def do(self, task: Callable[[], T]) -> T:
        """Return what `task` returns, once it has succeeded in all processes; where one fails, its UserError is raised in all."""
        return self.processes.together(task) if self.processes else task()

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in the order of their ranks."""
        return self.processes.gather(value) if self.processes else [value]
