"""All verbs, in the order in which the help lists them: `app` with the commands of `look`, `learn`, `use` and `why`."""

from inceptions.cli import look, learn, use, why  # isort: skip
from inceptions.cli.app import app

__all__ = ["app", "learn", "look", "use", "why"]
