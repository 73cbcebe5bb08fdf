"""NumPy's `.npz`: enters a path, leaves its arrays. Arrays of objects, which would be unpickled, are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from inceptions.errors import WeightsError
from inceptions.weights.readers.archive import open_archive
from inceptions.weights.readers.foreign import Budget, ForeignTensors, damaged, quote

_MAX_HEADER = 10_000


def read_npz(path: Path) -> ForeignTensors:
    """Return the arrays of an `.npz`, by the names of its members without `.npy`. Raises WeightsError."""
    budget = Budget(path.stat().st_size)
    tensors = {}
    with open_archive(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                tensors[member.filename.removesuffix(".npy")] = _array(file, member.filename, member.file_size, budget)
    return ForeignTensors(tensors, "npz")


def _array(file: Any, name: str, size: int, budget: Budget) -> np.ndarray:
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(file, max_header_size=_MAX_HEADER)
    except ValueError as error:
        raise WeightsError(f"its member {quote(name)} is no array ({quote(str(error).partition(chr(10))[0])}); download it again") from None
    if dtype.hasobject:
        raise WeightsError(f"its member {quote(name)} holds Python objects, which aren't unpickled; save arrays of numbers")
    wanted = budget.claim(name, shape, dtype.itemsize)
    if size - file.tell() != wanted:
        held = f"{size - file.tell():,} bytes of numbers where its shape {quote(shape)} wants {wanted:,}"
        raise damaged(f"its member {quote(name)} has {held}")
    array = np.frombuffer(bytearray(file.read(wanted)), dtype=dtype)
    return array.reshape(shape, order="F" if fortran_order else "C")
