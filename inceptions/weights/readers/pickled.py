"""What a pickle of torch claims: enters its bytes, leaves the checkpoint with stand-ins for tensors. Nothing is imported or called.

A first look, before `torch.load(weights_only=True)` has its own: that one lets some callables through that take as much memory as they are
told to, and allocates the storages of older files before it has seen whether the file has them.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

from inceptions.errors import WeightsError
from inceptions.weights.readers.foreign import Budget, damaged, quote

MAX_PICKLE_BYTES = 2 * 2**20
"""Most bytes of a pickle without its tensors' numbers; those of these networks have 0.2 MB, with an optimiser's state 0.6 MB."""
PICKLE_ERRORS = (pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError, OverflowError, struct.error)
"""What an unpickler raises on bytes that are no pickle, or a strange one."""
_ITEM_BYTES = {
    **{"Bool": 1, "Byte": 1, "Char": 1, "Short": 2, "Half": 2, "BFloat16": 2},
    **{"Int": 4, "Float": 4, "Long": 8, "Double": 8},
}
_PLAIN = {("collections", "OrderedDict"), ("collections", "Counter"), ("torch", "Size"), ("torch", "device"), ("_codecs", "encode")}
_STORAGE_HOMES = ("torch", "torch.cuda")
_DTYPES = ("float", "bfloat", "int", "uint", "bool")
_REBUILD = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")
# Sets, whose members are hashed; registered extensions; and buffers, made as large as they claim to be before they are read.
_REFUSED_CODES = (
    *(pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)
_Unpickler: Any = pickle._Unpickler  # pyright: ignore[reportAttributeAccessIssue] -- C's would make room for any index into its memo


class Storage(NamedTuple):
    """A run of numbers that a pickle says lies beside it."""

    key: str
    item_bytes: int
    length: int


class Tensor(NamedTuple):
    """A tensor that a pickle says is a view of a storage."""

    storage: Storage
    shape: tuple[int, ...]


class _Mapping(dict):
    """Stands for an OrderedDict, which may have attributes."""


class _Stand:
    """Stands for a name that a pickle refers to; made anew each time, so that a pickle which writes to one changes nothing."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __repr__(self) -> str:
        return f"{self.module}.{self.name}"

    def __call__(self, *args: Any) -> Any:
        match self.name, args:
            case "OrderedDict", ():
                return _Mapping()
            case "OrderedDict", (list(pairs),):
                made = _Mapping()
                _put(made, [key for key, _ in pairs], [value for _, value in pairs])
                return made
            case "Counter", (dict(),):
                return None
            case "_rebuild_parameter", (Tensor() as tensor, *_):
                return tensor
            case (("_rebuild_tensor" | "_rebuild_tensor_v2"), (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_)):
                return _view(storage, offset, shape, strides)
            case name, _ if name in (*_REBUILD, "OrderedDict", "Counter"):
                raise damaged("a tensor or mapping in its pickle is not made as torch makes them")
        return None


class Limited:
    """The beginning of a file, for an unpickler."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self.file, self.left = file, most

    def read(self, count: int) -> bytes:
        """Return the next bytes."""
        return self._counted(self.file.read(min(count, self.left + 1)))

    def readline(self) -> bytes:
        """Return the next bytes up to a line's end."""
        return self._counted(self.file.readline(self.left + 1))

    def _counted(self, found: bytes) -> bytes:
        self.left -= len(found)
        if self.left < 0:
            raise WeightsError(
                f"its pickle has more than {MAX_PICKLE_BYTES:,} bytes beside tensors; write a file with torch.save(model.state_dict(), ...)"
            )
        return found


