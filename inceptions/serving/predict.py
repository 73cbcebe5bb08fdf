"""The server's own interface, /v1: pictures in, classes, vectors and heat maps out."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from inceptions.explain.explanation import Method
from inceptions.extras import missing_modules
from inceptions.inference.pipeline import top_classes
from inceptions.json_text import to_json
from inceptions.serving.bodies import Intake, split_pictures
from inceptions.serving.cards import describe, summarise
from inceptions.serving.documents import PICTURES, examples
from inceptions.serving.models import Model, Models, Picture, Row, Version
from inceptions.serving.problems import Problem
from inceptions.serving.settings import Settings

MAX_SIDE = 512  # pixels of a heat map's longer side
_LARGE = 2**18  # bytes of a body from which on another thread takes it apart

ModelName = Annotated[str | None, Query(alias="model", description="A model's name; may be left out where one is served.")]
TopK = Annotated[int, Query(ge=1, le=1000, description="How many classes to give.")]
HeatMap = Annotated[Method | None, Query(description="A heat map of the likeliest class, by this method.")]


def make_router(models: Models, intake: Intake) -> APIRouter:
    """Return the routes of /v1."""
    router = APIRouter(prefix="/v1", tags=["inceptions"])

    @router.get("/models", summary="The models that are served", responses=examples("models"))
    async def list_models() -> Response:
        return as_json({"models": [_summary(name, model) for name, model in models.items()]})

    @router.get("/models/{name}", summary="What is known of a model: classes, accuracy, confusions", responses=examples("model"))
    async def get_model(name: str) -> Response:
        model = models.find(name)
        known = describe(name, model.current or model.version())
        return as_json({**known, "ready": model.is_ready, "heat_maps": bool(known["class_names"]) and not missing_modules("captum")})

    @router.post("/predict", summary="The likeliest classes of pictures", openapi_extra=PICTURES, responses=examples("predict"))
    async def predict(request: Request, name: ModelName = None, top_k: TopK = 5, heat_map: HeatMap = None) -> Response:
        model = models.find(name)
        if heat_map is not None:
            check_heat_maps()
        _require_classes(model.version())
        model.check_room()
        async with intake.body(request) as body:
            pictures = await _read(model, request, body, intake)
            if heat_map is not None:
                _check_heat_count(len(pictures), intake.settings)
            version, rows = await _answer(model, pictures)
            found = [_prediction(request, version, picture, row, top_k) for picture, row in zip(pictures, rows, strict=True)]
            if heat_map is not None:
                await _add_heat(model, found, pictures, heat_map)
        return as_json({"model": model.name, "version": version.name, "predictions": found})

    @router.post("/embed", summary="The vector that the classifier reads", openapi_extra=PICTURES, responses=examples("embed"))
    async def embed(request: Request, name: ModelName = None) -> Response:
        model = models.find(name)
        model.check_room()
        async with intake.body(request) as body:
            pictures = await _read(model, request, body, intake)
            version, rows = await _answer(model, pictures)
        found = [
            {"name": picture.name, **({"vector": row.vector.tolist()} if isinstance(row, Row) else _error(request, row))}
            for picture, row in zip(pictures, rows, strict=True)
        ]
        return as_json({"model": model.name, "version": version.name, "embeddings": found})

    return router


def as_json(value: Any) -> Response:
    """Return a value as the answer; what is no number is null."""
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        text = to_json(value)
    return Response(text, media_type="application/json")


def check_heat_maps() -> None:
    """Raise Problem where the library that explains isn't there."""
    if missing_modules("captum"):
        raise Problem("no_heat_maps", "heat maps need captum; pip install 'inceptions[explain]' where the server runs")


def _summary(name: str, model: Model) -> dict[str, Any]:
    """Return what stands in the list: of a model that is being started again too, for its card is known."""
    return {**(summarise(name, model.current) if model.current else {"name": name}), "ready": model.is_ready}


async def _read(model: Model, request: Request, body: bytearray, intake: Intake) -> list[Picture]:
    """Return the pictures of a request."""
    given = (request.headers.get("content-type", ""), body, intake.settings)
    return await asyncio.to_thread(split_pictures, *given) if len(body) > _LARGE else split_pictures(*given)


async def _answer(model: Model, pictures: list[Picture]) -> tuple[Version, list[Row | Problem]]:
    """Return what answered, and the answers. Raises Problem where there is one picture, and it is refused."""
    version = model.version()  # from here to the asking nothing is waited for, so that a version that goes isn't asked
    rows = await model.answer(version, pictures)
    if len(rows) == 1 and isinstance(rows[0], Problem):
        raise Problem(rows[0].reason, f"{pictures[0].name}: {rows[0].detail}")
    for row in rows:
        if isinstance(row, Problem):
            model.metrics.refused.labels(row.reason).inc()
    return version, rows


def _require_classes(version: Version) -> None:
    if not version.card.classes:
        raise Problem("invalid", f"{version.card.network.name} ends in features and has no classes; ask /v1/embed for its vectors")


def _check_heat_count(images: int, settings: Settings) -> None:
    if images > settings.heat_maps:
        raise Problem("too_many_images", f"a request may have {settings.heat_maps} pictures where heat maps are asked for, not {images}")


def _prediction(request: Request, version: Version, picture: Picture, row: Row | Problem, top_k: int) -> dict[str, Any]:
    if isinstance(row, Problem):
        return {"name": picture.name, **_error(request, row)}
    (names,), (values,) = top_classes(row.probabilities[None], version.card.classes, top_k)
    return {"name": picture.name, "classes": [{"class": name, "probability": value} for name, value in zip(names, values, strict=True)]}


def _error(request: Request, problem: Problem) -> dict[str, Any]:
    return {"error": problem.details(request.url.path)}


async def _add_heat(model: Model, found: list[dict[str, Any]], pictures: list[Picture], method: Method) -> None:
    """Add its heat map to each answer that is none of an error."""
    answered = [(item, picture) for item, picture in zip(found, pictures, strict=True) if "error" not in item]
    wanted = [(picture, item["classes"][0]["class"]) for item, picture in answered]
    if not wanted:
        return
    maps = await model.explain(wanted, method=method, max_side=MAX_SIDE)
    for (item, _), png in zip(answered, maps, strict=True):
        item["heat_map"] = f"data:image/png;base64,{base64.b64encode(png).decode()}"
