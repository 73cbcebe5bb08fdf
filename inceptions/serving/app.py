"""The application: enters models, leaves what answers requests, as any ASGI server runs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

import inceptions
from inceptions.serving import documents, infer, predict
from inceptions.serving.bodies import Intake
from inceptions.serving.gate import Drain, Gate, from_starlette
from inceptions.serving.models import Models
from inceptions.serving.problems import MEDIA_TYPE, Problem, mistake

PAGE = Path(inceptions.__file__).parent / "page"


def create_app(models: Models, *, token: str | None = None, cors: Sequence[str] = (), drain: Drain | None = None) -> ASGIApp:
    """Return the application of models that are started, or that its lifespan starts.

    token: what /v1, /v2 and /metrics ask for. cors: origins whose pages may ask. drain: told when the server is being stopped.
    """
    drain = drain or Drain()
    app = FastAPI(
        title="inceptions",
        version=inceptions.__version__,
        summary="Image classifiers of the Inception family",
        docs_url=None,
        redoc_url=None,
        lifespan=lambda _: models.running(),
        redirect_slashes=False,
    )
    intake = Intake(models.settings, models.metrics)
    app.include_router(predict.make_router(models, intake))
    app.include_router(infer.make_router(models, intake))
    _add_operations(app, models, drain, needs_token=token is not None)
    _add_problems(app, models)
    _add_page(app)
    gate = Gate(app, settings=models.settings, metrics=models.metrics, token=token, drain=drain)
    return _add_origins(gate, cors) if cors else gate


def _add_origins(gate: Gate, cors: Sequence[str]) -> ASGIApp:
    """Let pages of other origins ask. It is outermost, or they couldn't read what the gate refuses."""
    from starlette.middleware.cors import CORSMiddleware

    return CORSMiddleware(
        gate,
        allow_origins=list(cors),
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=["authorization", "content-type", infer.JSON_LENGTH],
        expose_headers=["Retry-After", infer.JSON_LENGTH],
    )


def _add_operations(app: FastAPI, models: Models, drain: Drain, *, needs_token: bool) -> None:
    @app.get("/healthz", tags=["operation"], summary="Whether the server lives")
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz", tags=["operation"], summary="Whether it may be asked: every model can answer, and it isn't being stopped")
    async def readyz() -> Response:
        if drain.is_on:
            raise Problem("draining", "the server is being stopped; ask another")
        if not models.are_ready:
            raise Problem("starting", "a model is being started; try again in a second")
        return PlainTextResponse("ready\n")

    @app.get("/metrics", tags=["operation"], summary="What is counted, for Prometheus")
    async def metrics() -> Response:
        return Response(models.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        is_https = request.headers.get("x-forwarded-proto") == "https"  # a proxy's word; it decides nothing but what is shown
        address = str(request.base_url.replace(scheme="https") if is_https else request.base_url)
        return HTMLResponse(documents.page(app.openapi(), address=address, models=list(models), needs_token=needs_token))

    @app.get("/docs.css", include_in_schema=False)
    async def style() -> Response:
        return Response(documents.STYLE, media_type="text/css")


def _add_problems(app: FastAPI, models: Models) -> None:
    def respond(problem: Problem, request: Request) -> Response:
        models.metrics.refused.labels(problem.reason).inc()
        return JSONResponse(problem.details(request.url.path), problem.status, problem.headers, MEDIA_TYPE)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return respond(error, request)

    async def not_here(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return respond(from_starlette(error, request.url.path), request)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        said = "; ".join(f"{'.'.join(map(str, item['loc'][1:]))}: {item['msg']}" for item in error.errors())
        return respond(Problem("invalid", f"{said}; see /docs for what is allowed"), request)

    async def failed(request: Request, error: Exception) -> Response:
        return respond(mistake(), request)  # the gate, where the error goes on to, writes it into the log

    app.add_exception_handler(Exception, failed)
    app.add_exception_handler(Problem, refused)
    app.add_exception_handler(HTTPException, not_here)
    app.add_exception_handler(RequestValidationError, invalid)


def _add_page(app: FastAPI) -> None:
    """Have the files of the page at /, by their own names, and its classifier that asks this server; where there are none, /docs."""
    if not (PAGE / "index.html").is_file():

        @app.get("/", include_in_schema=False)
        async def front() -> Response:
            return RedirectResponse("/docs")

        return
    files = StaticFiles(directory=PAGE)  # not mounted at /, where it would answer for every address that isn't there
    names = {f"/{file.name}": file.name for file in PAGE.iterdir() if file.is_file()}

    async def give(request: Request) -> Response:
        return await files.get_response(named[request.url.path], request.scope)

    named = {**names, "/": "index.html", "/classifier.js": "remote.js"}
    for path in named:
        app.add_route(path, give, methods=["GET"], include_in_schema=False)
