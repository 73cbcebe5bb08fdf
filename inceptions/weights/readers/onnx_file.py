"""ONNX: enters a ModelProto, leaves its initialisers by name; of the graph nothing else is read, so the `onnx` package isn't needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from inceptions.errors import WeightsError
from inceptions.weights.readers.foreign import AGAIN, ForeignTensors, quote, some
from inceptions.weights.readers.protobuf import parse, to_array

_FLOATS = {1: "<f4", 11: "<f8", 10: "<f2", 16: "<u2"}
"""Data types of floating-point numbers, as they lie in raw data."""
_DOUBLE, _BFLOAT16 = 11, 16


def read_onnx(path: Path) -> ForeignTensors:
    """Return the floating-point initialisers of an `.onnx`. Raises WeightsError."""
    graph = parse("onnx.Model", path.read_bytes()).graph
    if graph.sparse:
        raise WeightsError("it has sparse initialisers, which aren't read; export the model without them")
    others = [tensor.name for tensor in graph.initializer if tensor.data_type not in _FLOATS]
    tensors: dict[str, np.ndarray] = {}
    for tensor in graph.initializer:
        if tensor.data_type in _FLOATS:
            if tensor.name in tensors:
                raise WeightsError(f"two initialisers in it are named {quote(tensor.name)}; {AGAIN}")
            tensors[tensor.name] = _read(tensor)
    if not tensors:
        raise WeightsError("its graph has no floating-point initialisers; export the model with its weights as initialisers")
    return ForeignTensors(tensors, "onnx", (f"initialisers that are no weights were left out: {some(others)}",) if others else ())


def _read(tensor: Any) -> np.ndarray:
    if tensor.external or tensor.location:
        raise WeightsError("it keeps its weights in another file; export the model as one file (save_as_external_data=False)")
    if tensor.integers:
        raise WeightsError(f"tensor {quote(tensor.name)} keeps 16-bit numbers as integers; export the model again with raw data")
    pieces = [tensor.raw] if tensor.raw else tensor.doubles if tensor.data_type == _DOUBLE else tensor.floats
    array = to_array(tensor.name, tensor.dims, _FLOATS[tensor.data_type], pieces)
    return (array.astype("<u4") << 16).view("<f4") if tensor.data_type == _BFLOAT16 else array