class Claims(_Unpickler):
    """An unpickler that makes nothing but stand-ins, and remembers the storages."""

    dispatch = {code: load for code, load in _Unpickler.dispatch.items() if bytes([code]) not in _REFUSED_CODES}  # noqa: RUF012

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        super().__init__(Limited(file, MAX_PICKLE_BYTES), encoding="utf-8", errors="replace")
        self.budget = budget
        self.storages: dict[str, Storage] = {}
        self.proto = 0

    def look(self) -> Any:
        """Return what the pickle holds; WeightsError if it is damaged, or holds more than tensors and plain values."""
        try:
            found = self.load()
        except WeightsError:
            raise
        except PICKLE_ERRORS as error:
            reason = quote(str(error) or type(error).__name__)
            raise WeightsError(f"its pickle is damaged or cut short ({reason}); download it again") from None
        if self.proto != 2:
            raise WeightsError(f"its pickle has protocol {self.proto}, where torch.save writes 2; save it again without pickle_protocol")
        return found

    def find_class(self, module: str, name: str) -> _Stand:
        """Return a stand-in for a name that a state dict may refer to; WeightsError for any other."""
        is_dtype = module == "torch" and name.rstrip("0123456789") in _DTYPES
        is_storage = module in _STORAGE_HOMES and _is_storage(name)
        if not (is_dtype or is_storage or (module, name) in _PLAIN or (module == "torch._utils" and name in _REBUILD)):
            raise WeightsError(
                f"it holds more than tensors ({quote(f'{module}.{name}')}), and loading that would run code; "
                "ask for, or make where you trust it, a file written with torch.save(model.state_dict(), ...)"
            )
        return _Stand(module, name)

    def persistent_load(self, pid: Any) -> Storage:
        """Return the storage that `pid` names."""
        match pid:
            case ("storage", _Stand(name=str(kind)), str(key), _, int(count), *_) if _is_storage(kind):
                storage = Storage(key, _ITEM_BYTES[kind.removesuffix("Storage")], count)
            case _:
                raise damaged(f"its pickle refers to {quote(pid)}, which is no storage")
        if key not in self.storages:
            self.budget.claim(f"storage {key}", (count,), storage.item_bytes)
            self.storages[key] = storage
        if self.storages[key] != storage:
            raise damaged(f"its pickle says that the storage {quote(key)} has two sizes")
        return storage

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _put(self.stack[-1], [key], [value])

    def _set_items(self) -> None:
        items = self.pop_mark()
        _put(self.stack[-1], items[::2], items[1::2])

    def _make_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        _put(self.stack[-1], items[::2], items[1::2])

    dispatch |= {pickle.SETITEM[0]: _set_item, pickle.SETITEMS[0]: _set_items, pickle.DICT[0]: _make_dict}


def _put(mapping: Any, keys: Iterable[Any], values: Iterable[Any]) -> None:
    """Put values into a mapping whose keys are plain: Python's hash of a tuple in a tuple in a tuple, and so on, runs out of stack."""
    keys = list(keys)
    if not isinstance(mapping, dict) or not all(isinstance(key, str | int | float | bytes | None) for key in keys):
        raise WeightsError(
            "a mapping in its pickle has keys that are no names; it is no state dict: write a file with torch.save(model.state_dict(), ...)"
        )
    mapping.update(zip(keys, values, strict=True))


def _is_storage(name: str) -> bool:
    return name.endswith("Storage") and name.removesuffix("Storage") in _ITEM_BYTES


def _view(storage: Storage, offset: int, shape: tuple[Any, ...], strides: tuple[Any, ...]) -> Tensor:
    numbers = (offset, *shape, *strides)
    whole = len(shape) == len(strides) and all(type(number) is int and number >= 0 for number in numbers)
    last = offset + sum((extent - 1) * stride for extent, stride in zip(shape, strides, strict=False)) if whole else 0
    if not whole or (0 not in shape and last >= storage.length):
        claim = f"a tensor of shape {quote(shape)} at {quote(offset)} of the {storage.length:,} numbers of storage {quote(storage.key)}"
        raise damaged(f"its pickle claims {claim}")
    return Tensor(storage, shape)
