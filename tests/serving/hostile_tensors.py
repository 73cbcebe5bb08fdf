"""The kinds of hostile requests that are tensors of the Open Inference Protocol, and their JSON."""

from __future__ import annotations

import json
import struct

from tests.serving.hostile import INFER, Hostile, http, kind


@kind
def deep_json(rng):
    depth = rng.choice([1_000, 100_000, 1_000_000])
    body = rng.choice([b'{"inputs":' + b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth])
    return Hostile(http(body, path=INFER, content_type="application/json"), (400, 413))  # 413: more values than are parsed


@kind
def json_that_is_none(rng):
    bodies = [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"a"',
        b"1e999",
        b"\xff\xfe",
        b'{"inputs": null}',
        b'{"inputs": [1]}',
        b'{"inputs": [{}]}',
        b'{"inputs": {"a": 1}}',
    ]
    return Hostile(http(rng.choice(bodies), path=INFER, content_type="application/json"), (400,))


@kind
def tensors_that_cannot_be(rng):
    shape = rng.choice(
        [
            [-1, 16, 16, 3],
            [2**31, 16, 16, 3],
            [10**30],
            [1.5],
            [True, 16, 16, 3],
            [],
            ["a"],
            [0, 16, 16, 3],
            [1, 16, 16, 3],
            [[1]],
            [2**31] * 9,
        ]
    )
    data = rng.choice(
        [[], [1], ["a"], [300] * 768, [-1] * 768, [0.5] * 768, [[1, 2], [3]], {"a": 1}, None, "x" * 99, [None] * 768, [10**30] * 768]
    )
    tensor = {
        "name": rng.choice(["pixels", "images", "x"]),
        "datatype": rng.choice(["UINT8", "BYTES", "FP32"]),
        "shape": shape,
        "data": data,
    }
    outputs = rng.choice([None, [], [1], [{"name": "x"}], "a", [{"name": "classes", "parameters": 3}]])
    body = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    return Hostile(http(body, path=INFER, content_type="application/json"), (400, 413, 422))


@kind
def binary_tensors_that_lie(rng):
    size = rng.choice([-1, 10**12, 0, 5, "a", 1.5, True, None])
    tensor = {"name": rng.choice(["pixels", "images"]), "shape": [1], "parameters": {"binary_data_size": size}}
    tensor["datatype"] = "BYTES" if tensor["name"] == "images" else "UINT8"
    body = json.dumps({"inputs": [tensor]}).encode()
    length = rng.choice([str(len(body)), "-1", "9" * 30, "a", str(len(body) - 3), "0"])
    binary = struct.pack("<I", rng.choice([2**32 - 1, 0, 3])) + b"xyz"
    return Hostile(http(body + binary, path=INFER, extra=f"inference-header-content-length: {length}\r\n"), (400, 413, 422))


def pixels(**also: object) -> bytes:
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 16, 16, 3], "data": [0] * 768}
    return json.dumps({"inputs": [tensor], **also}).encode()


@kind
def tensors_asked_for_without_end(rng):
    many = [{"name": name} for name in rng.choice([("embeddings", "embeddings"), ("classes",)])] * 60_000
    return Hostile(http(pixels(outputs=many), path=INFER, content_type="application/json"), (422,))


@kind
def lists_of_nothing(rng):
    empty = b"[],"[: rng.choice([2, 3])] + b",[]" * 200_000
    body = pixels().replace(b"[" + b"0, " * 767 + b"0]", b"[" + empty.replace(b",,", b",") + b"]")
    return Hostile(http(body, path=INFER, content_type="application/json"), (413,))


@kind
def shapes_without_end(rng):
    body = pixels().replace(b"[1, 16, 16, 3]", json.dumps([2**31 - 1] * 200_000).encode())
    return Hostile(http(body, path=INFER, content_type="application/json"), (422,))


@kind
def base64_that_is_too_much(rng):
    tensor = {"name": "images", "datatype": "BYTES", "shape": [3], "data": ["A" * 10_000_000] * 3}
    return Hostile(http(json.dumps({"inputs": [tensor]}).encode(), path=INFER, content_type="application/json"), (413,))


@kind
def parameters_that_are_none(rng):
    return Hostile(http(pixels(parameters=rng.choice(["x", [1], 3])), path=INFER, content_type="application/json"), (400,))


@kind
def length_of_json_that_is_huge(rng):
    return Hostile(http(pixels(), path=INFER, extra=f"inference-header-content-length: {'9' * 5000}\r\n"), (400,))
