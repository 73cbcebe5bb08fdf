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
    """Run the command line in this process: arguments in, exit code and what was printed out."""
    monkeypatch.setattr(terminal.out, "_width", 120)
    monkeypatch.setattr(terminal.err, "_width", 120)

    def run(*arguments) -> Finished:
        monkeypatch.setattr(sys, "argv", ["inceptions", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        return Finished(left.value.code or 0, printed.out, printed.err)

    return run
