"""Caffe's `.caffemodel`: enters a NetParameter on the wire, leaves its blobs by the names that Caffe2 and the ONNX zoo gave them.

`<layer>_w_0` and `<layer>_b_0` are a layer's weights and bias. Caffe's batch normalisation is layers of its own: those that work on what
a convolution puts out, in place or not, take the convolution's name: a BatchNorm gives `<convolution>/bn_mean_0` and `/bn_var_0`, divided
by the factor that Caffe keeps beside them; the Scale after it `/bn_scale_0` and `/bn_bias_0`. A `BN` layer, of forks of Caffe, has all
four; a Scale after that one is a second affine map, `/bn/sc_w_0` and `/bn/sc_b_0`. Field numbers are those of caffe.proto in BVLC/caffe.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inceptions.errors import WeightsError
from inceptions.weights.readers.foreign import MAX_TENSORS, Budget, ForeignTensors, damaged, quote, unfit
from inceptions.weights.readers.mapped import mapped
from inceptions.weights.readers.wire import VARINT, Field, Wire

NET_LAYERS_V1, NET_LAYERS = 2, 100
_FLOAT, _DOUBLE = np.dtype("<f4"), np.dtype("<f8")
_V1_KINDS = {4: "Convolution", 14: "InnerProduct"}
_NORMS = ("BatchNorm", "Scale", "BN")


@dataclass
class _Layer:
    name: str = ""
    kind: str = ""
    bottoms: list[str] = field(default_factory=list)
    tops: list[str] = field(default_factory=list)
    blobs: list[Field] = field(default_factory=list)


def read_caffemodel(path: Path) -> ForeignTensors:
    """Return the blobs of a `.caffemodel`, of either form of layers. Raises WeightsError."""
    with mapped(path) as buffer:
        wire, budget = Wire(buffer), Budget(len(buffer))
        layers = _layers(wire)
        tensors: dict[str, np.ndarray] = {}
        names = _Names()
        for layer in layers:
            blobs = [_blob(wire, blob, f"{layer.name} blob {n}", budget) for n, blob in enumerate(layer.blobs)]
            for name, array in names.name(layer, blobs).items():
                if name in tensors:
                    raise damaged(f"two layers give a tensor {quote(name)}")
                tensors[name] = array
        if not tensors:
            raise WeightsError("no layer in it has weights, as in a .prototxt or .solverstate; give the .caffemodel")
    return ForeignTensors(tensors, "caffemodel")


def _layers(wire: Wire) -> list[_Layer]:
    layers = []
    for entry in wire.fields():
        if entry.number == NET_LAYERS:
            layers.append(_layer(wire, entry, name=1, kind=2, bottom=3, top=4, blobs=7))
        elif entry.number == NET_LAYERS_V1:
            layers.append(_layer(wire, entry, name=4, kind=5, bottom=2, top=3, blobs=6))
        if len(layers) > MAX_TENSORS:
            raise unfit(f"it claims more than {MAX_TENSORS:,} layers")
    return layers


def _layer(wire: Wire, message: Field, *, name: int, kind: int, bottom: int, top: int, blobs: int) -> _Layer:
    layer = _Layer()
    for entry in wire.fields(message):
        if entry.number == name:
            layer.name = wire.text(entry)
        elif entry.number == kind:
            layer.kind = _V1_KINDS.get(entry.value, "") if entry.kind == VARINT else wire.text(entry)
        elif entry.number == bottom:
            layer.bottoms.append(wire.text(entry))
        elif entry.number == top:
            layer.tops.append(wire.text(entry))
        elif entry.number == blobs:
            layer.blobs.append(entry)
    return layer


def _blob(wire: Wire, message: Field, name: str, budget: Budget) -> np.ndarray:
    """Return a BlobProto; its shape is a BlobShape, or four numbers of older files."""
    shape: list[int] | None = None
    legacy = [1, 1, 1, 1]
    singles, doubles = [], []
    for entry in wire.fields(message):
        if entry.number == 7:
            shape = [n for part in wire.fields(entry) if part.number == 1 for n in wire.integers(part)]
        elif entry.number in (1, 2, 3, 4) and entry.kind == VARINT:
            legacy[entry.number - 1] = wire.integers(entry)[0]
        elif entry.number == 5:
            singles.append(entry)
        elif entry.number == 8:
            doubles.append(entry)
    if doubles:
        return wire.array(name, shape or legacy, _DOUBLE, doubles, budget)
    return wire.array(name, legacy if shape is None else shape, _FLOAT, singles, budget)


class _Names:
    """Which convolution's output each of the net's tops is, as its layers go by, and the names that their blobs take."""

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}
        self.affine: set[str] = set()

    def name(self, layer: _Layer, blobs: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Return the blobs of the net's next layer by name."""
        owner = self.owners.get(layer.bottoms[0]) if layer.kind in _NORMS and layer.bottoms and blobs else None
        for top in layer.tops:
            self.owners.pop(top, None)
        if layer.kind in ("Convolution", "InnerProduct") and layer.tops:
            self.owners[layer.tops[0]] = layer.name
        if owner is None:
            return _plain(layer, blobs)
        if layer.tops:
            self.owners[layer.tops[0]] = owner
        return self._norm(owner, layer, [blob.reshape(-1) for blob in blobs])

    def _norm(self, owner: str, layer: _Layer, blobs: list[np.ndarray]) -> dict[str, np.ndarray]:
        roles = ("scale", "bias", "mean", "var") if layer.kind == "BN" else ("scale", "bias")
        if layer.kind == "BatchNorm":
            if len(blobs) != 3 or blobs[2].size != 1:
                raise damaged(f"batch normalisation {quote(layer.name)} should have a mean, a variance and a factor")
            with np.errstate(all="ignore"):  # what isn't finite is told by whoever imports it
                factor = 1 / blobs[2][0] if blobs[2][0] else blobs[2][0]  # zero stays zero, as in Caffe
                return {f"{owner}/bn_mean_0": blobs[0] * factor, f"{owner}/bn_var_0": blobs[1] * factor}
        if len(blobs) > len(roles):
            raise damaged(f"layer {quote(layer.name)} should have {', '.join(roles)}, but has {len(blobs)} blobs")
        names = [f"{owner}/bn_{role}_0" for role in roles]
        if layer.kind == "Scale" and owner in self.affine:
            names = [f"{owner}/bn/sc_w_0", f"{owner}/bn/sc_b_0"]
        self.affine.add(owner)
        return dict(zip(names, blobs, strict=False))


def _plain(layer: _Layer, blobs: list[np.ndarray]) -> dict[str, np.ndarray]:
    endings = ["_w_0", "_b_0", *(f"_blob_{n}" for n in range(2, len(blobs)))]
    return {
        layer.name + ending: blob.reshape(-1) if ending == "_b_0" else blob  # older files keep a bias as (1, 1, 1, N)
        for ending, blob in zip(endings, blobs, strict=False)
    }
