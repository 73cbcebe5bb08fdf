"""Keras' `.h5`, `.weights.h5` and `.keras`: enters a path, leaves its tensors as `layer/weight`, which another process read."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from inceptions.errors import WeightsError
from inceptions.weights.readers.apart import read_apart
from inceptions.weights.readers.archive import open_archive, read_member
from inceptions.weights.readers.foreign import ForeignTensors

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
TIME_LIMIT_S = 120
_CHILD = "inceptions.weights.readers.keras_child"  # by name: a module that is to be run must not be imported before
_MAX_CONFIG_BYTES = 8 * 2**20


def read_hdf5(path: Path) -> ForeignTensors:
    """Return the tensors of a `.h5`, legacy or `.weights.h5`. Raises WeightsError, also without h5py."""
    return _read(path, path.stat().st_size)


def read_keras(path: Path) -> ForeignTensors:
    """Return the tensors of a `.keras`; its weights are unpacked into a temporary folder. Raises WeightsError, also without h5py."""
    with open_archive(path) as archive, tempfile.TemporaryDirectory(prefix="inceptions-") as scratch:
        if not {CONFIG, WEIGHTS} <= set(archive.namelist()):
            raise WeightsError(f"it lacks {CONFIG} or {WEIGHTS}; save it again with model.save('model.keras'), in one file")
        config, weights = Path(scratch) / CONFIG, Path(scratch) / WEIGHTS
        config.write_bytes(read_member(archive, CONFIG, most=_MAX_CONFIG_BYTES))
        with archive.open(WEIGHTS) as member, weights.open("wb") as file:
            shutil.copyfileobj(member, file, 2**20)
        return _read(weights, path.stat().st_size, config)


def _read(weights: Path, stored_bytes: int, *config: Path) -> ForeignTensors:
    arguments = [str(weights.resolve()), str(stored_bytes), *map(str, config)]
    return read_apart(_CHILD, arguments, library="HDF5", time_limit_s=TIME_LIMIT_S)
