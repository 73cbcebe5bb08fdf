"""PyTorch's `.pth`, `.pt` and `.bin`: enters a path, leaves the tensors of a state dict, views of the file where it is a zip archive.

Always by `torch.load(weights_only=True)`, which makes tensors and plain values and calls nothing else.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from inceptions.errors import WeightsError
from inceptions.weights.readers.foreign import ForeignTensors, quote, some

NESTS = ("state_dict_ema", "model_ema", "ema_state_dict", "state_dict", "model_state_dict", "model", "net")
"""Where training states keep the weights. An average over training comes first: it is what was meant to be used, and what timm takes."""
_LOAD_ERRORS = (UnpicklingError, EOFError, RuntimeError, OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError)
_MAX_NESTS = 3
_SAVE = "torch.save(model.state_dict(), ...)"


def read_torch(path: Path) -> ForeignTensors:
    """Return the tensors of a file of any version of torch. Raises WeightsError."""
    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise WeightsError("it was compressed after it was saved; give the file as torch.save wrote it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except _LOAD_ERRORS as error:
        raise WeightsError(_explain(str(error) or type(error).__name__)) from None
    return _take(found)


def _explain(reason: str) -> str:
    """Return what torch says in many lines in one."""
    if "TorchScript" in reason:
        return f"it is a TorchScript program, not weights; where you trust it, load it with torch.jit.load and write a file with {_SAVE}"
    if found := re.search(r"\b(?:GLOBAL|class|function) ([\w.]+)", reason):
        return (
            f"it holds more than tensors ({quote(found[1])}), and loading that would run code; "
            f"ask for, or make where you trust it, a file written with {_SAVE}"
        )
    last = reason.strip().partition("WeightsUnpickler error: ")[2] or reason
    return f"torch can't load it as weights alone ({quote(last.strip().partition(chr(10))[0])}); download it again, or save it with {_SAVE}"


def _take(found: Any) -> ForeignTensors:
    """Return the tensors of a checkpoint, out of the usual nests, with a note of what else was in it."""
    notes = []
    for _ in range(_MAX_NESTS):  # a mapping may be in itself
        if not isinstance(found, Mapping) or any(isinstance(value, torch.Tensor) for value in found.values()):
            break
        nest = next((name for name in NESTS if isinstance(found.get(name), Mapping) and found[name]), None)
        if nest is None:
            raise WeightsError(
                f"there are no tensors under its keys ({some(list(found))}) nor in {', '.join(NESTS)}; write a file with {_SAVE}"
            )
        rest = [key for key in found if key != nest]
        notes.append(f"the weights are those under {nest!r}" + (f"; left out: {some(rest, 6)}" if rest else ""))
        found = found[nest]
    tensors = {name: value for name, value in found.items() if isinstance(value, torch.Tensor)} if isinstance(found, Mapping) else {}
    if not tensors:
        raise WeightsError(f"it holds a {type(found).__name__}, not a state dict; write a file with {_SAVE}")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or tensor.layout is not torch.strided or tensor.is_quantized:
            raise WeightsError(f"{quote(name)} is no plain tensor with a name; write a file with {_SAVE} of the model in float32")
    others = [name for name in found if name not in tensors]
    if others:
        notes.append(f"values that are no tensors were left out: {some(others)}")
    return ForeignTensors(tensors, "torch", tuple(notes))
