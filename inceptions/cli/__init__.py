"""The command line: parse, call, print. What people can mend is one line on standard error and exit code 2."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code: 0, 2 for what a person can mend, 130 when interrupted."""
    from inceptions.cli.app import app
    from inceptions.cli.terminal import complain
    from inceptions.errors import StoppedError, UserError
    from inceptions.networks.spec import NetworkError

    try:
        app(prog_name="inceptions")
    except (UserError, NetworkError) as error:
        complain(str(error))
        sys.exit(130 if isinstance(error, StoppedError) else 2)
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(130)
