"""ONNX: enters a ModelProto on the wire, leaves its initialisers by name; of the graph nothing else is read.

Field numbers are those of onnx.proto in onnx/onnx.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inceptions.errors import WeightsError
from inceptions.weights.readers.foreign import Budget, ForeignTensors, damaged, quote, some
from inceptions.weights.readers.mapped import mapped
from inceptions.weights.readers.wire import VARINT, Field, Wire

MODEL_GRAPH = 7
_INITIALIZER, _SPARSE_INITIALIZER = 5, 15
_RAW = 9
_FLOATS = {1: ("<f4", 4), 11: ("<f8", 10), 10: ("<f2", None), 16: ("<u2", None)}
"""Data types of floating-point numbers: how they lie in `raw_data`, and the field that holds them otherwise, where one does packed."""
_BFLOAT16 = 16


def read_onnx(path: Path) -> ForeignTensors:
    """Return the floating-point initialisers of an `.onnx`. Raises WeightsError."""
    tensors: dict[str, np.ndarray] = {}
    others: list[str] = []
    with mapped(path) as buffer:
        wire, budget = Wire(buffer), Budget(len(buffer))
        for entry in wire.fields():
            if entry.number != MODEL_GRAPH:
                continue
            for part in wire.fields(entry):
                if part.number == _SPARSE_INITIALIZER:
                    raise WeightsError("it has sparse initialisers, which aren't read; export the model without them")
                if part.number != _INITIALIZER:
                    continue
                name, array = _tensor(wire, part, budget)
                if name in tensors or name in others:
                    raise damaged(f"two initialisers are named {quote(name)}")
                if array is None:
                    others.append(name)
                else:
                    tensors[name] = array
    if not tensors:
        raise WeightsError("its graph has no floating-point initialisers; export the model with its weights as initialisers")
    return ForeignTensors(tensors, "onnx", (f"initialisers that are no weights were left out: {some(others)}",) if others else ())


def _tensor(wire: Wire, message: Field, budget: Budget) -> tuple[str, np.ndarray | None]:
    """Return name and numbers of a TensorProto; none of what isn't floating-point, such as the shape for a Reshape."""
    name, data_type, shape = "", 0, []
    pieces: dict[int, list[Field]] = {}
    for entry in wire.fields(message):
        if entry.number == 1:
            shape += wire.integers(entry)
        elif entry.number == 2 and entry.kind == VARINT:
            data_type = entry.value
        elif entry.number == 8:
            name = wire.text(entry)
        elif entry.number == 13 or (entry.number == 14 and entry.value):
            raise WeightsError("it keeps its weights in another file; export the model as one file (save_as_external_data=False)")
        else:
            pieces.setdefault(entry.number, []).append(entry)
    if data_type not in _FLOATS:
        budget.claim(name, (), 0)
        return name, None
    dtype, typed = _FLOATS[data_type]
    if _RAW not in pieces and typed is None and 5 in pieces:
        raise WeightsError(f"tensor {quote(name)} keeps 16-bit numbers as integers; export the model again with raw data")
    array = wire.array(name, shape, np.dtype(dtype), pieces.get(_RAW) or pieces.get(typed or _RAW, []), budget)
    return name, (array.astype("<u4") << 16).view("<f4") if data_type == _BFLOAT16 else array
