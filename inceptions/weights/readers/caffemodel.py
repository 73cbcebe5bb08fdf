"""Caffe's `.caffemodel`: enters a NetParameter, leaves its blobs by the names that Caffe2 and the ONNX zoo gave them.

`<layer>_w_0` and `<layer>_b_0` are a layer's weights and bias. Caffe's batch normalisation is layers of its own: those that work on what
a convolution puts out, in place or not, take the convolution's name: a BatchNorm gives `<convolution>/bn_mean_0` and `/bn_var_0`, divided
by the factor that Caffe keeps beside them; the Scale after it `/bn_scale_0` and `/bn_bias_0`. A `BN` layer, of forks of Caffe, has all
four; a Scale after that one is a second affine map, `/bn/sc_w_0` and `/bn/sc_b_0`. No maintained package reads these files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from inceptions.errors import WeightsError
from inceptions.weights.readers.foreign import AGAIN, ForeignTensors, quote
from inceptions.weights.readers.protobuf import parse, to_array

_V1_KINDS = {4: "Convolution", 14: "InnerProduct"}
_NORMS = ("BatchNorm", "Scale", "BN")


def read_caffemodel(path: Path) -> ForeignTensors:
    """Return the blobs of a `.caffemodel`, of either form of layers. Raises WeightsError."""
    net = parse("caffe.Net", path.read_bytes())
    tensors: dict[str, np.ndarray] = {}
    names = _Names()
    for layer in (*net.layers, *net.layer):
        blobs = [_read_blob(blob, f"{layer.name} blob {number}") for number, blob in enumerate(layer.blobs)]
        for name, array in names.name(layer, blobs).items():
            if name in tensors:
                raise WeightsError(f"two layers in it give a tensor {quote(name)}; {AGAIN}")
            tensors[name] = array
    if not tensors:
        raise WeightsError("no layer in it has weights, as in a .prototxt or .solverstate; give the .caffemodel")
    return ForeignTensors(tensors, "caffemodel")


def _read_blob(blob: Any, name: str) -> np.ndarray:
    """Return a BlobProto; its shape is a BlobShape, or four numbers of older files."""
    extents = [blob.num or 1, blob.channels or 1, blob.height or 1, blob.width or 1]
    shape = list(blob.shape.dim) if blob.HasField("shape") else extents
    return to_array(name, shape, "<f8", blob.doubles) if blob.doubles else to_array(name, shape, "<f4", blob.floats)


class _Names:
    """Which convolution's output each of the net's tops is, as its layers go by, and the names that their blobs take."""

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}
        self.affine: set[str] = set()

    def name(self, layer: Any, blobs: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Return the blobs of the net's next layer by name."""
        kind = layer.kind if hasattr(layer, "kind") else _V1_KINDS.get(layer.number, "")
        owner = self.owners.get(layer.bottom[0]) if kind in _NORMS and layer.bottom and blobs else None
        for top in layer.top:
            self.owners.pop(top, None)
        if kind in ("Convolution", "InnerProduct") and layer.top:
            self.owners[layer.top[0]] = layer.name
        if owner is None:
            return _plain(layer.name, blobs)
        if layer.top:
            self.owners[layer.top[0]] = owner
        return self._norm(owner, kind, layer.name, [blob.reshape(-1) for blob in blobs])

    def _norm(self, owner: str, kind: str, name: str, blobs: list[np.ndarray]) -> dict[str, np.ndarray]:
        roles = ("scale", "bias", "mean", "var") if kind == "BN" else ("scale", "bias")
        if kind == "BatchNorm":
            if len(blobs) != 3 or blobs[2].size != 1:
                raise WeightsError(f"batch normalisation {quote(name)} should have a mean, a variance and a factor; {AGAIN}")
            with np.errstate(all="ignore"):  # what isn't finite is told by whoever imports it
                factor = 1 / blobs[2][0] if blobs[2][0] else blobs[2][0]  # zero stays zero, as in Caffe
                return {f"{owner}/bn_mean_0": blobs[0] * factor, f"{owner}/bn_var_0": blobs[1] * factor}
        if len(blobs) > len(roles):
            raise WeightsError(f"layer {quote(name)} should have {', '.join(roles)}, but has {len(blobs)} blobs; {AGAIN}")
        names = [f"{owner}/bn_{role}_0" for role in roles]
        if kind == "Scale" and owner in self.affine:
            names = [f"{owner}/bn/sc_w_0", f"{owner}/bn/sc_b_0"]
        self.affine.add(owner)
        return dict(zip(names, blobs, strict=False))


def _plain(layer: str, blobs: list[np.ndarray]) -> dict[str, np.ndarray]:
    endings = ["_w_0", "_b_0", *(f"_blob_{n}" for n in range(2, len(blobs)))]
    return {
        layer + ending: blob.reshape(-1) if ending == "_b_0" else blob  # older files keep a bias as (1, 1, 1, N)
        for ending, blob in zip(endings, blobs, strict=False)
    }
