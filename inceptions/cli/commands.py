"""All verbs, in the order in which the help lists them: `app` with the commands of `look`, `learn` and `use`."""

from inceptions.cli import look, learn, use  # isort: skip
from inceptions.cli.app import app

__all__ = ["app", "learn", "look", "use"]
