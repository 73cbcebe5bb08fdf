"""Safetensors: enters a path, leaves its tensors, views of the file, once the header has been found to say nothing impossible.

The format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from inceptions.errors import WeightsError
from inceptions.weights.readers.foreign import Budget, ForeignTensors, damaged, quote, unfit

MAX_HEADER_BYTES = 4 * 2**20
_ITEM_BYTES = {
    **{"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1},
    **{"I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8},
}


def read_safetensors(path: Path) -> ForeignTensors:
    """Return the tensors of a `.safetensors`, as torch tensors. Raises WeightsError."""
    names = _check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            return ForeignTensors({name: file.get_tensor(name) for name in names}, "safetensors")
    except SafetensorError as error:
        raise WeightsError(f"it is damaged or no safetensors file ({error}); download it again") from None


def _check_header(path: Path) -> list[str]:
    """Return the names of the tensors in the order of their numbers."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise WeightsError(
                f"its header claims {length:,} bytes, but the file has {size:,}; it is damaged or cut short: download it again"
            )
        if length > MAX_HEADER_BYTES:
            raise unfit(f"its header has {length:,} bytes, more than {MAX_HEADER_BYTES:,}")
        try:
            header = json.loads(file.read(length), object_pairs_hook=_unique)
        except WeightsError:
            raise
        except (ValueError, RecursionError):
            raise WeightsError("its header is no valid JSON; the file is damaged: download it again") from None
    if not isinstance(header, dict):
        raise WeightsError("its header is no JSON object; the file is damaged: download it again")
    header.pop("__metadata__", None)
    budget, place = Budget(size), 0
    starts = {name: _check_entry(name, entry, budget, size - 8 - length) for name, entry in header.items()}
    for name in sorted(starts, key=lambda name: starts[name]):
        start, stop = starts[name]
        if start != place:
            gap = "overlaps the one before it" if start < place else "leaves a gap before it"
            raise damaged(f"tensor {quote(name)} {gap}")
        place = stop
    return sorted(starts, key=lambda name: starts[name])


def _check_entry(name: str, entry: Any, budget: Budget, data_bytes: int) -> tuple[int, int]:
    """Return where the numbers of a tensor begin and end."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(stop)]} if dtype in _ITEM_BYTES:
            wanted = budget.claim(name, shape, _ITEM_BYTES[dtype])
        case {"dtype": dtype, "shape": _, "data_offsets": _} if dtype not in _ITEM_BYTES:
            raise WeightsError(
                f"tensor {quote(name)} has numbers of kind {quote(dtype)}; weights are floating-point numbers: save them as F32"
            )
        case _:
            raise damaged(f"the header's entry for {quote(name)} is not as it should be")
    if not 0 <= start <= stop <= data_bytes:
        raise WeightsError(f"tensor {quote(name)} lies outside of the file; it is damaged or cut short: download it again")
    if stop - start != wanted:
        stored = f"{stop - start:,} bytes of numbers where its shape {quote(tuple(shape))} wants {wanted:,}"
        raise damaged(f"tensor {quote(name)} has {stored}")
    return start, stop


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise damaged(f"its header names {quote(twice)} twice")
    return made
