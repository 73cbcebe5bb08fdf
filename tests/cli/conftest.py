import sys
from typing import NamedTuple

import pytest

from inceptions.cli import main, terminal


class Finished(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def inceptions(capsys, monkeypatch):
    """Run the command line in this process: arguments in, exit code and what was printed out; width: of a terminal, None is a pipe."""

    def run(*arguments, width: int | None = None) -> Finished:
        monkeypatch.setattr(terminal.out, "_force_terminal", width is not None)
        monkeypatch.setattr(terminal.out, "_width", width)
        monkeypatch.setattr(sys, "argv", ["inceptions", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        return Finished(left.value.code or 0, printed.out, printed.err)

    return run
