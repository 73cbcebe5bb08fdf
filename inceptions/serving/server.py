"""The server itself: enters an address and an application, leaves when it is told to, with the requests answered that it took.

uvicorn speaks HTTP, with h11, whose limits are strict. What it would answer as plain text is problem details here, and clients that send
the head of a request too slowly, or are too many, are refused.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import math
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from inceptions.errors import UserError
from inceptions.serving.app import create_app
from inceptions.serving.gate import HEAD_BYTES, Drain
from inceptions.serving.metrics import Metrics
from inceptions.serving.models import Models
from inceptions.serving.problems import MEDIA_TYPE, Problem
from inceptions.serving.settings import Settings

log = logging.getLogger(__name__)

_ATTACH_FILTER = 26  # SO_ATTACH_FILTER
_BACKLOG = 2048  # connections that wait to be taken; uvicorn's own number
_LAST_S = 0.5  # how long a connection on which nothing is asked stays open when the server ends


def make_protocol(settings: Settings, metrics: Metrics) -> type[H11Protocol]:
    """Return uvicorn's protocol with these limits; one is made of it for each connection."""
    return type("LimitedProtocol", (_Protocol,), {"settings": settings, "metrics": metrics})


class _Protocol(H11Protocol):
    settings: Settings
    metrics: Metrics
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.settings.connections:
            self._refuse(Problem("busy", f"there are {self.settings.connections} connections already; try again in a second"))
            return
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._head_timer is None:  # a part of the next request's head
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        late = Problem("slow", f"the head of the request took longer than {self.settings.head_timeout_s:g} s; send it faster")
        self._head_timer = self.loop.call_later(self.settings.head_timeout_s, self._refuse, late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def send_400_response(self, msg: str) -> None:
        self._refuse(Problem("bad_request", "this is no HTTP/1.1 request, or its head is damaged or too large; use an HTTP library"))

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:  # refused before it was sent whole: the client may be reading only afterwards
            self.loop.call_later(self.settings.body_timeout_s, self._close_if_sending, self.cycle)

    def _close_if_sending(self, cycle: object) -> None:
        if self.cycle is cycle and self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def shutdown(self) -> None:
        """Close when what is asked is answered; where nothing is yet, a request that is under way is waited for, and refused."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_LAST_S, self.transport.close)
        else:
            super().shutdown()

    def _refuse(self, problem: Problem) -> None:
        """Answer what is no request, or not a whole one, and close the connection."""
        if self.transport.is_closing():
            return
        self.metrics.refused.labels(problem.reason).inc()
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = problem.to_bytes("")
            head = f"HTTP/1.1 {problem.status} {problem.title}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
        self.transport.close()


class Server(uvicorn.Server):
    """uvicorn's server, which when it is told to stop first says so: it answers what it has, refuses what is new, and then closes."""

    def __init__(self, config: uvicorn.Config, *, drain: Drain, settings: Settings, started: Callable[[], None]) -> None:
        super().__init__(config)
        self.drain, self.settings, self.tell_started = drain, settings, started
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell it."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.tell_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take the connections that are there already, then no others, and end when all are answered."""
        for listening in sockets or ():
            _refuse_connections(listening)
        await asyncio.sleep(_LAST_S / 5)
        left = max(0.0, self.drain.ends - time.monotonic())
        self.config.timeout_graceful_shutdown = math.ceil(left + 2 * _LAST_S)  # should something outlast `_cut_off`
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; a second signal stops at once."""
        if self._loop is None:
            self.should_exit = self.force_exit = True
            self.drain.ends = time.monotonic()
            return
        self._loop.call_soon_threadsafe(self._cut_off if self.drain.is_on else self._begin_drain)
        self.drain.is_on = True

    def _begin_drain(self) -> None:
        assert self._loop is not None
        log.warning("told to stop: %d requests are on the way and are answered; again stops at once", self.drain.in_flight)
        self.drain.ends = time.monotonic() + self.settings.drain_s
        self._loop.call_later(self.settings.drain_s, self._cut_off)
        self._draining = asyncio.ensure_future(self._drain(time.monotonic() + self.settings.linger_s))

    async def _drain(self, earliest: float) -> None:
        while not self.should_exit and (time.monotonic() < earliest or self.drain.in_flight):
            await asyncio.sleep(0.02)
        self.should_exit = True

    def _cut_off(self) -> None:
        """End at once: refuse what isn't answered yet, and soon break off the connections that don't take that."""
        assert self._loop is not None
        self.should_exit = self.force_exit = True
        self.drain.ends = min(self.drain.ends, time.monotonic())
        for task in self.server_state.tasks:
            task.cancel()
        for connection in self.server_state.connections:
            self._loop.call_later(_LAST_S, connection.transport.abort)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at the address. Raises UserError where it can't be."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((host, port))
            found.listen(_BACKLOG)  # already here: two servers can be bound to one address, and the later fails at this
        except BaseException:
            found.close()
            raise
    except (OSError, OverflowError) as error:
        raise UserError(
            f"can't listen at {host}, port {port} ({getattr(error, 'strerror', None) or error}); give another --port or --host"
        ) from None
    return found


def _refuse_connections(listening: socket.socket) -> None:
    """Have Linux drop what would be new connections: those that wait to be taken when a socket is closed would be lost."""
    if sys.platform == "linux":
        drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # BPF: return 0, which keeps nothing of a packet
        with suppress(OSError):
            listening.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(drop_all)))


def serve(
    models: Models,
    listening: socket.socket,
    *,
    token: str | None = None,
    cors: Sequence[str] = (),
    started: Callable[[], None] = lambda: None,
) -> int:
    """Answer requests until SIGTERM or Ctrl-C, and then until those on the way are. Return how many were refused after all.

    These are what isn't answered when `drain_s` is over, or at a second signal. Raises UserError where a model can't be started.
    """
    drain, stopping = Drain(), _Stopping(models)

    async def run() -> None:
        config = _configure(create_app(models, token=token, cors=cors, drain=drain), models)
        async with AsyncExitStack() as stack:
            if await stopping.unless_told(stack.enter_async_context(models.running(ends=lambda: drain.ends))):
                await Server(config, drain=drain, settings=models.settings, started=started).serve([listening])

    with stopping:
        asyncio.run(run())
    return drain.cut_off


def _configure(app: ASGIApp, models: Models) -> uvicorn.Config:
    for name in ("uvicorn", "python_multipart"):  # what they tell of requests that are refused is counted, and isn't the log's
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return uvicorn.Config(
        app,
        http=make_protocol(models.settings, models.metrics),
        ws="none",
        lifespan="off",  # the models run outside of it, so that what they can't do is told by the command line
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEAD_BYTES,
    )


class _Stopping:
    """What SIGTERM and Ctrl-C do before the server listens and after: no more is started, and the processes are killed."""

    def __init__(self, models: Models) -> None:
        self._models, self._is_told = models, False
        self._starting: asyncio.Future[object] | None = None

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, self._tell) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _tell(self, sig: int, frame: FrameType | None) -> None:
        self._is_told = True
        if self._starting is not None:
            with suppress(RuntimeError):  # the loop has ended, and all with it
                self._starting.get_loop().call_soon_threadsafe(self._end)

    def _end(self) -> None:
        assert self._starting is not None
        self._starting.cancel()
        self._models.kill()

    async def unless_told(self, starting: Coroutine[Any, Any, object]) -> bool:
        """Return whether it was done; else it was told to stop."""
        self._starting = asyncio.ensure_future(starting)
        if self._is_told:
            self._starting.cancel()
        try:
            await self._starting
        except asyncio.CancelledError:
            log.warning("told to stop while the models were being started")
            return False
        return True
