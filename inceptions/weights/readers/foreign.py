"""What a reader gives, and how much a file may claim: enters claimed names and shapes, leaves room for them or a WeightsError."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inceptions.errors import WeightsError

MAX_BYTES = 4 * 2**30
"""Most bytes of tensors in a file: the largest of these networks has 230 MB, a training state three times that."""
MAX_TENSORS = 20_000
"""Most tensors in a file: the largest of these networks has about 1,500."""
MAX_EXPANSION = 100
"""Most bytes that one byte of a file may stand for: compressed zeros, or views that share their numbers."""
_MAX_RANK = 8
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class ForeignTensors:
    """The tensors of a file.

    tensors: names to arrays (NumPy or torch), in the file's names and layout; they may be views of the file, so keep it as it is while they
    are used. format: "safetensors", "torch", "keras_h5", "weights_h5", "keras", "caffemodel", "onnx", "tf_checkpoint" or "npz".
    notes: what was chosen or left out, a sentence each.
    """

    tensors: Mapping[str, Any]
    format: str
    notes: tuple[str, ...] = ()


class Budget:
    """What a file of `file_bytes` may still claim: MAX_TENSORS tensors of MAX_BYTES together, and not absurdly more than the file holds."""

    def __init__(self, file_bytes: int) -> None:
        self.bytes = min(MAX_BYTES, file_bytes * MAX_EXPANSION + 2**20)
        self.tensors = MAX_TENSORS

    def claim(self, name: str, shape: Sequence[int], item_bytes: int) -> int:
        """Return how many bytes a tensor takes; WeightsError when it claims a shape that can't be, or more than is left."""
        if len(shape) > _MAX_RANK or any(type(extent) is not int or extent < 0 for extent in shape):
            raise damaged(f"tensor {quote(name)} claims the shape {quote(tuple(shape))}")
        wanted = math.prod(shape) * item_bytes
        self.tensors -= 1
        self.bytes -= wanted
        if self.tensors < 0:
            raise unfit(f"it claims more than {MAX_TENSORS:,} tensors")
        if self.bytes < 0:
            raise damaged(f"tensor {quote(name)} claims the shape {quote(tuple(shape))}, more than such a file can hold")
        return wanted


def damaged(what: str) -> WeightsError:
    """Return the error for what a sound file can't have."""
    return WeightsError(f"{what}; the file is damaged or forged: download it again from its publisher")


def unfit(what: str) -> WeightsError:
    """Return the error for what may be sound, but is far beyond these networks."""
    return WeightsError(f"{what}; it is no checkpoint of these networks, or forged: check that it is the right file")


def quote(value: object) -> str:
    """Return `repr` of a name or shape out of a file, cut to what fits in a line."""
    if isinstance(value, str | bytes) and len(value) > _SHOWN:
        return f"{value[:_SHOWN]!r}…"
    try:
        shown = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, a list in a list in a list…
        return type(value).__name__
    return shown if len(shown) <= 4 * _SHOWN else f"{shown[: 4 * _SHOWN]}…"


def some(names: Sequence[object], count: int = 3) -> str:
    """Return the first few of `names`, for a message."""
    return ", ".join(map(quote, names[:count])) + (", …" if len(names) > count else "")
