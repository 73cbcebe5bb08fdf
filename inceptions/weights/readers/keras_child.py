"""Reads Keras' HDF5, in a process of its own: enters the arguments of `read`, leaves an answer for `apart`.

The HDF5 library reads a damaged file beyond its end, or crashes on it, before anything here could notice.
"""

from __future__ import annotations

from pathlib import Path

from inceptions.errors import WeightsError
from inceptions.weights.readers.apart import answer
from inceptions.weights.readers.foreign import Budget, ForeignTensors, some
from inceptions.weights.readers.hdf5 import children, open_hdf5
from inceptions.weights.readers.keras_legacy import is_legacy, read_legacy
from inceptions.weights.readers.keras_saved import is_saved, read_config, read_saved

CPU_LIMIT_S = 20
"""A whole file takes about one second; on a damaged one, the library can go round in circles."""


def read(arguments: list[str]) -> ForeignTensors:
    """Return the tensors of the HDF5 file named first; then come the bytes of the file it is from, and a `config.json`, if there is one."""
    path, stored, *config = arguments
    with open_hdf5(Path(path)) as file:
        budget = Budget(int(stored))
        if config:
            return read_saved(file, budget, config=read_config(Path(config[0]).read_bytes()), file_format="keras")
        if is_legacy(file):
            return read_legacy(file, budget)
        if is_saved(file):
            return read_saved(file, budget, config={}, file_format="weights_h5")
        has = some(children(file)) or "nothing"
        raise WeightsError(f"it is HDF5, but not of Keras: it has {has} where layer_names or layers would be; give a file that Keras wrote")


if __name__ == "__main__":
    answer(read, cpu_limit_s=CPU_LIMIT_S)
