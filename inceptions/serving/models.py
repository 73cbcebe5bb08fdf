"""The models of a server: enters names and folders, leaves a version of each that answers.

One that ends is started again, and another takes its place when the folder holds a new one.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from inceptions.errors import ModelFolderError, UserError
from inceptions.inference.about import own_name
from inceptions.names import shown
from inceptions.serving.metrics import Metrics
from inceptions.serving.problems import Problem
from inceptions.serving.process import Process, Reply, start_process
from inceptions.serving.settings import Settings
from inceptions.serving.worker import Order, version_name
from inceptions.weights.card import CARD_NAME, WEIGHTS_NAME, ModelCard, read_card

log = logging.getLogger(__name__)

_NAME = re.compile(r"(?=.*[^\W_])[\w.=-]+")  # "." and ".." are steps in an address
_LONGEST_WAIT_S = 30.0  # between attempts to start a process that doesn't
_HANGING_S = 10.0  # behind the time that an answer may take
_ANSWERING_S = 35.0  # what the process of an earlier version may take to answer what it has, and to end
_CLOSING_S = 5.0  # what one may take that nobody waits for any more


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a request: what the client calls it, and its bytes; is_pixels: not encoded, but as the engine reads it."""

    name: str
    data: bytes | memoryview
    is_pixels: bool = False


class Row(NamedTuple):
    """What a model answers to one picture: probabilities (K,), empty without classes, and the vector (F,); float32."""

    probabilities: np.ndarray
    vector: np.ndarray


@dataclass(frozen=True, slots=True)
class Version:
    """A state of a model folder, and the process that runs it. name: changes with all that the folder's card says, weights included."""

    name: str
    card: ModelCard
    process: Process


