"""Reading in a process of its own: enters the name of a module and its arguments, leaves the tensors that it read.

For libraries that must not share a process with torch (TensorFlow), or that crash on damaged files (HDF5). The two sides talk through a
safetensors file in a temporary folder, and a line of JSON on standard output.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from inceptions.errors import WeightsError
from inceptions.weights.readers.foreign import ForeignTensors, quote
from inceptions.weights.readers.safetensors_file import read_safetensors

_RUN_MODULE = "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"


def read_apart(module: str, arguments: list[str], *, library: str, time_limit_s: float) -> ForeignTensors:
    """Return what `module`, run with `arguments`, answers with. The tensors lie in a file that no longer has a name, so need no memory.

    library: what is to blame when the process dies. Raises WeightsError: what the module raised, a crash, or the time limit.
    """
    with tempfile.TemporaryDirectory(prefix="inceptions-", ignore_cleanup_errors=True) as scratch:
        target = Path(scratch) / "tensors.safetensors"
        said = _run([module, str(target), *arguments], Path(scratch), library, time_limit_s)
        if "error" in said:
            raise WeightsError(said["error"])
        found = read_safetensors(target) if said["tensors"] else ForeignTensors({}, "")
    return replace(found, format=said["format"], notes=tuple(said["notes"]))


def _run(arguments: list[str], folder: Path, library: str, time_limit_s: float) -> dict[str, Any]:
    """Run a module in `folder`, where nothing is that could be imported, and return the JSON that it prints last."""
    root = Path(__file__).parents[3]  # where this package is, should it not be installed
    command = [sys.executable, "-P", "-c", _RUN_MODULE, str(root), *arguments]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=time_limit_s)
    except subprocess.TimeoutExpired:
        raise WeightsError(
            f"{library} didn't read it within {time_limit_s:g} s; it is damaged, or the machine is busy: try again"
        ) from None
    last = done.stdout.strip().rpartition(b"\n")[2]
    if done.returncode == 0 and last.startswith(b"{"):
        return json.loads(last)
    reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    if done.returncode < 0:
        reason = signal.Signals(-done.returncode).name
    raise WeightsError(f"{library} broke down as it read it ({quote(reason)}); it is damaged or forged: download it again")


def answer(read: Callable[[list[str]], ForeignTensors], *, cpu_limit_s: int) -> None:
    """Read in the process of its own, with the arguments that it got, and tell the other side."""
    _limit_damage(cpu_limit_s)
    import safetensors.numpy

    target, *arguments = sys.argv[1:]
    try:
        found = read(arguments)
        if found.tensors:
            safetensors.numpy.save_file(dict(found.tensors), target)
        said = {"format": found.format, "notes": found.notes, "tensors": len(found.tensors)}
    except WeightsError as error:
        said = {"error": str(error)}
    except SafetensorError as error:
        said = {"error": f"there is no room for its tensors in {Path(target).parent.parent} ({error}); make some, or set TMPDIR"}
    print(json.dumps(said))


def _limit_damage(cpu_limit_s: int) -> None:
    """Leave no memory image behind after a crash, and no endless loop."""
    try:
        import resource
    except ImportError:  # on Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_limit_s, cpu_limit_s + 5))
