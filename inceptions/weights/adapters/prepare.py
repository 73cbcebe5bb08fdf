"""What has to be done to a checkpoint before its tensors can be looked up one by one.

Enters named arrays as a framework writes them, leaves named arrays, and what was done to which.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from inceptions.errors import WeightsError

Tensors = Mapping[str, Any]


def prepare(tensors: Tensors, framework: str) -> tuple[Tensors, dict[str, str]]:
    """Return the tensors under their plain names, and a word on each that was changed."""
    if not tensors:
        raise WeightsError("there are no tensors in the checkpoint")
    for name, value in tensors.items():
        if not isinstance(name, str) or not hasattr(value, "shape"):
            raise WeightsError(f"{name!r} is a {type(value).__name__}; a checkpoint maps names to arrays")
    return _PREPARATIONS.get(framework, _strip_wrapper)(tensors)


def _strip_wrapper(tensors: Tensors) -> tuple[Tensors, dict[str, str]]:
    """Take away `module.`, which torch's DataParallel puts before every name."""
    if all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): value for name, value in tensors.items()}, {}
    return tensors, {}


def _plain(tensors: Tensors) -> tuple[Tensors, dict[str, str]]:
    return {name.removesuffix(":0"): value for name, value in tensors.items()}, {}


def _number_keras(tensors: Tensors) -> tuple[Tensors, dict[str, str]]:
    """Number unnamed layers from 0: Keras goes on counting from the networks that a process made before."""
    split = {name: _keras_name(name) for name in tensors}
    ranks: dict[str, str] = {}
    for kind in ("conv2d", "batch_normalization"):
        layers = {layer for layer, _ in split.values() if re.fullmatch(rf"{kind}(_\d+)?", layer)}
        for rank, layer in enumerate(sorted(layers, key=lambda layer: int(layer.removeprefix(kind).lstrip("_") or 0))):
            ranks[layer] = f"{kind}_{rank}" if rank else kind
    plain: dict[str, Any] = {}
    for name, (layer, last) in split.items():
        short = f"{ranks.get(layer, layer)}/{last}"
        if short in plain:
            raise WeightsError(f"{name!r} and another tensor are both {short!r}; the checkpoint holds more than one network")
        plain[short] = tensors[name]
    return plain, {}


def _keras_name(name: str) -> tuple[str, str]:
    """Return layer and weight of `conv2d_1/conv2d_1/kernel:0`, or of `conv2d_1/kernel`."""
    parts = name.removesuffix(":0").split("/")
    return parts[-2] if len(parts) > 1 else "", parts[-1]


def _fold_scales(tensors: Tensors) -> tuple[Tensors, dict[str, str]]:
    """Fold Caffe's second, separate scale layer into the batch normalisation before it: s(gx + b) + t is (sg)x + (sb + t)."""
    folded, done = dict(tensors), {}
    for name in tensors:
        if not name.endswith("/bn/sc_w_0"):
            continue
        layer = name.removesuffix("/bn/sc_w_0")
        names = [f"{layer}/bn_scale_0", f"{layer}/bn_bias_0", name, f"{layer}/bn/sc_b_0"]
        missing = [part for part in names if part not in tensors]
        if missing:
            raise WeightsError(f"{name!r} scales a batch normalisation, but {missing[0]!r} is missing")
        if len({tuple(tensors[part].shape) for part in names}) > 1:
            raise WeightsError(f"{name!r} scales a batch normalisation of another shape; the checkpoint is damaged")
        gamma, beta, scale, shift = (tensors[part] for part in names)
        folded[names[0]], folded[names[1]] = scale * gamma, scale * beta + shift
        del folded[names[2]], folded[names[3]]
        done |= {part: "two affine maps folded into one" for part in names[:2]}
    return folded, done


_PREPARATIONS: dict[str, Callable[[Tensors], tuple[Tensors, dict[str, str]]]] = {
    "keras": _number_keras,
    "onnx": _fold_scales,
    "caffe": _fold_scales,
    "tf_slim": _plain,
    "tf_deeplab": _plain,
    "tf_facenet": _plain,
}