class Model:
    """A model by its name: the version that answers now, and what keeps it so."""

    def __init__(self, name: str, folder: Path, order: Order, *, settings: Settings, metrics: Metrics) -> None:
        self.name, self.folder, self.order, self.settings, self.metrics = name, folder, order, settings, metrics
        self.current: Version | None = None
        self._explainer: Process | None = None
        self._explainer_lock = asyncio.Lock()
        self._seen: tuple[object, ...] = ()
        self._keeping: asyncio.Task[None] | None = None
        self._closing: dict[asyncio.Task[None], Process] = {}  # those of earlier versions
        self._requests = itertools.count()
        metrics.queue.labels(name).set_function(lambda: self.waiting)

    @property
    def is_ready(self) -> bool:
        """Whether it can answer."""
        return self.current is not None and not self.current.process.ended.is_set()

    @property
    def waiting(self) -> int:
        """How many pictures are on the way."""
        return self.current.process.waiting if self.current else 0

    def version(self) -> Version:
        """Return what answers now. Raises Problem where it is being started again."""
        if self.current is None or self.current.process.ended.is_set():
            raise Problem("starting", f"the model {self.name} is being started again; try again in a second")
        return self.current

    def check_room(self, images: int = 1) -> None:
        """Raise Problem where so many pictures find no room in the queue."""
        if self.waiting + images > self.settings.queue_images:
            raise Problem(
                "queue_full",
                f"{self.waiting} pictures wait for {self.name}, and with {images} more there would be more than "
                f"{self.settings.queue_images}; try again in a second, or send fewer at a time",
            )

    async def answer(self, version: Version, pictures: Sequence[Picture]) -> list[Row | Problem]:
        """Return the answer to each picture, or why there is none. Raises Problem where none can be had."""
        self.check_room(len(pictures))
        deadline = time.monotonic() + self.settings.timeout_s
        asked = [
            version.process.ask({"name": picture.name, "is_pixels": picture.is_pixels, "deadline": deadline}, picture.data)
            for picture in pictures
        ]
        await asyncio.wait(asked, timeout=self.settings.timeout_s)
        found: list[Row | Problem] = []
        for future in asked:
            if not future.done():
                late = f"the answer took longer than {self.settings.timeout_s:g} s; try again later, or send fewer pictures at a time"
                raise Problem("deadline", late)
            error = future.exception()
            if error is None:
                found.append(_row(future.result()))
            elif isinstance(error, Problem) and error.status < 500:
                found.append(error)
            else:
                raise error
        self._count(version, sum(isinstance(row, Row) for row in found))
        return found

    def _count(self, version: Version, images: int) -> None:
        self.metrics.images.labels(self.name).inc(images)
        for size in version.process.batch_sizes:
            self.metrics.batches.labels(self.name).observe(size)
        version.process.batch_sizes.clear()

    async def explain(self, pictures: Sequence[tuple[Picture, str]], *, method: str, max_side: int) -> list[bytes]:
        """Return the heat of each picture, for the class beside it, as a PNG that lies on it. Raises Problem where one can't be had."""
        process, limit_s = await self._open_explainer(), self.settings.heat_map_timeout_s
        if process.waiting + len(pictures) > self.settings.heat_maps:
            raise Problem(
                "queue_full",
                f"{process.waiting} pictures wait for heat maps already, and with {len(pictures)} more there would be more than "
                f"{self.settings.heat_maps}; try again in a few seconds",
            )
        shared = {"method": method, "max_side": max_side, "request": next(self._requests), "deadline": time.monotonic() + limit_s}
        asked = [process.ask({**shared, "name": picture.name, "target": target}, picture.data) for picture, target in pictures]
        try:
            async with asyncio.timeout(limit_s):
                return [(await future).body for future in asked]  # in the order in which the process answers
        except TimeoutError:
            raise Problem("deadline", f"heat maps took longer than {limit_s:g} s; take method gradcam, or fewer pictures") from None

    async def _open_explainer(self) -> Process:
        """Return the process that explains, started where it isn't: it brings torch, which nothing else here needs."""
        async with self._explainer_lock:
            if self._explainer is None or self._explainer.ended.is_set():
                try:
                    self._explainer = await start_process(replace(self.order, work="explain"))
                except UserError as error:
                    raise Problem("no_heat_maps", str(error)) from None
            return self._explainer

    async def start(self) -> None:
        """Start what answers. Raises UserError where it can't be."""
        self._seen = _look(self.folder)
        self.current = await self._start_version(read_card(self.folder))
        self._keeping = asyncio.create_task(self._keep())

    async def _start_version(self, card: ModelCard) -> Version:
        process = await start_process(self.order)
        name, wanted = process.about["version"], version_name(self.folder)
        if name != wanted:  # what answers, and what is said of it, must be of one version
            await process.close(within_s=_CLOSING_S)
            self._seen = ()
            raise ModelFolderError(f"{self.folder} changed while it was read; it is looked at again")
        return Version(name, card, process)

    async def _keep(self) -> None:
        """Look after the version that answers for as long as the server runs, whatever fails meanwhile."""
        wait_s = 0.0
        while True:
            try:
                is_well = await self._look_after()
            except Exception as error:  # or nobody would start what ends any more
                log.error("%s: looking after it failed (%s: %s); the watch goes on", self.name, type(error).__name__, shown(error))
                is_well = False
            wait_s = 0.0 if is_well else min(_LONGEST_WAIT_S, max(1.0, 2 * wait_s))
            await asyncio.sleep(wait_s)

    async def _look_after(self) -> bool:
        """Start again what ended, end what hangs, take a new version when it is there. Return whether what ended could be started."""
        assert self.current is not None
        process = self.current.process
        with suppress(TimeoutError):
            await asyncio.wait_for(process.ended.wait(), self.settings.watch_s)
        if process.ended.is_set():
            return await self._restart()
        if self._explainer is not None:  # what it makes after its time is for nobody, and others wait for it
            self._end_hanging(self._explainer, self.settings.heat_map_timeout_s, "makes its heat maps")
        if not self._end_hanging(process, self.settings.timeout_s, "runs it"):
            await self._follow()
        return True

    def _end_hanging(self, process: Process, limit_s: float, does: str) -> bool:
        """Return whether the process owes an answer for much longer than it may; then it is ended, and the next request has a new one."""
        hangs = time.monotonic() - process.waits_since > limit_s + _HANGING_S
        if hangs and not process.ended.is_set():
            log.error("%s: the process that %s gives no answers any more; it is ended", self.name, does)
            process.kill()
        return hangs

    async def _restart(self) -> bool:
        assert self.current is not None
        log.error("%s: the process that ran it ended; it is started again", self.name)
        self.metrics.restarts.labels(self.name).inc()
        try:
            self.current = await self._start_version(read_card(self.folder))
        except (UserError, OSError) as error:
            log.error("%s: it can't be started (%s)", self.name, error)
            return False
        log.warning("%s: started again", self.name)
        return True

    async def _follow(self) -> None:
        """Take the folder's new version where there is one, and whole; else the one that answers stays."""
        assert self.current is not None
        seen = _look(self.folder)
        if not seen or seen == self._seen:  # a folder that is being replaced isn't there for a moment
            return
        self._seen, before = seen, self.current
        try:
            self.current = await self._start_version(read_card(self.folder))
        except (UserError, OSError) as error:
            self.metrics.swaps.labels(self.name, "refused").inc()
            log.error("%s: there is a new version in %s that can't be taken (%s); the old one goes on", self.name, self.folder, error)
            return
        self.metrics.swaps.labels(self.name, "taken").inc()
        log.warning("%s: version %s in place of %s", self.name, self.current.name, before.name)
        for process in (before.process, self._explainer):
            if process is not None:
                task = asyncio.create_task(_finish_all(self.name, [process.close(within_s=_ANSWERING_S)]))
                self._closing[task] = process
                task.add_done_callback(self._closing.pop)
        self._explainer = None

    @property
    def _processes(self) -> list[Process]:
        known = (self.current.process if self.current else None, self._explainer, *self._closing.values())
        return [process for process in known if process is not None]

    def kill(self) -> None:
        """End all processes at once, and start none again."""
        if self._keeping is not None:
            self._keeping.cancel()
        for process in self._processes:
            process.kill()

    async def close(self, *, ends: float = math.inf) -> None:
        """End all processes: in a few seconds, for nobody waits for them any more, and when `time.monotonic` says `ends` at the latest."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        within_s = min(_CLOSING_S, ends - time.monotonic())
        await _finish_all(self.name, [*(process.close(within_s=within_s) for process in self._processes), *self._closing])


class Models(Mapping[str, Model]):
    """All models of a server, by name."""

    def __init__(self, folders: Mapping[str, Path], order: Order, *, settings: Settings, metrics: Metrics | None = None) -> None:
        self.settings, self.metrics = settings, metrics or Metrics()
        self._models = {
            name: Model(name, folder, replace(order, folder=str(folder)), settings=settings, metrics=self.metrics)
            for name, folder in folders.items()
        }

    def __getitem__(self, name: str) -> Model:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    @property
    def are_ready(self) -> bool:
        """Whether every one can answer."""
        return all(model.is_ready for model in self._models.values())

    def find(self, name: str | None) -> Model:
        """Return the model called so, or where there is no name the only one. Raises Problem where there is no such model."""
        known = ", ".join(self)
        if name is None and len(self) > 1:
            raise Problem("invalid", f"several models are served: say which with ?model=NAME, one of {known}")
        found = self._models.get(name) if name is not None else next(iter(self._models.values()))
        if found is None:
            raise Problem("not_found", f"no model is called {name!r}; there are {known}")
        return found

    def kill(self) -> None:
        """End all processes at once, and start none again."""
        for model in self._models.values():
            model.kill()

    @asynccontextmanager
    async def running(self, *, ends: Callable[[], float] = lambda: math.inf):
        """Have all of them running inside the block. Raises UserError where one can't be started.

        ends: asked behind the block for the time, by `time.monotonic`, at which their processes have to have ended.
        """
        try:
            for model in self._models.values():
                await model.start()
            yield self
        finally:
            await _finish_all("models", [model.close(ends=ends()) for model in self._models.values()])


def name_models(given: Sequence[str]) -> dict[str, str]:
    """Return folders and tags by name: NAME=FOLDER as it says, else a tag's own name, a folder's, or its run's where that is best or last.

    Raises UserError where a name can't be in an address, or two are alike.
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, source = text.partition("=")
        if not equals or "/" in name or Path(text).is_dir():
            name, source = _own_name(text), text
        if not _NAME.fullmatch(name):
            allowed = "letters, digits, '.', '-' and '_' can, with a letter or digit among them"
            raise UserError(f"{name!r} can't be the name of a model: {allowed}; give NAME={shown(source)}")
        if name in found:
            raise UserError(f"two models are called {name!r}: {found[name]} and {source}; give one of them another name: NAME={source}")
        found[name] = source
    return found


def _own_name(source: str) -> str:
    path = Path(source)
    return own_name(path) if path.is_dir() else source.rpartition("/")[2] or source


async def _finish_all(whose: str, closings: Sequence[Awaitable[None]]) -> None:
    """Wait for all of them; one that fails is told, and keeps no other from its end."""
    for error in await asyncio.gather(*closings, return_exceptions=True):
        if error is not None:
            log.error("%s: a process could not be closed (%s: %s)", whose, type(error).__name__, shown(error))


def _row(reply: Reply) -> Row:
    count, classes, features = len(reply.head["numbers"]), reply.head["classes"], reply.head["features"]
    values = np.frombuffer(reply.body, np.float32)
    probabilities, vectors = values[: count * classes].reshape(count, classes), values[count * classes :].reshape(count, features)
    return Row(probabilities[reply.place], vectors[reply.place])


def _look(folder: Path) -> tuple[object, ...]:
    """Return what changes when another version lies in the folder; nothing where there is none."""
    try:
        return tuple(
            (found.st_mtime_ns, found.st_size, found.st_ino) for found in ((folder / name).stat() for name in (CARD_NAME, WEIGHTS_NAME))
        )
    except OSError:
        return ()
