"""Small checkpoint files of other frameworks, written without those frameworks."""

import json
import struct
import zipfile

import numpy as np


def field(number, content):
    """Return a protocol-buffer field: a number, or bytes (a text, or a message)."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content % 2**64)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    more = b""
    while value > 127:
        more += bytes([value & 127 | 128])
        value >>= 7
    return more + bytes([value])


def blob(array, *, legacy=False):
    """Return Caffe's BlobProto of an array."""
    if legacy:
        extents = (1,) * (4 - array.ndim) + array.shape
        shape = b"".join(field(number, extent) for number, extent in enumerate(extents, start=1))
    else:
        shape = field(7, field(1, b"".join(map(varint, array.shape))))
    return shape + field(5, array.astype("<f4").tobytes())


def caffe_layer(name, kind, bottom, top, blobs=(), *, legacy=False):
    """Return a layer of a NetParameter; legacy: in the first form, with blobs of four extents."""
    if legacy:
        kinds = {"Convolution": 4, "InnerProduct": 14, "ReLU": 18}
        parts = field(2, bottom) + field(3, top) + field(4, name) + field(5, kinds[kind])
        return field(2, parts + b"".join(field(6, blob(array, legacy=True)) for array in blobs))
    parts = field(1, name) + field(2, kind) + field(3, bottom) + field(4, top)
    return field(100, parts + b"".join(field(7, blob(array)) for array in blobs))


def caffemodel(*layers):
    return field(1, "net") + b"".join(layers)


def onnx_tensor(name, array, *, data_type=1, packed=False):
    """Return an ONNX TensorProto, its numbers as raw data, or packed floats."""
    content = array.astype("<f4").tobytes() if packed else array.tobytes()
    dims = b"".join(field(1, extent) for extent in array.shape)
    return dims + field(2, data_type) + field(8, name) + field(4 if packed else 9, content)


def onnx_model(*tensors):
    return field(1, 8) + field(7, b"".join(field(5, tensor) for tensor in tensors))


def write_legacy_h5(path, layers, *, group=None, split=False):
    """Write Keras' legacy `.h5`; layers: layer to weight name to array. split: the list of layers in two attributes."""
    import h5py

    with h5py.File(path, "w") as file:
        root = file.create_group(group) if group else file
        names = [name.encode() for name in layers]
        parts = {"layer_names0": names[:1], "layer_names1": names[1:]} if split else {"layer_names": names}
        for attribute, part in parts.items():
            root.attrs[attribute] = part
        for layer, weights in layers.items():
            holder = root.create_group(layer)
            holder.attrs["weight_names"] = [weight.encode() for weight in weights]
            for weight, array in weights.items():
                holder[weight] = array


def write_saved_h5(path, layers, *, container="layers"):
    """Write Keras' `.weights.h5`; layers: group to (name or None, arrays)."""
    import h5py

    with h5py.File(path, "w") as file:
        file.create_group("vars")
        for group, (name, arrays) in layers.items():
            holder = file.create_group(f"{container}/{group}/vars")
            if name is not None:
                holder.attrs["name"] = name
            for number, array in enumerate(arrays):
                holder[str(number)] = array


def write_keras(path, weights, layers, *, compression=zipfile.ZIP_STORED):
    """Write a `.keras` around a `.weights.h5`; layers: (class, settings) in the order of the model."""
    config = {"class_name": "Functional", "config": {"layers": [{"class_name": kind, "config": settings} for kind, settings in layers]}}
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps(config))
        archive.write(weights, "model.weights.h5")


def safetensors_bytes(header, data=b""):
    """Return a safetensors file with this header: text, or what JSON can hold."""
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32) + 0.5
