"""The command line: parse, call, print. What people can mend is one line on standard error and exit code 2."""

from __future__ import annotations

import io
import os
import shlex
import sys


def main() -> None:
    """Run the command line and leave with its exit code: 0, 2 for what a person can mend, 130 when interrupted."""
    from inceptions.cli.commands import app
    from inceptions.errors import StoppedError, UserError
    from inceptions.networks.spec import NetworkError

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error does: what the encoding hasn't is written out
    try:
        app(prog_name="inceptions")
    except (UserError, NetworkError) as error:
        _complain(error)
        sys.exit(130 if isinstance(error, StoppedError) else 2)


def _complain(error: Exception) -> None:
    from inceptions.cli.terminal import complain
    from inceptions.errors import UnknownModelError, UnknownTagError
    from inceptions.networks.registry import UnknownNetworkError

    match error:
        case UnknownTagError():
            remedies = ["`inceptions list --weights` shows all"]
        case UnknownModelError():
            remedies = ["`inceptions list --weights` shows the tags"]
        case UnknownNetworkError():
            remedies = ["`inceptions list` shows all"]
        case _:
            resume = getattr(error, "resume", None)
            remedies = [f"go on with: {shlex.join(['inceptions', 'train', '--resume', str(resume)])}"] if resume else []
    if _speaks():
        complain("; ".join([str(error), *remedies, *getattr(error, "__notes__", ())]))


def _speaks() -> bool:
    """Return whether this process says what failed: of those that torchrun started, the first to fail alone does."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return True
    from inceptions.training.processes import is_first_to_fail

    return is_first_to_fail()
