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
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from inceptions.names import shown
from inceptions.serving.bodies import Intake
from inceptions.serving.documents import TENSORS, examples
from inceptions.serving.models import Model, Models, Picture, Row, Version
from inceptions.serving.predict import as_json
from inceptions.serving.problems import Problem
from inceptions.serving.settings import MEGA, Settings

JSON_LENGTH = "inference-header-content-length"
_LARGE = 2**16  # bytes of JSON from which on another thread reads it


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input as it came: its datatype, shape, and values, of JSON or binary."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Any


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
            large = len(body) > _LARGE
            asked, tensor = await asyncio.to_thread(_parse, body, header_length) if large else _parse(body, header_length)
            current = _version_of(model, version)
            pictures = pictures_of(tensor, current, intake.settings)
            rows = await model.answer(current, pictures)
        return _respond(model, current, asked, _all_answered(pictures, rows))

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


def _parse(body: bytearray, header_length: str | None) -> tuple[dict[str, Any], Tensor]:
    """Return the request's JSON, and its one input."""
    if header_length is not None and not (header_length.isdecimal() and int(header_length) <= len(body)):
        raise Problem("bad_request", f"Inference-Header-Content-Length must be a number of bytes, at most the body's {len(body)}")
    length = len(body) if header_length is None else int(header_length)
    try:
        asked = json.loads(memoryview(body)[:length].tobytes())
        (tensor,) = asked["inputs"]
        parameters = tensor.get("parameters") or {}
        name, datatype, shape = tensor["name"], tensor["datatype"], tuple(tensor["shape"])
        size = parameters.get("binary_data_size")
        values = memoryview(body)[length : length + size] if size is not None else tensor["data"]
    except (ValueError, RecursionError) as error:
        raise Problem("bad_request", f"the JSON can't be read ({type(error).__name__}); give one input, images or pixels") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise Problem("bad_request", f"the request isn't one of the protocol's ({error}); see /docs for an example") from None
    if not all(isinstance(side, int) and 0 <= side <= 2**31 for side in shape):
        raise Problem("invalid", f"the shape of {shown(name)[:100]!r} must be whole numbers from 0")
    return asked, Tensor(str(name), str(datatype), shape, values)


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


def _strings(tensor: Tensor, settings: Settings) -> list[bytes]:
    """Return the elements of a BYTES tensor: each with its length before it; in JSON texts, of base64."""
    count = int(np.prod(tensor.shape, dtype=object)) if tensor.shape else 0
    _check_count(count, settings)
    found = list(_unpacked(tensor.values)) if isinstance(tensor.values, memoryview) else [_decoded(text) for text in _flat(tensor.values)]
    if len(found) != count:
        raise Problem("invalid", f"{tensor.name} holds {len(found)} elements, where its shape says {count}")
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


def _unpacked(data: memoryview) -> Iterator[bytes]:
    place = 0
    while place < len(data):
        if place + 4 > len(data):
            raise Problem("invalid", "the binary data of images end within a length")
        (length,) = struct.unpack_from("<I", data, place)
        if place + 4 + length > len(data):
            raise Problem("invalid", "the binary data of images end within an element")
        yield bytes(data[place + 4 : place + 4 + length])
        place += 4 + length


def _pixels(tensor: Tensor, version: Version, settings: Settings) -> list[bytes]:
    preprocess = version.card.preprocess
    wanted = (preprocess.image_size, preprocess.image_size, preprocess.channels)
    if len(tensor.shape) != 4 or tensor.shape[1:] != wanted:
        raise Problem("invalid", f"pixels are {list(tensor.shape)}; they must be [N, {', '.join(map(str, wanted))}]")
    _check_count(tensor.shape[0], settings)
    values, size = tensor.values, int(np.prod(tensor.shape, dtype=object))
    if not isinstance(values, memoryview):
        values = _bytes_of(values, size)
    if len(values) != size:
        raise Problem("invalid", f"pixels hold {len(values)} values, where their shape says {size}")
    each = size // tensor.shape[0] if tensor.shape[0] else 1
    return [bytes(values[start : start + each]) for start in range(0, size, each)]


def _bytes_of(values: Any, size: int) -> memoryview:
    """Return JSON's numbers, nested or not, as bytes."""
    try:
        found = np.asarray(values)
    except (ValueError, TypeError):  # lists of different lengths
        found = np.empty(0)
    whole = found.dtype.kind in "iu" and found.size == size
    if not whole or (size and not (found.min() >= 0 and found.max() <= 255)):
        raise Problem("invalid", f"the data of pixels must be {size} whole numbers of 0 to 255, or binary")
    return memoryview(found.astype(np.uint8).reshape(-1).data)


def _all_answered(pictures: Sequence[Picture], rows: Sequence[Row | Problem]) -> list[Row]:
    """Return the rows; the tensors of an answer have one for each picture, so one that is refused refuses the request."""
    for picture, row in zip(pictures, rows, strict=True):
        if isinstance(row, Problem):
            raise Problem(row.reason, f"{picture.name}: {row.detail}")
    return [row for row in rows if isinstance(row, Row)]


def _respond(model: Model, version: Version, asked: dict[str, Any], rows: list[Row]) -> Response:
    names = ["probabilities", "classes"] if version.card.classes else ["embeddings"]
    wanted: Any = asked.get("outputs") or [{"name": name} for name in names]
    by_default = (asked.get("parameters") or {}).get("binary_data_output", False)
    outputs, parts = [], []
    try:
        for output in wanted:
            parameters = output.get("parameters") or {}
            if "classification" in parameters:
                raise Problem("invalid", "the classification extension isn't spoken; ask for the output classes")
            head, part = _output(str(output["name"]), version, rows, is_binary=parameters.get("binary_data", by_default))
            outputs.append(head)
            parts.append(part)
    except (TypeError, KeyError, AttributeError):
        raise Problem("bad_request", "outputs must be a list of objects with a name; see /docs for an example") from None
    said = {"model_name": model.name, "model_version": version.name, "outputs": outputs}
    if isinstance(asked.get("id"), str):
        said["id"] = asked["id"]
    head, binary = json.dumps(said).encode(), b"".join(parts)
    if not binary:
        return Response(head, media_type="application/json")
    return Response(head + binary, media_type="application/octet-stream", headers={JSON_LENGTH: str(len(head))})


def _output(name: str, version: Version, rows: list[Row], *, is_binary: bool) -> tuple[dict[str, Any], bytes]:
    """Return an output's JSON, and its bytes where it is binary."""
    classes = version.card.classes
    if name == "classes" and classes:
        best = np.argsort(-np.stack([row.probabilities for row in rows]), axis=1, kind="stable")
        texts = [classes[place] for row in best.tolist() for place in row]
        head: dict[str, Any] = {"name": name, "datatype": "BYTES", "shape": list(best.shape)}
        if not is_binary:
            return {**head, "data": [shown(text) for text in texts]}, b""
        encoded = [text.encode(errors="backslashreplace") for text in texts]
        data = b"".join(struct.pack("<I", len(text)) + text for text in encoded)
    elif name == "embeddings" or (name == "probabilities" and classes):
        values = np.stack([row.vector if name == "embeddings" else row.probabilities for row in rows])
        head = {"name": name, "datatype": "FP32", "shape": list(values.shape)}
        if not is_binary:
            return {**head, "data": values.reshape(-1).tolist()}, b""
        data = values.tobytes()
    else:
        raise Problem(
            "invalid", f"there is no output {shown(name)[:100]!r}; there are {'probabilities, classes, ' if classes else ''}embeddings"
        )
    return {**head, "parameters": {"binary_data_size": len(data)}}, data
