"""Keras' legacy `.h5`, of weights or of a whole model: enters an open file, leaves its tensors as `layer/weight`.

The attribute `layer_names` lists the groups, and `weight_names` of each group its datasets. The group's name is the layer's; the name
before a dataset's can differ, where a process made the model twice.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from inceptions.errors import WeightsError
from inceptions.weights.readers.foreign import AGAIN, ForeignTensors, quote
from inceptions.weights.readers.keras_file import read_dataset, texts

_KERAS_1 = {
    **{"W": "kernel", "b": "bias", "gamma": "gamma", "beta": "beta", "running_mean": "moving_mean"},
    **{"running_std": "moving_variance", "depthwise_kernel": "depthwise_kernel", "pointwise_kernel": "pointwise_kernel"},
}
"""Keras 1's weights; its `running_std` is the variance."""
_OLD_LAYERS = {"convolution2d": "conv2d", "batchnormalization": "batch_normalization", "batch_normalization_v1": "batch_normalization"}


def is_legacy(file: Any) -> bool:
    """Return whether an open HDF5 file is one of Keras' older ones."""
    return "model_weights" in file or texts(file, "layer_names") is not None


def read_legacy(file: Any) -> ForeignTensors:
    """Return the tensors of an open file. Raises WeightsError."""
    root = file["model_weights"] if "model_weights" in file else file
    layers = texts(root, "layer_names")
    if layers is None:
        raise WeightsError("its group 'model_weights' has no layer_names; save it again with Keras")
    tensors: dict[str, np.ndarray] = {}
    notes: dict[str, None] = {}
    for layer in layers:
        group = root[layer]
        weights = texts(group, "weight_names") or []
        alone = len({weight.rpartition("/")[0] for weight in weights}) <= 1
        for weight in weights:
            name = f"{layer}/{weight.rpartition('/')[2] if alone else weight}"
            modern = _modernise(layer, weight) if alone else None
            if modern not in (None, name):
                notes["layers and weights that older Keras named otherwise have today's names"] = None
            name = modern or name
            array = read_dataset(group[weight])
            if name in tensors:
                raise WeightsError(f"two weights in it are named {quote(name)}; {AGAIN}")
            if array is None:
                notes[f"left out, for its numbers aren't floating-point: {quote(name)}"] = None
            else:
                tensors[name] = array
    if "optimizer_weights" in file:
        notes["the optimiser's state was left out"] = None
    return ForeignTensors(tensors, "keras_h5", tuple(notes))


def _modernise(layer: str, weight: str) -> str | None:
    """Return today's name of a layer and weight that Keras 1, or TensorFlow 1.13, named otherwise; or None."""
    kind, number = re.fullmatch(r"(.*?)((?:_\d+)?)", layer, re.DOTALL).groups()  # pyright: ignore[reportOptionalMemberAccess] -- it always fits
    renamed = _OLD_LAYERS.get(kind, kind) + number
    leaf = weight.rpartition("/")[2].removesuffix(":0")
    old = _KERAS_1.get(leaf.removeprefix(f"{layer}_")) if leaf.startswith(f"{layer}_") else None
    return f"{renamed}/{old or leaf}" if old or renamed != layer else None
