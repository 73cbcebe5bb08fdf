"""Reads a TensorFlow checkpoint, in a process of its own: enters the arguments of `read`, leaves an answer for `apart`.

TensorFlow and torch never share a process, so neither this module nor what it imports has torch.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from inceptions.errors import WeightsError
from inceptions.weights.readers.apart import answer
from inceptions.weights.readers.foreign import Budget, ForeignTensors, quote, some

CPU_LIMIT_S = 200


def read(arguments: list[str]) -> ForeignTensors:
    """Return the tensors of the checkpoint whose prefix is named first; then come the bytes of its files."""
    prefix, stored = arguments
    try:
        tensorflow: Any = importlib.import_module("tensorflow")
    except ImportError:
        raise WeightsError("it is a TensorFlow checkpoint, and TensorFlow isn't installed; pip install 'inceptions[tensorflow]'") from None
    try:
        return _read(tensorflow.train.load_checkpoint(prefix), Budget(int(stored)))
    except WeightsError:
        raise
    except (ValueError, LookupError, RuntimeError, tensorflow.errors.OpError) as error:
        raise WeightsError(f"TensorFlow can't read it ({quote(str(error))}); download it again") from None


def _read(reader: Any, budget: Budget) -> ForeignTensors:
    shapes, kinds = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    tensors, left_out = {}, []
    for name in sorted(shapes):
        kind = kinds[name]
        if not (kind.is_floating or kind.is_integer):
            left_out.append(name)
            continue
        budget.claim(name, [int(extent) for extent in shapes[name]], kind.size)
        tensors[name] = np.asarray(reader.get_tensor(name))
    notes = (f"left out, for they are no numbers: {some(left_out)}",) if left_out else ()
    return ForeignTensors(tensors, "tf_checkpoint", notes)


if __name__ == "__main__":
    answer(read, cpu_limit_s=CPU_LIMIT_S)
