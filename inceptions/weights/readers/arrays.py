"""Files of named arrays, each read by its own library: safetensors, whose tensors are views of the file, and NumPy's `.npz`."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from inceptions.errors import WeightsError
from inceptions.weights.readers.foreign import AGAIN, ForeignTensors, quote


def read_safetensors(path: Path) -> ForeignTensors:
    """Return the tensors of a `.safetensors`, as torch tensors. Raises WeightsError."""
    try:
        with safe_open(path, framework="pt") as file:
            return ForeignTensors({name: file.get_tensor(name) for name in file.keys()}, "safetensors")
    except SafetensorError as error:
        raise WeightsError(f"it is no whole safetensors file ({quote(str(error))}); {AGAIN}") from None


def read_npz(path: Path) -> ForeignTensors:
    """Return the arrays of an `.npz`, by their names; arrays of objects, which would be unpickled, are refused. Raises WeightsError."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return ForeignTensors(dict(arrays), "npz")
    except (ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise WeightsError(f"numpy can't read it ({quote(str(error))}); download it again, or save arrays of numbers alone") from None
