"""From pictures as they arrive to answers, in batches: enters encoded pictures or pixels, leaves a row for each. Needs no torch.

Threads decode while the engine runs, and the next batch is read while it has others. A batch goes when it is full, or when its first
picture has waited for `wait_s`; a picture whose time is over by then is left out.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from inceptions.data.preprocess import Preprocess
from inceptions.data.stored import Stored
from inceptions.errors import ImageError, TooManyPixelsError
from inceptions.inference.engines.base import Answers, Engine
from inceptions.inference.pipeline import count_readers, read_pixels
from inceptions.names import shown


@dataclass(frozen=True, slots=True)
class Sent(Stored):
    """A picture that a client sent, by the name that the client gave it."""

    name: str
    data: bytes

    def read_bytes(self) -> bytes:
        """Return the bytes as they came."""
        return self.data

    def __str__(self) -> str:
        return self.name


class Job(NamedTuple):
    """A picture that is to be answered: encoded, or where `is_pixels` as the engine reads it, (S, S, C) of uint8.

    deadline: by `time.monotonic`, after which nobody waits for the answer.
    """

    number: int
    picture: Sent
    is_pixels: bool
    deadline: float


class Refused(NamedTuple):
    """Why a picture has no answer: a name of `problems.REASONS`, and words that go on from the picture's name."""

    number: int
    reason: str
    detail: str


Answer = Callable[[list[int], Answers], None]
Refuse = Callable[[Refused], None]


class Batches:
    """What stands between pictures that arrive and the engine. `answer` and `refuse` are called from threads, one at a time or not."""

    def __init__(
        self, engine: Engine, preprocess: Preprocess, *, batch_size: int, wait_s: float, max_pixels: int, answer: Answer, refuse: Refuse
    ) -> None:
        self.engine, self.preprocess = engine, preprocess
        self.batch_size, self.wait_s, self.max_pixels = batch_size, wait_s, max_pixels
        self._answer, self._refuse = answer, refuse
        self._pool = ThreadPoolExecutor(count_readers(), thread_name_prefix="reader")
        self._ready: queue.SimpleQueue[tuple[Job, np.ndarray] | None] = queue.SimpleQueue()
        self._is_done = False

    def add(self, job: Job) -> None:
        """Have a picture read, and then answered."""
        self._pool.submit(self._read, job)

    def finish(self) -> None:
        """Have `run` return when everything that was added is answered."""
        self._pool.shutdown(wait=True)
        self._ready.put(None)

    def run(self) -> None:
        """Answer until `finish` is called."""
        while not self._is_done:
            on_the_way: deque[list[int]] = deque()
            for answers in self.engine.stream(self._batches(on_the_way)):
                self._answer(on_the_way.popleft(), answers)

    def _batches(self, on_the_way: deque[list[int]]) -> Iterator[np.ndarray]:
        """Yield batches as long as pictures are ready; the first is waited for. Then the engine answers what it has."""
        batch = self._collect(may_wait=True)
        while batch:
            on_the_way.append([job.number for job, _ in batch])
            yield np.stack([pixels for _, pixels in batch])
            batch = self._collect(may_wait=False)

    def _collect(self, *, may_wait: bool) -> list[tuple[Job, np.ndarray]]:
        """Return the next batch; an empty one where nothing is ready and there is no waiting, or no more to come."""
        found: list[tuple[Job, np.ndarray]] = []
        ends = None  # when the batch goes, full or not
        while len(found) < self.batch_size and not self._is_done:
            left = None if ends is None else max(0.0, ends - time.monotonic())
            try:
                item = self._ready.get(may_wait if left is None else left > 0, left)
            except queue.Empty:
                break
            if item is None:
                self._is_done = True
            elif not self._is_late(item[0]):
                found.append(item)
                ends = ends or time.monotonic() + self.wait_s
        return found

    def _read(self, job: Job) -> None:
        if self._is_late(job):
            return
        try:
            pixels = self._pixels_of(job)
        except TooManyPixelsError as error:
            self._refuse(Refused(job.number, "too_many_pixels", self._said(job, error)))
        except ImageError as error:
            self._refuse(Refused(job.number, "unreadable", self._said(job, error)))
        except Exception as error:  # a decoder's own fault, or too little memory: it is this picture's, and the others go on
            self._refuse(Refused(job.number, "unreadable", f"can't be decoded ({type(error).__name__}); save it anew, or leave it out"))
        else:
            self._ready.put((job, pixels))

    def _pixels_of(self, job: Job) -> np.ndarray:
        if job.is_pixels:
            side, channels = self.preprocess.image_size, self.preprocess.channels
            return np.frombuffer(job.picture.data, np.uint8).reshape(side, side, channels)
        found = read_pixels(job.picture, self.preprocess, max_pixels=self.max_pixels)
        assert found.pixels is not None  # or it would have raised
        return found.pixels

    def _is_late(self, job: Job) -> bool:
        if time.monotonic() <= job.deadline:
            return False
        self._refuse(Refused(job.number, "deadline", "waited for longer than a request may take"))
        return True

    @staticmethod
    def _said(job: Job, error: ImageError) -> str:
        return str(error).removeprefix(f"{shown(job.picture)}: ")
