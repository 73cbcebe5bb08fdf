"""Processes of our own: enters a module's name and arguments, leaves the command that runs it in a process of this Python."""

from __future__ import annotations

import sys
from pathlib import Path

_BEGIN = "import sys; sys.path.append({!r}); from runpy import run_module; run_module({!r}, run_name='__main__', alter_sys=True)"


def command_of(module: str, *arguments: str) -> list[str]:
    """Return what runs `module`, as `python -m` does, but never what lies in the working directory.

    There `python -m` looks first, so that a user's queue.py would take the place of Python's own. This package is found where it is now.
    """
    return [sys.executable, "-P", "-c", _BEGIN.format(str(Path(__file__).parents[1]), module), *arguments]
