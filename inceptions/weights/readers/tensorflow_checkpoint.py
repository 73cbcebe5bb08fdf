"""TensorFlow checkpoints: enters a prefix or one of its files, leaves its tensors, which another process read.

TensorFlow and torch never share a process, so neither this module nor what it imports has torch.
"""

from __future__ import annotations

import glob
import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np

from inceptions.errors import WeightsError
from inceptions.weights.readers.apart import read_apart
from inceptions.weights.readers.foreign import ForeignTensors, quote, require_size, some

TIME_LIMIT_S = 300
_TABLE_MAGIC = bytes.fromhex("57fb808b247547db")
"""The end of a table, as LevelDB has it: of an `.index`, or of a whole checkpoint of the first version."""
_PART = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


def is_checkpoint(path: Path) -> bool:
    """Return whether a path is a TensorFlow checkpoint's prefix, or one of its files."""
    prefix = _prefix(path)
    if prefix != path or not path.is_file():
        return Path(f"{prefix}.index").is_file()
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(_TABLE_MAGIC)))
        return file.read() == _TABLE_MAGIC


def checkpoint_files(path: Path) -> list[Path]:
    """Return the files of the checkpoint that `path` is the prefix, or one, of; or `path` itself."""
    prefix = _prefix(path)
    parts = [Path(f"{prefix}.index"), *sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*-of-*"))]
    return parts if parts[0].is_file() else [path]


def read_tensorflow(path: Path, *, time_limit_s: float = TIME_LIMIT_S) -> ForeignTensors:
    """Return the tensors of a checkpoint of either version. Raises WeightsError, also without TensorFlow, and at the time limit."""
    require_size(sum(part.stat().st_size for part in checkpoint_files(path)), "the checkpoint has")
    return read_apart(__name__, _prefix(path), library="TensorFlow", time_limit_s=time_limit_s)


def read_here(prefix: Path) -> ForeignTensors:
    """Return the tensors of a checkpoint, by TensorFlow in this process."""
    try:
        tensorflow: Any = importlib.import_module("tensorflow")
    except ImportError:
        raise WeightsError("it is a TensorFlow checkpoint, and TensorFlow isn't installed; pip install 'inceptions[tensorflow]'") from None
    try:
        return _read(tensorflow.train.load_checkpoint(str(prefix)))
    except WeightsError:
        raise
    except (ValueError, LookupError, RuntimeError, tensorflow.errors.OpError) as error:
        raise WeightsError(f"TensorFlow can't read it ({quote(str(error))}); download it again") from None


def _read(reader: Any) -> ForeignTensors:
    kinds = reader.get_variable_to_dtype_map()
    numbers = [name for name, kind in sorted(kinds.items()) if kind.is_floating or kind.is_integer]
    left_out = [name for name in sorted(kinds) if name not in numbers]
    notes = (f"left out, for they are no numbers: {some(left_out)}",) if left_out else ()
    return ForeignTensors({name: np.asarray(reader.get_tensor(name)) for name in numbers}, "tf_checkpoint", notes)


def _prefix(path: Path) -> Path:
    return path.with_name(_PART.sub("", path.name)) if path.name else path
