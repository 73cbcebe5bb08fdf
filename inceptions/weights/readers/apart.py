"""Reading in a process of its own: enters a path and which function reads it there, leaves the tensors.

For TensorFlow, which must not share a process with torch, and for HDF5, whose library can crash on a damaged file or go round in circles in
it. The two sides talk through a safetensors file in a temporary folder, and a line of JSON on standard output.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from inceptions.errors import WeightsError
from inceptions.weights.readers.arrays import read_safetensors
from inceptions.weights.readers.foreign import ForeignTensors, quote

_RUN = "import sys; sys.path.insert(0, sys.argv[1]); from inceptions.weights.readers.apart import answer; answer(*sys.argv[2:])"


def read_apart(module: str, path: Path, *, library: str, time_limit_s: float) -> ForeignTensors:
    """Return what `read_here` of `module` gives for `path`. The tensors lie in a file that no longer has a name, so need no memory.

    library: what is to blame when the process dies. Raises WeightsError: what it raised, a crash, or the time limit.
    """
    with tempfile.TemporaryDirectory(prefix="inceptions-", ignore_cleanup_errors=True) as scratch:
        target = Path(scratch) / "tensors.safetensors"
        root = Path(__file__).parents[3]  # the same package there as here
        command = [sys.executable, "-P", "-c", _RUN, str(root), module, str(path.resolve()), str(target)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        try:  # in a folder where nothing is that could be imported
            done = subprocess.run(
                command, cwd=scratch, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=time_limit_s
            )
        except subprocess.TimeoutExpired:
            hint = "it is damaged, or the machine is busy: try again"
            raise WeightsError(f"{library} didn't read it within {time_limit_s:g} s; {hint}") from None
        last = done.stdout.strip().rpartition(b"\n")[2]
        if done.returncode or not last.startswith(b"{"):
            reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            reason = signal.Signals(-done.returncode).name if done.returncode < 0 else reason
            raise WeightsError(f"{library} broke down as it read it ({quote(reason)}); it is damaged: download it again")
        said = json.loads(last)
        if "error" in said:
            raise WeightsError(said["error"])
        found = read_safetensors(target) if said["tensors"] else ForeignTensors({}, "")
    return replace(found, format=said["format"], notes=tuple(said["notes"]))


def answer(module: str, path: str, target: str) -> None:
    """Read in the process of its own, and tell the other side."""
    import safetensors.numpy

    try:
        found = importlib.import_module(module).read_here(Path(path))
        if found.tensors:
            safetensors.numpy.save_file(dict(found.tensors), target)
        said = {"format": found.format, "notes": found.notes, "tensors": len(found.tensors)}
    except WeightsError as error:
        said = {"error": str(error)}
    except safetensors.SafetensorError as error:
        said = {"error": f"there is no room for its tensors in {Path(target).parent.parent} ({error}); make some, or set TMPDIR"}
    print(json.dumps(said))
