"""Write requirements.lock: what pip installs today for `.[all,test]`, resolved without installing anything (`make lock`)."""

import json
import subprocess
import sys
from pathlib import Path

HEADER = """\
# Exact versions for `pip install -c requirements.lock -e '.[all,test]'`, as `make install` does; `make lock` writes this file anew.
# These are constraints: what a platform doesn't ask for (CUDA on macOS, in PyTorch's CPU builds) is not installed.
"""


def resolve() -> list[str]:
    """Return `name==version` of everything that pip would install into an empty environment, in the order of the names."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-", ".[all,test]"]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    found = [entry["metadata"] for entry in report["install"] if not entry["requested"]]
    # a build's own label (2.14.1+cpu) would shut out the other builds
    return sorted((f"{package['name']}=={package['version'].partition('+')[0]}" for package in found), key=str.lower)


if __name__ == "__main__":
    Path("requirements.lock").write_text(HEADER + "\n".join(resolve()) + "\n")
