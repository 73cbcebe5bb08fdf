"""Caffe's and ONNX' messages, as far as they hold weights: enters bytes, leaves a message of protobuf's own classes.

Neither framework's package is needed. Numbers are declared as bytes, for that is how packed ones lie in a file, so that they become arrays
without a Python object for each. Field numbers are those of caffe.proto in BVLC/caffe and onnx.proto in onnx/onnx.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from inceptions.errors import WeightsError
from inceptions.weights.readers.foreign import AGAIN, quote

_FIELDS = {  # name = number : type, with a star where there may be several
    "caffe.Net": "layers=2:V1Layer* layer=100:Layer*",
    "caffe.Layer": "name=1:string kind=2:string bottom=3:string* top=4:string* blobs=7:Blob*",
    "caffe.V1Layer": "bottom=2:string* top=3:string* name=4:string number=5:int32 blobs=6:Blob*",
    "caffe.Blob": "num=1:int32 channels=2:int32 height=3:int32 width=4:int32 floats=5:bytes* shape=7:Shape doubles=8:bytes*",
    "caffe.Shape": "dim=1:int64*",
    "onnx.Model": "ir_version=1:int64 graph=7:Graph",
    "onnx.Graph": "initializer=5:Tensor* sparse=15:bytes*",
    "onnx.Tensor": "dims=1:int64* data_type=2:int32 floats=4:bytes* integers=5:bytes* name=8:string raw=9:bytes doubles=10:bytes* "
    "external=13:bytes* location=14:int32",
}


def parse(name: str, content: bytes) -> Any:
    """Return the message, such as "caffe.Net", in `content`. Raises WeightsError."""
    message = _classes()[name]()
    try:
        message.ParseFromString(content)
    except _module("message").DecodeError as error:
        raise WeightsError(f"its protocol buffer ends or changes within a field ({quote(str(error))}); {AGAIN}") from None
    return message


def to_array(name: str, shape: Sequence[int], dtype: str, pieces: Sequence[bytes]) -> np.ndarray:
    """Return the tensor whose packed numbers are `pieces`; WeightsError unless they are as many as its shape asks for."""
    content = b"".join(pieces)
    wanted = math.prod(shape) * np.dtype(dtype).itemsize
    if min(shape, default=0) < 0 or len(content) != wanted:
        stored = f"{len(content):,} bytes of numbers where its shape {quote(tuple(shape))} wants {wanted:,}"
        raise WeightsError(f"tensor {quote(name)} has {stored}; {AGAIN}")
    return np.frombuffer(bytearray(content), dtype=dtype).reshape(tuple(shape))


@cache
def _classes() -> dict[str, Any]:
    """Return a class for each kind of message."""
    description, pools = _module("descriptor_pb2"), _module("descriptor_pool")
    pool, kinds = pools.DescriptorPool(), description.FieldDescriptorProto
    for package in ("caffe", "onnx"):
        file = description.FileDescriptorProto(name=package, package=package, syntax="proto3")
        for full_name, fields in _FIELDS.items():
            if not full_name.startswith(package):
                continue
            message = file.message_type.add(name=full_name.partition(".")[2])
            for row in fields.split():
                name, _, rest = row.partition("=")
                number, _, kind = rest.rstrip("*").partition(":")
                label = kinds.LABEL_REPEATED if rest.endswith("*") else kinds.LABEL_OPTIONAL
                field = message.field.add(name=name, number=int(number), label=label)
                if kind[0].isupper():
                    field.type, field.type_name = kinds.TYPE_MESSAGE, f".{package}.{kind}"
                else:
                    field.type = getattr(kinds, f"TYPE_{kind.upper()}")
        pool.Add(file)
    get_class = _module("message_factory").GetMessageClass
    return {name: get_class(pool.FindMessageTypeByName(name)) for name in _FIELDS}


def _module(name: str) -> Any:
    """Return a module of protobuf, which has its types in no form that a type checker reads."""
    return importlib.import_module(f"google.protobuf.{name}")
