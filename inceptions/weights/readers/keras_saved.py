"""Keras' `.weights.h5`, also within a `.keras`: enters an open file, leaves its tensors as `layer/weight`.

There, variables are numbered, and layers are named by class and a count in the order of `model.layers`, which is by depth. The layers' own
names, which tell which convolution is which, come from the attribute `name` (Keras 3.6 and newer), from the `config.json` of a `.keras`, or
from what is known of the networks that Keras has. The format is that of `keras/src/saving/saving_lib.py`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from inceptions.errors import WeightsError
from inceptions.weights.keras_order import name_layers
from inceptions.weights.readers.foreign import AGAIN, ForeignTensors, quote, some
from inceptions.weights.readers.keras_file import read_dataset, texts

_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")  # the second in Keras 2.12 and 2.13
_VARS = "vars"
_MAX_DEPTH = 8
_VARIABLES = {
    "conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "separable_conv2d": ("depthwise_kernel", "pointwise_kernel", "bias"),
}
_NORM, _MOVING = "batch_normalization", ("moving_mean", "moving_variance")


@dataclass(frozen=True, slots=True)
class _Layer:
    """A group of variables: where it is, by class and rank; its class in snake case; its own name, if it is told."""

    place: tuple[str, ...]
    kind: str
    name: str | None
    variables: Any


def is_saved(file: Any) -> bool:
    """Return whether an open HDF5 file is one of Keras' `.weights.h5`."""
    return any(container in file for container in _CONTAINERS)


def read_saved(file: Any, *, config: Mapping[tuple[str, ...], dict], file_format: str) -> ForeignTensors:
    """Return the tensors of an open file; config: the layers' own settings, by place. Raises WeightsError."""
    left_out: list[str] = []
    layers = list(_walk(file, (), left_out))
    tensors: dict[str, np.ndarray] = {}
    for layer, layer_name in zip(layers, _names(layers, config), strict=True):
        numbers = sorted(layer.variables, key=_by_number)
        for number, ending in zip(numbers, _endings(layer, len(numbers), config.get(layer.place, {})), strict=True):
            name = f"{layer_name}/{ending}"
            array = read_dataset(layer.variables[number])
            if name in tensors:
                raise WeightsError(f"two variables in it are named {quote(name)}; rename one of the layers and save it again")
            if array is None:
                left_out.append(name)
            else:
                tensors[name] = array
    notes = (f"left out, for they are no weights of layers: {some(left_out)}",) if left_out else ()
    return ForeignTensors(tensors, file_format, notes)


def _walk(group: Any, place: tuple[str, ...], left_out: list[str]) -> Iterator[_Layer]:
    """Yield the layers below `group`, by class in their order, and by depth through models within models; note what else is there."""
    if len(place) > _MAX_DEPTH:
        raise WeightsError(f"its groups are within each other at {quote('/'.join(place))}; {AGAIN}")
    names = list(group)
    left_out += ["/".join((*place, name)) for name in names if name not in (*_CONTAINERS, _VARS)]
    for container in _CONTAINERS:
        if container not in names:
            continue
        ranks: Counter[str] = Counter()
        inside = group[container]
        for name in sorted(inside, key=_by_number):
            kind = re.sub(r"_\d+$", "", name)
            below = (*place, _ranked(kind, ranks))
            layer = inside[name]
            if layer.get(_VARS):
                yield _Layer(below, kind, (texts(layer[_VARS], "name") or [None])[0], layer[_VARS])
            yield from _walk(layer, below, left_out)


def _by_number(name: str) -> tuple[str, int]:
    """Return what sorts `conv2d_2` before `conv2d_10`, and `conv2d` before both."""
    kind, _, number = name.rpartition("_")
    return (kind, int(number)) if number.isdecimal() and len(number) < 9 else (name, 0)


def _ranked(kind: str, ranks: Counter[str]) -> str:
    ranks[kind] += 1
    return f"{kind}_{ranks[kind] - 1}" if ranks[kind] > 1 else kind


def _names(layers: list[_Layer], config: Mapping[tuple[str, ...], dict]) -> list[str]:
    """Return the layers' own names."""
    told = [layer.name for layer in layers if layer.name is not None]
    if len(told) == len(layers):
        return told
    if config:
        for kind in {layer.kind for layer in layers} & {*_VARIABLES, _NORM}:
            listed = {place for place in config if re.sub(r"_\d+$", "", place[-1]) == kind}
            if listed != {layer.place for layer in layers if layer.kind == kind}:
                raise WeightsError(f"its config.json doesn't list the {quote(kind)} layers that its weights have; {AGAIN}")
        return [str(config.get(layer.place, {}).get("name", layer.place[-1])) for layer in layers]
    orders = name_layers(Counter(layer.kind for layer in layers))
    if orders is None:
        raise WeightsError("it doesn't tell its layers' names, and is none of Keras' own networks; save the whole model as .keras")
    places = {kind: iter(names) for kind, names in orders.items()}
    return [next(places[layer.kind]) for layer in layers]


def _endings(layer: _Layer, count: int, settings: dict) -> list[str]:
    """Return the names of the variables of a layer, which Keras writes trainable ones first."""
    known = _VARIABLES.get(layer.kind, ())
    if layer.kind == _NORM:
        affine = ("gamma", "beta")[4 - count :] if 2 <= count <= 4 else ()
        if count == 3 and settings.get("scale", False) and not settings.get("center", True):
            affine = ("gamma",)
        known = (*affine, *_MOVING)
    return [*known[:count], *(str(number) for number in range(len(known), count))]


def read_config(content: bytes) -> dict[tuple[str, ...], dict]:
    """Return the settings of each layer in a `config.json`, by place. Raises WeightsError."""
    try:
        found = json.loads(content)
        return dict(_settings(found["config"], ()))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise WeightsError(f"its config.json isn't as Keras writes it; {AGAIN}") from None


def _settings(config: dict, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict]]:
    ranks: Counter[str] = Counter()
    for layer in config["layers"]:
        below = (*place, _ranked(_snake_case(layer["class_name"]), ranks))
        yield below, layer["config"]
        if "layers" in layer["config"]:
            yield from _settings(layer["config"], below)


def _snake_case(name: str) -> str:
    """Return a class's name as Keras writes it in paths (`keras/src/utils/naming.py`)."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
