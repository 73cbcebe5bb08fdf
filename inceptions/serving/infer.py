"""The Open Inference Protocol v2 over HTTP, with its binary extension: what clients of Triton, KServe and others speak.

    input   images   BYTES (N) or (N, 1)    encoded files, as they lie on the disk
            pixels   UINT8 (N, S, S, C)     as the network reads them, resized and cropped, RGB where there are three channels
    output  probabilities FP32 (N, K), classes BYTES (N, K: names, the likeliest first), embeddings FP32 (N, F)

https://github.com/kserve/open-inference-protocol and, for bytes behind the JSON, Triton's binary tensor data extension.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from inceptions.names import shown
from inceptions.serving.bodies import Intake, parse_length
from inceptions.serving.documents import TENSORS, examples
from inceptions.serving.models import Model, Models, Picture, Row, Version
from inceptions.serving.predict import as_json
from inceptions.serving.problems import Problem
from inceptions.serving.settings import MEGA, Settings

JSON_LENGTH = "inference-header-content-length"
_MOST_VALUES = 300_000  # in a request's JSON, a picture of 299 pixels as numbers; while Python reads them the server does nothing else
_BYTES_OF_A_VALUE = 6  # of a pixel's, with what stands around it
_REST_OF_JSON = 2**16  # bytes, for all but the data
_MOST_SIDES = 4
_LONGEST_INTEGER = 20  # digits


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input as it came: its datatype, shape, and values, of JSON or binary."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Any


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for: the pictures, the outputs with whether each is to be binary, and what the client calls the request."""

    pictures: list[Picture]
    outputs: dict[str, bool]
    identifier: str | None


def make_router(models: Models, intake: Intake) -> APIRouter:
    """Return the routes of /v2."""
    from inceptions import __version__

    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

    @router.get("", summary="The server")
    async def server() -> Response:
        return as_json({"name": "inceptions", "version": __version__, "extensions": ["binary_tensor_data"]})

    @router.get("/health/live", summary="Whether the server lives")
    async def live() -> Response:
        return as_json({"live": True})

    @router.get("/health/ready", summary="Whether every model can answer")
    async def ready() -> Response:
        if not models.are_ready:
            raise Problem("starting", "a model is being started; try again in a second")
        return as_json({"ready": True})

    @router.get("/models/{name}", summary="A model's inputs and outputs", responses=examples("metadata"))
    @router.get("/models/{name}/versions/{version}", include_in_schema=False)
    async def metadata(name: str, version: str | None = None) -> Response:
        return as_json(describe(name, _version_of(models.find(name), version)))

    @router.get("/models/{name}/ready", summary="Whether a model can answer")
    @router.get("/models/{name}/versions/{version}/ready", include_in_schema=False)
    async def model_ready(name: str, version: str | None = None) -> Response:
        return as_json({"name": name, "ready": bool(_version_of(models.find(name), version))})

    @router.post("/models/{name}/infer", summary="Tensors in, tensors out", openapi_extra=TENSORS, responses=examples("infer"))
    @router.post("/models/{name}/versions/{version}/infer", include_in_schema=False)
    async def infer(request: Request, name: str, version: str | None = None) -> Response:
        model = models.find(name)
        model.check_room()
        async with intake.body(request) as body:
            header_length = request.headers.get(JSON_LENGTH)
            while True:
                before = _version_of(model, version)
                asked = await asyncio.to_thread(_read, body, header_length, before, intake.settings)
                current = _version_of(model, version)  # from here to the asking nothing is waited for, so that one that goes isn't asked
                if current.name == before.name:
                    break
            rows = await model.answer(current, asked.pictures)
        return await asyncio.to_thread(_respond, model.name, current, asked, _all_answered(asked.pictures, rows))

    return router


def describe(name: str, version: Version) -> dict[str, Any]:
    """Return the metadata of a model."""
    preprocess, classes = version.card.preprocess, len(version.card.classes)
    shape = [-1, preprocess.image_size, preprocess.image_size, preprocess.channels]
    outputs = [("probabilities", "FP32", [-1, classes]), ("classes", "BYTES", [-1, classes])] if classes else []
    return {
        "name": name,
        "versions": [version.name],
        "platform": f"inceptions_{version.process.about['engine']}",
        "inputs": [{"name": "images", "datatype": "BYTES", "shape": [-1]}, {"name": "pixels", "datatype": "UINT8", "shape": shape}],
        "outputs": [
            {"name": output, "datatype": datatype, "shape": shape}
            for output, datatype, shape in [*outputs, ("embeddings", "FP32", [-1, -1])]
        ],
    }


def _version_of(model: Model, version: str | None) -> Version:
    current = model.version()
    if version is not None and version != current.name:
        raise Problem(
            "not_found", f"the version of {model.name} is {current.name}, not {shown(version)[:100]!r}; leave it out to get what there is"
        )
    return current


def _read(body: bytearray, header_length: str | None, version: Version, settings: Settings) -> Asked:
    """Return what a request asks for; all that is wrong with it is told before the model works."""
    said, tensor = _parse(body, header_length, settings)
    outputs = _wanted(said, version)
    identifier = said.get("id")
    return Asked(pictures_of(tensor, version, settings), outputs, identifier if isinstance(identifier, str) else None)


