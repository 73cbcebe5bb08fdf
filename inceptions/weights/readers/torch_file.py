"""PyTorch's `.pth`, `.pt` and `.bin`: enters a path, leaves the tensors of a state dict, views of the file where it is a zip archive.

Always `torch.load(weights_only=True)`, and never before `pickled` has looked at what the file claims.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from inceptions.errors import WeightsError
from inceptions.weights.readers.archive import open_archive, read_member
from inceptions.weights.readers.foreign import Budget, ForeignTensors, damaged, quote, some
from inceptions.weights.readers.pickled import MAX_PICKLE_BYTES, PICKLE_ERRORS, Claims

NESTS = ("state_dict_ema", "model_ema", "ema_state_dict", "state_dict", "model_state_dict", "model", "net")
"""Where training states keep the weights. An average over training comes first: it is what was meant to be used, and what timm takes."""
_LOAD_ERRORS = (*PICKLE_ERRORS, RuntimeError, OSError, AssertionError)
_MAX_NESTS = 3
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_SAVE = "torch.save(model.state_dict(), ...)"


def read_torch_zip(path: Path) -> ForeignTensors:
    """Return the tensors of a file of torch 1.6 or newer. Raises WeightsError."""
    with open_archive(path) as archive:
        _check_records(archive, path)
    return _take(_load(path, mmap=True), Budget(path.stat().st_size))


def read_torch_legacy(path: Path) -> ForeignTensors:
    """Return the tensors of a file of torch before 1.6: pickles and then numbers, one after the other. Raises WeightsError."""
    size = path.stat().st_size
    budget = Budget(size)
    with path.open("rb") as file:
        magic = Claims(file, budget).look()
        if magic != _LEGACY_MAGIC:
            raise WeightsError(f"it is a pickle, but not of torch.save, and to load it may run code; ask for a file written with {_SAVE}")
        Claims(file, budget).look()  # protocol version
        Claims(file, budget).look()  # the system it was written on
        claims = Claims(file, budget)
        claims.look()
        keys = Claims(file, budget).look()
        held = size - file.tell()
    wanted = sum(8 + storage.item_bytes * storage.length for storage in claims.storages.values())
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(claims.storages):
        raise damaged("the storages in it are not those that its pickle names")
    if wanted > held:
        raise WeightsError(f"it claims {wanted:,} bytes of tensors and has {held:,}; the download was cut short: download it again")
    return _take(_load(path, mmap=False), Budget(size))


def _check_records(archive: zipfile.ZipFile, path: Path) -> None:
    members = {member.filename: member for member in archive.infolist()}
    root = next(iter(members)).split("/")[0]
    if f"{root}/constants.pkl" in members or any(name.startswith(f"{root}/code/") for name in members):
        raise WeightsError(
            f"it is a TorchScript program, not weights; where you trust it, load it with torch.jit.load and write a file with {_SAVE}"
        )
    pickled = f"{root}/data.pkl"
    if pickled not in members:
        raise WeightsError(f"it is a zip archive without {quote(pickled)}, so not of torch.save; give a file written with {_SAVE}")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
        raise WeightsError("it was compressed after it was saved, or forged; give the file as torch.save wrote it")
    content = read_member(archive, pickled, most=MAX_PICKLE_BYTES)
    claims = Claims(io.BytesIO(content), Budget(path.stat().st_size))
    claims.look()
    for key, storage in claims.storages.items():
        record = members.get(f"{root}/data/{key}")
        if record is None or record.file_size != storage.item_bytes * storage.length:
            stored = "is missing" if record is None else f"has {record.file_size:,} bytes"
            wants = f"{storage.item_bytes * storage.length:,}"
            raise damaged(f"its storage {quote(key)} {stored} where its pickle claims {wants}")


def _load(path: Path, *, mmap: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except _LOAD_ERRORS as error:
        reason = quote(str(error).partition("\n")[0] or type(error).__name__)
        raise WeightsError(f"torch can't load it as weights alone ({reason}); download it again, or save it anew with {_SAVE}") from None


def _take(found: Any, budget: Budget) -> ForeignTensors:
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
        if not isinstance(name, str) or tensor.device.type != "cpu" or tensor.layout is not torch.strided or tensor.is_quantized:
            raise WeightsError(f"{quote(name)} is no plain tensor with a name; write a file with {_SAVE} of the model in float32")
        budget.claim(name, tuple(tensor.shape), tensor.element_size())
    others = [name for name in found if name not in tensors]
    if others:
        notes.append(f"values that are no tensors were left out: {some(others)}")
    return ForeignTensors(tensors, "torch", tuple(notes))
