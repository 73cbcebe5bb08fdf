"""What a reader gives, and how names out of a file are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inceptions.errors import WeightsError

MAX_BYTES = 4 * 2**30
"""Most bytes of a file, and of the tensors in it: the largest of these networks has 230 MB, a training state three times that."""
AGAIN = "the file is damaged or cut short: download it again"
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


def require_size(count: int, what: str) -> None:
    """Raise WeightsError when something has more bytes than any checkpoint of these networks."""
    if count > MAX_BYTES:
        raise WeightsError(f"{what} {count:,} bytes, more than {MAX_BYTES:,}; it is no checkpoint of these networks: check the file")


def quote(value: object) -> str:
    """Return `repr` of a name or reason out of a file, cut to what fits in a line."""
    shown = repr(value)
    return shown if len(shown) <= 2 * _SHOWN else f"{shown[: 2 * _SHOWN]}…"


def some(names: Sequence[object], count: int = 3) -> str:
    """Return the first few of `names`, for a message."""
    return ", ".join(map(quote, names[:count])) + (", …" if len(names) > count else "")