def _json_length(body: bytearray, header_length: str | None, settings: Settings) -> int:
    """Return how many bytes of the body are JSON. Raises Problem for more than pictures need: while it is read all else waits."""
    length = len(body) if header_length is None else parse_length(header_length)
    if length is None or length > len(body):
        raise Problem("bad_request", f"Inference-Header-Content-Length must be a number of bytes, at most the body's {len(body)}")
    most = int(max(settings.picture_mb * MEGA * 4 / 3, _BYTES_OF_A_VALUE * _MOST_VALUES)) + _REST_OF_JSON
    if length > most:
        raise Problem("too_large", f"the JSON has {length / MEGA:.1f} MB; {most / MEGA:.1f} are allowed: send more as binary data")
    if sum(body.count(sign, 0, length) for sign in b",[{") > _MOST_VALUES:
        raise Problem("too_large", f"the JSON has more than {_MOST_VALUES} values; send more as binary data")
    return length


def _parse(body: bytearray, header_length: str | None, settings: Settings) -> tuple[dict[str, Any], Tensor]:
    """Return the request's JSON, and its one input."""
    length = _json_length(body, header_length, settings)
    try:
        said = json.loads(memoryview(body)[:length].tobytes(), parse_int=_whole)
        (tensor,) = said["inputs"]
        parameters = tensor.get("parameters") or {}
        name, datatype, shape = tensor["name"], tensor["datatype"], tuple(tensor["shape"])
        size = parameters.get("binary_data_size")
        values = memoryview(body)[length : length + size] if size is not None else tensor["data"]
    except (ValueError, RecursionError) as error:
        raise Problem("bad_request", f"the JSON can't be read ({type(error).__name__}); give one input, images or pixels") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise Problem("bad_request", f"the request isn't one of the protocol's ({error}); see /docs for an example") from None
    if len(shape) > _MOST_SIDES or not all(isinstance(side, int) and 0 <= side <= 2**31 for side in shape):
        raise Problem("invalid", f"the shape of {shown(name)[:100]!r} must be at most {_MOST_SIDES} whole numbers from 0")
    return said, Tensor(str(name), str(datatype), shape, values)


def _whole(text: str) -> int:
    """Return an integer of JSON; those of thousands of digits take long."""
    if len(text) > _LONGEST_INTEGER:
        raise ValueError
    return int(text)


def _wanted(said: dict[str, Any], version: Version) -> dict[str, bool]:
    """Return the names of the outputs that are asked for, and whether each is to be binary."""
    classes = ["probabilities", "classes"] if version.card.classes else []
    by_default, listed = said.get("parameters"), said.get("outputs")
    if not isinstance(by_default, dict | None):
        raise Problem("bad_request", "parameters must be an object; leave them out for JSON")
    binary = bool((by_default or {}).get("binary_data_output", False))
    if not listed:
        return dict.fromkeys(classes or ["embeddings"], binary)
    found: dict[str, bool] = {}
    for output in listed if isinstance(listed, list) else [listed]:
        if not isinstance(output, dict) or "name" not in output or not isinstance(output.get("parameters"), dict | None):
            raise Problem("bad_request", "outputs must be a list of objects with a name; see /docs for an example")
        name, parameters = str(output["name"]), output.get("parameters") or {}
        if name not in (*classes, "embeddings"):
            raise Problem("invalid", f"there is no output {shown(name)[:100]!r}; there are {', '.join([*classes, 'embeddings'])}")
        if name in found:
            raise Problem("invalid", f"the output {name} is asked for twice; give each name once")
        if "classification" in parameters:
            raise Problem("invalid", "the classification extension isn't spoken; ask for the output classes")
        found[name] = bool(parameters.get("binary_data", binary))
    return found


def pictures_of(tensor: Tensor, version: Version, settings: Settings) -> list[Picture]:
    """Return the pictures in a tensor. Raises Problem for one that isn't of the model's inputs, or of other values than it says."""
    match tensor.name, tensor.datatype:
        case "images", "BYTES":
            found = [Picture(f"images[{place}]", data) for place, data in enumerate(_strings(tensor, settings))]
        case "pixels", "UINT8":
            found = [Picture(f"pixels[{place}]", data, is_pixels=True) for place, data in enumerate(_pixels(tensor, version, settings))]
        case name, datatype:
            raise Problem(
                "invalid", f"the input {shown(name)[:100]!r} of {shown(datatype)[:20]} isn't taken; give images, BYTES, or pixels, UINT8"
            )
    if not found:
        raise Problem("invalid", f"{tensor.name} holds no picture; give at least one")
    return found


def _check_count(count: int, settings: Settings) -> None:
    if count > settings.images_per_request:
        raise Problem("too_many_images", f"a request may have {settings.images_per_request} pictures; send the others in another")


