"""What a result was made with, and when: leaves names of packages with their versions, and a time."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version


def versions(packages: Sequence[str] = ("torch", "torchvision", "safetensors")) -> dict[str, str]:
    """Return the versions of ours, of Python and of `packages`, none of which is imported."""
    return {"inceptions": version("inceptions"), "python": platform.python_version(), **{name: version(name) for name in packages}}


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
