"""Networks as JSON, so that a model folder can rebuild any variation: enters a `Network`, leaves dictionaries and lists, and back.

Every value is written with its type's name and the fields that differ from their defaults. What comes back is checked field by field.
"""

from __future__ import annotations

import types
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from inceptions.networks import spec
from inceptions.networks.spec import Network, NetworkError, Parallel

_TYPES: dict[str, type] = {
    cls.__name__: cls
    for cls in (*get_args(spec.Layer), spec.Parallel, spec.Residual, spec.Stage, spec.AuxHead, spec.Numerics, spec.Network)
}


def encode(value: Any) -> Any:
    """Return `value`, a network or any part of one, as JSON's own types."""
    if isinstance(value, tuple):
        return [encode(part) for part in value]
    if isinstance(value, Parallel):
        return {"type": "Parallel", "branches": {name: encode(branch) for name, branch in value.branches}}
    if is_dataclass(value):
        kept = {f.name: getattr(value, f.name) for f in fields(value) if getattr(value, f.name) != _default(f)}
        return {"type": type(value).__name__, **{name: encode(part) for name, part in kept.items()}}
    return value


def decode(data: Any, where: str = "network") -> Any:
    """Return the value that `encode` wrote.

    Raises NetworkError that begins with the path of the key that is wrong.
    """
    if isinstance(data, list):
        return tuple(decode(part, f"{where}[{index}]") for index, part in enumerate(data))
    if not isinstance(data, dict):
        return data
    kind = _TYPES.get(data.get("type", ""))
    if kind is None:
        raise NetworkError(f"{where}.type is {data.get('type')!r}; allowed are {', '.join(_TYPES)}")
    given = {name: part for name, part in data.items() if name != "type"}
    if kind is Parallel:
        return _decode_parallel(given, where)
    hints = _hints(kind)
    required = {f.name for f in fields(kind) if _default(f) is MISSING}
    for name in (*given, *required):
        if name not in hints or name not in given:
            problem = "is missing" if name in required else f"is not a field of {kind.__name__}; allowed are {', '.join(hints)}"
            raise NetworkError(f"{where}.{name} {problem}")
    values = {name: decode(part, f"{where}.{name}") for name, part in given.items()}
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise NetworkError(f"{where}.{name} is {value!r}; a {kind.__name__} wants {_written(hints[name])}")
    return kind(**values)


def decode_network(data: Any) -> Network:
    """Return the `Network` that `encode` wrote; NetworkError names the key that is wrong."""
    network = decode(data)
    if not isinstance(network, Network):
        raise NetworkError(f"network is a {type(network).__name__}; it must be an object of type 'Network'")
    return network


def _decode_parallel(given: dict[str, Any], where: str) -> Parallel:
    branches = given.get("branches")
    if set(given) != {"branches"} or not isinstance(branches, dict):
        raise NetworkError(f"{where}: a Parallel has one field, branches, an object of nodes; got {', '.join(given) or 'none'}")
    return Parallel(**{name: decode(branch, f"{where}.branches.{name}") for name, branch in branches.items()})


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(_fits(part, arguments[0]) for part in value)
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    if hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(hint, type):
        return isinstance(value, hint)
    return _is_node(value)  # the alias Node, which refers to itself


def _is_node(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_node(part) for part in value)
    return isinstance(value, (*get_args(spec.Layer), spec.Parallel, spec.Residual))


def _written(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
