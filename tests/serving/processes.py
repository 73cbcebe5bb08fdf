"""What stands in for the process of a model: it answers when a test says so, or at once."""

import asyncio
import itertools
import time

import numpy as np

from inceptions.serving.problems import Problem
from inceptions.serving.process import Reply


class FakeProcess:
    """Answers K classes, of which the one at the first byte of the picture is the likeliest; while `is_held`, when it is let go."""

    def __init__(self, classes: int, *, version: str = "1", is_held: bool = False) -> None:
        self.about = {"engine": "fake", "precision": "float32", "batch_size": 4, "version": version}
        self.ended, self.batch_sizes, self.classes, self.is_held = asyncio.Event(), [], classes, is_held
        self.asked: dict[int, tuple[asyncio.Future, bytes]] = {}
        self.numbers = itertools.count()
        self.is_closed = False
        self.within_s: float | None = None  # that it was given to end
        self.hangs_for_s = 0.0  # that it has owed an answer

    @property
    def waiting(self) -> int:
        return len(self.asked)

    @property
    def waits_since(self) -> float:
        return time.monotonic() - self.hangs_for_s

    def ask(self, head, body) -> asyncio.Future:
        assert not self.is_closed
        number, future = next(self.numbers), asyncio.get_running_loop().create_future()
        self.asked[number] = (future, bytes(body))
        if not self.is_held:
            asyncio.get_running_loop().call_soon(self.let_go)
        return future

    def let_go(self) -> None:
        for future, body in self.asked.values():
            if future.done():
                continue
            if body.startswith(b"bad"):
                future.set_exception(Problem("unreadable", "no image"))
                continue
            probabilities = np.full(self.classes, 0.1, np.float32)
            if self.classes:
                probabilities[body[0] % self.classes] = 0.8
            head = {"numbers": [0], "classes": self.classes, "features": 2}
            future.set_result(Reply(head, probabilities.tobytes() + np.array([1.5, -2], np.float32).tobytes(), 0))
        self.asked.clear()

    def kill(self) -> None:
        self.ended.set()

    async def close(self, *, within_s: float) -> None:
        self.within_s = within_s
        self.let_go()
        self.is_closed = True