def _strings(tensor: Tensor, settings: Settings) -> Sequence[bytes | memoryview]:
    """Return the elements of a BYTES tensor: each with its length before it; in JSON texts, of base64."""
    count = math.prod(tensor.shape) if tensor.shape else 0
    _check_count(count, settings)
    is_binary = isinstance(tensor.values, memoryview)
    held = list(islice(_unpacked(tensor.values), count + 1)) if is_binary else _flat(tensor.values)
    if len(held) != count:
        many = "more" if is_binary and len(held) > count else str(len(held))
        raise Problem("invalid", f"{tensor.name} holds {many} elements, where its shape says {count}")
    found = held if is_binary else [_decoded(text) for text in held]
    if any(len(data) > settings.picture_mb * MEGA for data in found):
        raise Problem("too_large", f"a picture may have {settings.picture_mb:g} MB; send smaller ones")
    return found


def _flat(values: Any) -> list[Any]:
    """Return the elements of a list, or of one of lists of one each."""
    return [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values] if isinstance(values, list) else []


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError, binascii.Error):
        raise Problem("invalid", "images in JSON are texts of base64; or send them as binary data") from None


def _unpacked(data: memoryview) -> Iterator[memoryview]:
    place = 0
    while place < len(data):
        if place + 4 > len(data):
            raise Problem("invalid", "the binary data of images end within a length")
        (length,) = struct.unpack_from("<I", data, place)
        if place + 4 + length > len(data):
            raise Problem("invalid", "the binary data of images end within an element")
        yield data[place + 4 : place + 4 + length]
        place += 4 + length


def _pixels(tensor: Tensor, version: Version, settings: Settings) -> list[memoryview]:
    preprocess = version.card.preprocess
    wanted = (preprocess.image_size, preprocess.image_size, preprocess.channels)
    if len(tensor.shape) != 4 or tensor.shape[1:] != wanted:
        raise Problem("invalid", f"pixels are {list(tensor.shape)}; they must be [N, {', '.join(map(str, wanted))}]")
    _check_count(tensor.shape[0], settings)
    values, size = tensor.values, math.prod(tensor.shape)
    if not isinstance(values, memoryview):
        values = _bytes_of(values, size)
    if len(values) != size:
        raise Problem("invalid", f"pixels hold {len(values)} values, where their shape says {size}")
    each = size // tensor.shape[0] if tensor.shape[0] else 1
    return [memoryview(values)[start : start + each] for start in range(0, size, each)]


def _bytes_of(values: Any, size: int) -> bytes:
    """Return JSON's numbers, nested or not, as bytes."""
    try:
        for _ in range(_MOST_SIDES - 1):
            if not (isinstance(values, list) and values and isinstance(values[0], list)):
                break
            values = list(chain.from_iterable(values))
        found = bytes(values) if isinstance(values, list) else b""
    except (ValueError, TypeError):  # not all are lists, or numbers, or of a byte
        found = b""
    if len(found) != size:
        raise Problem("invalid", f"the data of pixels must be {size} whole numbers of 0 to 255, or binary")
    return found


def _all_answered(pictures: Sequence[Picture], rows: Sequence[Row | Problem]) -> list[Row]:
    """Return the rows; the tensors of an answer have one for each picture, so one that is refused refuses the request."""
    for picture, row in zip(pictures, rows, strict=True):
        if isinstance(row, Problem):
            raise Problem(row.reason, f"{picture.name}: {row.detail}")
    return [row for row in rows if isinstance(row, Row)]


def _respond(name: str, version: Version, asked: Asked, rows: list[Row]) -> Response:
    made = [_output(output, version, rows, is_binary=is_binary) for output, is_binary in asked.outputs.items()]
    said: dict[str, Any] = {"model_name": name, "model_version": version.name, "outputs": [head for head, _ in made]}
    if asked.identifier is not None:
        said["id"] = asked.identifier
    head, binary = json.dumps(said).encode(), b"".join(data for _, data in made)
    if not binary:
        return Response(head, media_type="application/json")
    return Response(head + binary, media_type="application/octet-stream", headers={JSON_LENGTH: str(len(head))})


def _output(name: str, version: Version, rows: list[Row], *, is_binary: bool) -> tuple[dict[str, Any], bytes]:
    """Return an output's JSON, and its bytes where it is binary."""
    classes = version.card.classes
    if name == "classes":
        best = np.argsort(-np.stack([row.probabilities for row in rows]), axis=1, kind="stable")
        texts = [classes[place] for row in best.tolist() for place in row]
        head: dict[str, Any] = {"name": name, "datatype": "BYTES", "shape": list(best.shape)}
        if not is_binary:
            return {**head, "data": [shown(text) for text in texts]}, b""
        encoded = [text.encode(errors="backslashreplace") for text in texts]
        data = b"".join(struct.pack("<I", len(text)) + text for text in encoded)
    else:
        values = np.stack([row.vector if name == "embeddings" else row.probabilities for row in rows])
        head = {"name": name, "datatype": "FP32", "shape": list(values.shape)}
        if not is_binary:
            return {**head, "data": values.reshape(-1).tolist()}, b""
        data = values.tobytes()
    return {**head, "parameters": {"binary_data_size": len(data)}}, data
