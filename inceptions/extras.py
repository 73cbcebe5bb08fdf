"""Libraries that come with an extra of the package: enters their names, leaves which are missing, or an error that says how to get them."""

from __future__ import annotations

from importlib.util import find_spec

from inceptions.errors import UserError

REPORT_MODULES = ("jinja2", "matplotlib", "pyarrow")  # what predictions, plots and pages are written with


def missing_modules(*names: str) -> list[str]:
    """Return those of the modules that aren't installed; none is imported."""
    return [name for name in names if find_spec(name) is None]


def require(extra: str, *names: str, needed_for: str) -> None:
    """Raise UserError unless all of these modules of an extra are installed: before the work, not after it.

    needed_for: what can't be done without them, as the beginning of a sentence.
    """
    if missing := missing_modules(*names):
        raise UserError(f"{needed_for} needs {' and '.join(missing)}, not installed here; pip install 'inceptions[{extra}]'")
