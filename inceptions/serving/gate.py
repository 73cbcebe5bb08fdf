"""What every request goes through: enters any, leaves it counted, let in or refused, and its answer with the headers that browsers obey."""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inceptions.serving.metrics import Metrics
from inceptions.serving.problems import MEDIA_TYPE, Problem, mistake, of_status
from inceptions.serving.settings import MEGA, Settings

log = logging.getLogger(__name__)

HEAD_BYTES = 32_768
CLOSED = ("/v1", "/v2", "/metrics")  # what a token opens
ALWAYS = ("/healthz", "/readyz", "/metrics")  # what is answered while the server is stopped
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; worker-src 'self' blob:; "
        b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
]


@dataclass
class Drain:
    """Whether the server is being stopped, and how many requests are on the way.

    ends: when it has stopped at the latest, by `time.monotonic`; cut_off: how many requests it took and then refused because of that.
    """

    is_on: bool = False
    in_flight: int = 0
    ends: float = math.inf
    cut_off: int = 0


class Gate:
    """The outermost part of the application."""

    def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics, token: str | None, drain: Drain) -> None:
        self.app, self.settings, self.metrics, self.drain = app, settings, metrics, drain
        self.token = token.encode() if token else None
        metrics.in_flight.set_function(lambda: drain.in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, method = time.perf_counter(), 0, scope["method"]
        if method == "HEAD":  # answered as GET is, without the body
            scope = {**scope, "method": "GET"}

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                there = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(item for item in HEADERS if item[0] not in there)]
                if self.drain.is_on:
                    message["headers"].append((b"connection", b"close"))
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        self.drain.in_flight += 1
        try:
            await self._answer(scope, receive, send_with_headers, lambda: status == 0)
        finally:
            self.drain.in_flight -= 1
            route = getattr(scope.get("route"), "path", "other")
            known = method if method in ("GET", "POST", "OPTIONS", "HEAD") else "other"
            self.metrics.requests.labels(route, known, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, nothing_sent) -> None:
        try:
            _check_head(scope)
            self._check_token(scope)
            if self.drain.is_on and scope["path"] not in ALWAYS:
                with suppress(asyncio.CancelledError):  # of a server that can't wait any longer
                    await self._read_to_the_end(receive)
                raise Problem("draining", "the server is being stopped; ask another, or try again in a few seconds")
            await self._run(scope, receive, send)
        except Exception as error:  # nothing of it may leave the process, and the next request is answered
            if not isinstance(error, Problem):
                log.error(
                    "%s %s: %s: %s", scope["method"], scope["path"], type(error).__name__, error, exc_info=log.isEnabledFor(logging.DEBUG)
                )
                error = mistake()
            if nothing_sent():
                await send_problem(error, scope, send, self.metrics)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except asyncio.CancelledError:
            if not self.drain.is_on:
                raise
            self.drain.cut_off += 1
            raise Problem("draining", "the server was stopped before this was answered; ask another, or again in a few seconds") from None

    def _check_token(self, scope: Scope) -> None:
        path = scope["path"]
        if self.token is None or not any(path == place or path.startswith(f"{place}/") for place in CLOSED):
            return
        if scope["method"] == "OPTIONS":  # what a browser asks first, without the token
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        kind, _, token = given.partition(b" ")
        if kind.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self.token):
            raise Problem("unauthorized", "give the server's token as Authorization: Bearer TOKEN", headers={"www-authenticate": "Bearer"})

    async def _read_to_the_end(self, receive: Receive) -> None:
        """Read what the client sends: a connection that is closed before may take the answer with it."""
        left = self.settings.request_mb * MEGA
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body"):
                return


def _check_head(scope: Scope) -> None:
    """Raise Problem for a head that came all at once, and is larger than any that comes bit by bit, or of two meanings."""
    size = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    if size > HEAD_BYTES:
        raise Problem("head_too_large", f"address and headers have {size} bytes; {HEAD_BYTES} are allowed")
    names = {name for name, _ in scope["headers"]}
    if {b"content-length", b"transfer-encoding"} <= names:  # where a proxy goes by the other, a second request hides in the body
        told = "a request has either Content-Length or Transfer-Encoding, not Content-Length and Transfer-Encoding; leave one out"
        raise Problem("bad_request", told, headers={"connection": "close"})
    if not scope["path"].startswith("/"):
        raise Problem("bad_request", "the request line must have a path, as GET /healthz; this server is no proxy")


async def send_problem(problem: Problem, scope: Scope, send: Send, metrics: Metrics) -> None:
    """Answer with problem details, and count them."""
    metrics.refused.labels(problem.reason).inc()
    body = problem.to_bytes(scope["path"])
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers}
    encoded = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def from_starlette(error: HTTPException, path: str) -> Problem:
    """Return the problem that an error of Starlette's is."""
    details = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {path}; see /docs for what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{path} is asked with another method; see /docs",
    }
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if headers.get("allow") == "GET":
        headers["allow"] = "GET, HEAD"  # which the gate makes of every GET
    return of_status(error.status_code, details.get(HTTPStatus(error.status_code), str(error.detail)), headers)
