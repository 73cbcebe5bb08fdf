"""TensorFlow checkpoints: enters a prefix or one of its files, leaves its tensors, which another process read."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from inceptions.weights.readers.apart import read_apart
from inceptions.weights.readers.foreign import MAX_BYTES, ForeignTensors, unfit

TIME_LIMIT_S = 300
_CHILD = "inceptions.weights.readers.tensorflow_child"  # by name: a module that is to be run must not be imported before
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


def read_tensorflow(path: Path, *, time_limit_s: float = TIME_LIMIT_S) -> ForeignTensors:
    """Return the tensors of a checkpoint of either version. Raises WeightsError, also without TensorFlow, and at the time limit."""
    prefix = _prefix(path).resolve()
    stored = sum(part.stat().st_size for part in _parts(prefix))
    if stored > MAX_BYTES:
        raise unfit(f"the checkpoint has {stored:,} bytes, more than {MAX_BYTES:,}")
    return read_apart(_CHILD, [str(prefix), str(stored)], library="TensorFlow", time_limit_s=time_limit_s)


def _prefix(path: Path) -> Path:
    return path.with_name(_PART.sub("", path.name)) if path.name else path


def _parts(prefix: Path) -> list[Path]:
    if prefix.is_file():
        return [prefix]
    return [Path(f"{prefix}.index"), *prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*-of-*")]
