"""Write requirements.lock: what pip installs today for `.[all,test]`, resolved without installing anything (`make lock`).

For the oldest Python that the package allows, 3.11.0: what wants 3.11.5 can't be had on Debian 12, whose Python is 3.11.2. To be run
by a Python of that minor version, for conditions of requirements go by the Python that runs pip.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HEADER = """\
# Exact versions for `pip install -c requirements.lock -e '.[all,test]'`, as `make install` does; `make lock` writes this file anew.
# These are constraints: what a platform doesn't ask for (CUDA on macOS, in PyTorch's CPU builds) is not installed.
"""


def oldest_python() -> str:
    """Return the first release of the oldest Python that pyproject.toml allows."""
    requires = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    if not (found := re.fullmatch(r">=(3\.\d+)", requires)):
        sys.exit(f"requires-python is {requires}; lock.py reads >=3.N alone")
    if found[1] != (running := f"3.{sys.version_info.minor}"):
        sys.exit(f"this is Python {running}, and versions are locked for {found[1]}: make clean, then make lock PYTHON=python{found[1]}")
    return f"{found[1]}.0"


def resolve() -> list[str]:
    """Return `name==version` of everything that pip would install into an empty environment, in the order of the names."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    with tempfile.TemporaryDirectory() as unused:  # pip wants a target where it isn't for the Python that runs it
        command += ["--target", unused, "--only-binary", ":all:", "--python-version", oldest_python(), ".[all,test]"]
        report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    found = [entry["metadata"] for entry in report["install"] if not entry["requested"]]
    # a build's own label (2.14.1+cpu) would shut out the other builds
    return sorted((f"{package['name']}=={package['version'].partition('+')[0]}" for package in found), key=str.lower)


if __name__ == "__main__":
    Path("requirements.lock").write_text(HEADER + "\n".join(resolve()) + "\n")
