"""Keras' `.h5`, `.weights.h5` and `.keras`: enters a path, leaves its tensors as `layer/weight`, which another process read.

In a process of its own because the HDF5 library reads a damaged file beyond its end, or crashes on it (files with changed bytes in its
trees of groups make it), before anything here could notice.
"""

from __future__ import annotations

import io
import zipfile
from itertools import count, takewhile
from pathlib import Path
from typing import IO, Any

import numpy as np

from inceptions.errors import WeightsError
from inceptions.weights.readers.apart import read_apart
from inceptions.weights.readers.foreign import AGAIN, ForeignTensors, quote, some

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
TIME_LIMIT_S = 120
_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, OverflowError)


def read_keras(path: Path) -> ForeignTensors:
    """Return the tensors of a `.h5`, legacy or `.weights.h5`, or a `.keras`. Raises WeightsError, also without h5py."""
    return read_apart(__name__, path, library="HDF5", time_limit_s=TIME_LIMIT_S)


def read_here(path: Path) -> ForeignTensors:
    """Return the tensors of a file, by h5py in this process."""
    if not zipfile.is_zipfile(path):
        return _read(path, config=None)
    with zipfile.ZipFile(path) as archive:
        if not {CONFIG, WEIGHTS} <= set(archive.namelist()):
            raise WeightsError(f"it lacks {CONFIG} or {WEIGHTS}; save it again with model.save('model.keras'), in one file")
        return _read(io.BytesIO(archive.read(WEIGHTS)), config=archive.read(CONFIG))


def _read(source: Path | IO[bytes], *, config: bytes | None) -> ForeignTensors:
    try:
        import h5py
    except ImportError:
        raise WeightsError("it is read with h5py, which isn't installed; pip install 'inceptions[keras]'") from None
    from inceptions.weights.readers.keras_legacy import is_legacy, read_legacy
    from inceptions.weights.readers.keras_saved import is_saved, read_config, read_saved

    try:
        with h5py.File(source, "r", locking=False) as file:
            if config is not None:
                return read_saved(file, config=read_config(config), file_format="keras")
            if is_legacy(file):
                return read_legacy(file)
            if is_saved(file):
                return read_saved(file, config={}, file_format="weights_h5")
            has = some(list(file)) or "nothing"
            raise WeightsError(f"it is HDF5, but not of Keras: it has {has} where layer_names or layers would be; give a file of Keras")
    except WeightsError:
        raise
    except _ERRORS as error:
        raise WeightsError(f"its HDF5 can't be read ({quote(str(error).partition(chr(10))[0] or type(error).__name__)}); {AGAIN}") from None


def texts(holder: Any, name: str) -> list[str] | None:
    """Return an attribute that is text, or a list of texts, perhaps in parts (`name0`, `name1`, …) as Keras writes long ones; or None."""
    numbered = takewhile(holder.attrs.__contains__, (f"{name}{number}" for number in count()))
    parts = [name] if name in holder.attrs else list(numbered)
    values = [value for part in parts for value in np.atleast_1d(np.asarray(holder.attrs[part], dtype=object)).tolist()]
    return [value.decode() if isinstance(value, bytes) else value for value in values] if parts else None


def read_dataset(dataset: Any) -> np.ndarray | None:
    """Return the numbers of a dataset, or None if they aren't floating-point."""
    if dataset.dtype.kind == "V" and dataset.dtype.itemsize == 2 and (texts(dataset, "dtype") or [""])[0] == "bfloat16":
        return (dataset[()].view("<u2").astype("<u4") << 16).view("<f4")
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (2, 4, 8):
        return None
    return np.asarray(dataset[()], dataset.dtype.newbyteorder("<"))
