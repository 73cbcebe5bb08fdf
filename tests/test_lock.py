"""The locked versions can be installed on every Python that the package allows."""

import importlib.metadata
import re
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
LOCKED = dict(re.findall(r"^([^#\s=]+)==(\S+)$", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE))


def test_what_is_locked_runs_on_the_oldest_python():
    """A release that wants 3.11.5 stopped the installation on Debian 12, whose Python is 3.11.2."""
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    oldest, others, too_new = f"{requires.removeprefix('>=')}.0", [], {}
    for name, version in LOCKED.items():
        with suppress(importlib.metadata.PackageNotFoundError):  # of another platform
            found = importlib.metadata.distribution(name)
            wanted = str(found.metadata.json.get("requires_python", ""))
            if oldest not in SpecifierSet(wanted):
                too_new[f"{name} {version}"] = wanted
            if found.version.partition("+")[0] != version:
                others.append(name)
    if others:
        pytest.skip(f"what is installed isn't what is locked: {', '.join(others)}")
    assert not too_new
