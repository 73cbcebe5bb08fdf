"""A process that runs a model, as the server sees it: enters pictures, leaves their answers, or a problem where it ended."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from typing import Any, NamedTuple

from inceptions.children import command_of
from inceptions.errors import UserError
from inceptions.serving.frames import Head, pack_head, receive_frame
from inceptions.serving.problems import Problem
from inceptions.serving.worker import Order

log = logging.getLogger(__name__)


class Reply(NamedTuple):
    """What a process says of one picture, or of several that it had together: the frame, and the picture's place in it."""

    head: Head
    body: bytes
    place: int


class Process:
    """A process that works; `ended` is set when it doesn't any more. about: what it said when it was ready."""

    def __init__(self, child: asyncio.subprocess.Process, about: dict[str, Any]) -> None:
        assert child.stdin is not None
        self.about = about
        self.ended = asyncio.Event()
        self.batch_sizes: list[int] = []  # of the batches that were answered since somebody looked
        self._child, self._input = child, child.stdin
        self._asked: dict[int, tuple[asyncio.Future[Reply], float]] = {}
        self._numbers = itertools.count()
        self._listening = asyncio.create_task(self._listen())

    @property
    def pid(self) -> int:
        """The process' number."""
        return self._child.pid

    @property
    def waiting(self) -> int:
        """How many pictures it hasn't answered yet."""
        return len(self._asked)

    @property
    def waits_since(self) -> float:
        """The time, by time.monotonic, at which it was asked for what it owes for longest; now where it owes nothing."""
        return next((asked for _, asked in self._asked.values()), time.monotonic())

    def ask(self, head: Head, body: bytes | memoryview) -> asyncio.Future[Reply]:
        """Return what will be its answer; a Problem where it refuses, or ends first."""
        number = next(self._numbers)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._asked[number] = (future, time.monotonic())
        self._input.write(pack_head({**head, "number": number}, len(body)))
        self._input.write(body)
        return future

    def kill(self) -> None:
        """End it at once."""
        if self._child.returncode is None:
            self._child.kill()

    async def close(self, *, within_s: float) -> None:
        """Have it answer what it owes, and end; one that then still runs is killed."""
        if not self._input.is_closing():
            self._input.close()
        try:
            await asyncio.wait_for(self._child.wait(), max(0.0, within_s))
        except TimeoutError:
            self.kill()
        await self._listening

    async def _listen(self) -> None:
        assert self._child.stdout is not None
        try:
            while True:
                head, body = await receive_frame(self._child.stdout)
                self._take(head, body)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            await self._child.wait()
            self.ended.set()
            for future, _ in self._asked.values():
                if not future.done():
                    future.set_exception(Problem("worker_lost", "the process that runs the model ended; it is started again: try again"))
                    future.exception()  # nobody may be waiting any more
            self._asked.clear()

    def _take(self, head: Head, body: bytes) -> None:
        if "numbers" not in head:
            future, _ = self._asked.pop(head["number"])
            if not future.done():
                future.set_exception(Problem(head["reason"], head["detail"]))
                future.exception()
            return
        self.batch_sizes.append(len(head["numbers"]))
        for place, number in enumerate(head["numbers"]):
            future, _ = self._asked.pop(number)
            if not future.done():
                future.set_result(Reply(head, body, place))


async def start_process(order: Order) -> Process:
    """Return a process that is ready. Raises UserError where it can't be, with what it says."""
    pipe = asyncio.subprocess.PIPE
    command = command_of("inceptions.serving.worker", order.to_json())
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=2**20)
    assert child.stdout is not None
    try:
        about, _ = await receive_frame(child.stdout)
    except (asyncio.IncompleteReadError, OSError):
        code = await child.wait()
        raise UserError(f"the process that was to run {order.folder} ended ({describe_exit(code)}); the lines above may say why") from None
    except BaseException:
        child.kill()
        await child.wait()
        raise
    if "error" in about:
        await child.wait()
        raise UserError(about["error"])
    return Process(child, about)


def describe_exit(code: int | None) -> str:
    """Return how a process ended, in words."""
    return f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
