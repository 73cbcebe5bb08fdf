"""What a pickle of torch claims: enters its bytes, leaves the checkpoint with stand-ins for tensors. Nothing is imported or called.

A first look before `torch.load(weights_only=True)` has its own: that one lets some callables through that take memory as they are told,
and allocates the storages of older files before it has seen whether the file has them.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

from inceptions.errors import WeightsError
from inceptions.weights.readers.foreign import Budget, quote

MAX_PICKLE_BYTES = 2 * 2**20
"""Most bytes of a pickle without its tensors' numbers; those of these networks have 0.2 MB, with an optimiser's state 0.6 MB."""
DAMAGES = (pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError, OverflowError, struct.error)
"""What Python's unpickler raises on bytes that are no pickle, or a strange one."""
_ITEM_BYTES = {
    **{"Bool": 1, "Byte": 1, "Char": 1, "Short": 2, "Half": 2, "BFloat16": 2},
    **{"Int": 4, "Float": 4, "Long": 8, "Double": 8},
}
_PLAIN = {"collections OrderedDict", "torch Size", "torch device", "builtins set", "__builtin__ set", "_codecs encode"}
_REBUILD = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")


class Storage(NamedTuple):
    """A run of numbers that a pickle says lies beside it."""

    key: str
    item_bytes: int
    count: int


class Tensor(NamedTuple):
    """A tensor that a pickle says is a view of a storage."""

    storage: Storage
    shape: tuple[int, ...]


class _Mapping(dict):
    """Stands for an OrderedDict, which may have attributes."""


class _Stand:
    """Stands for a name that a pickle refers to; made anew at each, so that a pickle that writes to one changes nothing."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self, *args: Any) -> Any:
        match self.name, args:
            case "OrderedDict", _:
                return _Mapping(*args)
            case "_rebuild_parameter", (Tensor() as tensor, *_):
                return tensor
            case ("_rebuild_tensor" | "_rebuild_tensor_v2"), (Storage() as storage, int(offset), tuple(shape), tuple(stride), *_):
                return _view(storage, offset, shape, stride)
            case name, _ if name in _REBUILD:
                raise WeightsError("a tensor in its pickle is not made as torch makes them; the file is damaged or forged")
        return None


class Claims(pickle._Unpickler):  # pyright: ignore[reportAttributeAccessIssue] -- Python's own, whose memo takes no room for a large index
    """An unpickler that makes nothing but stand-ins, and remembers the storages."""

    dispatch = {  # noqa: RUF012 -- as its base class has it
        key: value
        for key, value in pickle._Unpickler.dispatch.items()  # pyright: ignore[reportAttributeAccessIssue]
        if key not in (*pickle.EMPTY_SET, *pickle.ADDITEMS, *pickle.FROZENSET, *pickle.EXT1, *pickle.EXT2, *pickle.EXT4)
    }

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        super().__init__(Limited(file, MAX_PICKLE_BYTES), encoding="utf-8", errors="replace")
        self.budget = budget
        self.storages: dict[str, Storage] = {}
        self.protocol = 0

    def read(self) -> Any:
        """Return what the pickle holds; WeightsError if it is damaged, or holds more than tensors and plain values."""
        try:
            return self.load()
        except DAMAGES as error:
            reason = quote(str(error) or type(error).__name__)
            raise WeightsError(f"its pickle is damaged or cut short ({reason}); download it again") from None

    def find_class(self, module: str, name: str) -> _Stand:
        """Return a stand-in for a name that a state dict may refer to; WeightsError for any other."""
        full = f"{module} {name}"
        is_storage = module == "torch" and name.removesuffix("Storage") in _ITEM_BYTES and name.endswith("Storage")
        is_dtype = module == "torch" and name.rstrip("0123456789") in ("float", "int", "uint", "bfloat", "bool")
        is_parameter = full == "torch.nn.parameter Parameter"
        if not (full in _PLAIN or is_storage or is_dtype or is_parameter or (module == "torch._utils" and name in _REBUILD)):
            raise WeightsError(
                f"it holds more than tensors ({quote(f'{module}.{name}')}), and to load that would run its code; "
                "ask for a file made with torch.save(model.state_dict(), ...), or make one where you trust it"
            )
        return _Stand(module, name)

    def persistent_load(self, pid: Any) -> Storage:
        """Return the storage that `pid` names."""
        match pid:
            case ("storage", _Stand(module="torch", name=str(kind)), str(key), _, int(count), *_) if count >= 0:
                storage = Storage(key, _ITEM_BYTES.get(kind.removesuffix("Storage"), 1), count)
            case _:
                raise WeightsError(f"its pickle refers to {quote(pid)}, which is no storage; the file is damaged or forged")
        known = self.storages.setdefault(key, storage)
        if known is storage:
            self.budget.claim(f"storage {key}", (count,), storage.item_bytes)
        elif known != storage:
            raise WeightsError(f"its pickle gives the storage {quote(key)} two sizes; the file is damaged or forged")
        return storage

    def _set_items(self) -> None:
        """Refuse keys that are no plain values: Python's hash of a tuple in a tuple in a tuple… runs out of stack."""
        items = self.pop_mark()
        self._put(items[::2], items[1::2])

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put([key], [value])

    def _put(self, keys: list[Any], values: list[Any]) -> None:
        if not all(isinstance(key, str | int | float | bytes | None) for key in keys) or not isinstance(self.stack[-1], dict):
            raise WeightsError("a mapping in its pickle has keys that are no names; it is no state dict, or forged")
        self.stack[-1].update(zip(keys, values, strict=True))

    def _make_dict(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self._put(items[::2], items[1::2])

    def _note_protocol(self) -> None:
        self.protocol = self.read_protocol()

    def read_protocol(self) -> int:
        """Return the protocol that the pickle begins with."""
        raise NotImplementedError
