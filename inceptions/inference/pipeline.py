"""From pictures to predictions, all at once: enters pictures as they are found, leaves predictions in their order. Needs no torch.

Threads read, decode and resize pictures while the engine runs; Pillow lets go of Python's lock for that. A few batches are on the way at a
time, so that memory doesn't grow with the number of pictures. The n-th batch has the same pictures however often a run is begun.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from inceptions.cores import count_cores
from inceptions.data.decode import MAX_PIXELS, read_image
from inceptions.data.preprocess import Preprocess
from inceptions.data.splits import Sample
from inceptions.data.stored import Stored
from inceptions.errors import ImageError, UserError
from inceptions.inference.engines.base import Answers, Engine
from inceptions.inference.prediction import Prediction
from inceptions.names import shown
from inceptions.weights.card import ModelCard

OnError = Literal["fail", "skip"]
MOST_READERS = 32
_AHEAD = 3  # batches that are read while the engine has others


class Read(NamedTuple):
    """A picture as the engine reads it, uint8 (S, S, C); or None, and why it can't be read (in words that go on from its name)."""

    picture: Path | Stored
    pixels: np.ndarray | None
    error: str | None


def read_pixels(picture: Path | Stored, preprocess: Preprocess, *, on_error: OnError = "fail", max_pixels: int = MAX_PIXELS) -> Read:
    """Return the pixels of a picture. Raises ImageError where it can't be read and `on_error` is "fail"."""
    try:
        crop = preprocess.crop(read_image(picture, channels=preprocess.channels, max_pixels=max_pixels))
    except ImageError as error:
        if on_error == "fail":
            raise
        return Read(picture, None, str(error).removeprefix(f"{shown(picture)}: "))
    side = preprocess.image_size
    return Read(picture, np.asarray(crop).reshape(side, side, preprocess.channels), None)


def read_batches(
    pictures: Iterable[Path | Stored], preprocess: Preprocess, *, batch_size: int, on_error: OnError = "fail", workers: int | None = None
) -> Iterator[list[Read]]:
    """Yield the pictures, read, in batches, in order. workers: threads; 0 reads in this one; None is one for each core."""
    waiting = iter(pictures)
    if workers == 0:
        while batch := [read_pixels(picture, preprocess, on_error=on_error) for picture in islice(waiting, batch_size)]:
            yield batch
        return
    on_the_way: deque[list[Future[Read]]] = deque()
    with ThreadPoolExecutor(workers or count_readers(), thread_name_prefix="reader") as pool:
        try:
            while True:
                while len(on_the_way) < _AHEAD:
                    batch = [pool.submit(read_pixels, picture, preprocess, on_error=on_error) for picture in islice(waiting, batch_size)]
                    if not batch:
                        break
                    on_the_way.append(batch)
                if not on_the_way:
                    return
                yield [future.result() for future in on_the_way.popleft()]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def labelled_batches(samples: Sequence[Sample], preprocess: Preprocess, *, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches of pixels (N, S, S, C) and labels (N,), without the pictures that can't be read."""
    labels = iter(samples)
    for batch in read_batches((sample.path for sample in samples), preprocess, batch_size=batch_size, on_error="skip"):
        found = [(item.pixels, next(labels).label) for item in batch]
        read = [(pixels, label) for pixels, label in found if pixels is not None]
        if read:
            yield np.stack([pixels for pixels, _ in read]), np.array([label for _, label in read])


def count_readers() -> int:
    """Return how many threads should read here: as many as there are cores for this process, 32 at most."""
    return min(count_cores(), MOST_READERS)


def iterate_predictions(
    engine: Engine,
    card: ModelCard,
    pictures: Iterable[Path | Stored],
    *,
    top_k: int = 5,
    on_error: OnError = "fail",
    batch_size: int | None = None,
    workers: int | None = None,
) -> Iterator[list[Prediction]]:
    """Yield the predictions of each batch of pictures, in order, as they are computed.

    A network without classes gives predictions of none, with their vectors. batch_size: None is what the engine runs fastest with.
    Raises UserError for numbers that can't be; ImageError for a picture that can't be read, where `on_error` is "fail".
    """
    for name, number in (("top_k", top_k), ("batch_size", 1 if batch_size is None else batch_size)):
        if number < 1:
            raise UserError(f"{name} is {number}; it must be at least 1")
    batches = read_batches(pictures, card.preprocess, batch_size=batch_size or engine.batch_size, on_error=on_error, workers=workers)
    for batch, answers in _answer(engine, batches):
        yield list(_predictions(batch, answers, card.classes, top_k))


def _answer(engine: Engine, batches: Iterable[list[Read]]) -> Iterator[tuple[list[Read], Answers | None]]:
    """Yield each batch with the answers to the pictures in it that could be read; None where none could."""
    coming, waiting = iter(batches), deque[list[Read]]()

    def pixels() -> Iterator[np.ndarray]:
        for batch in coming:
            waiting.append(batch)
            found = [item.pixels for item in batch if item.pixels is not None]
            if not found:
                return  # so that the engine answers what it has, and no more than that waits
            yield np.stack(found)

    while True:
        for answers in engine.stream(pixels()):
            yield waiting.popleft(), answers
        if not waiting:
            return
        yield waiting.popleft(), None


def _predictions(batch: Sequence[Read], answers: Answers | None, names: tuple[str, ...], top_k: int) -> Iterator[Prediction]:
    if answers is None:
        answers = Answers(np.empty((0, len(names)), np.float32), np.empty((0, 0), np.float32))
    probabilities = answers.probabilities if names else np.empty((len(answers.vectors), 0), np.float32)
    rows = iter(zip(*top_classes(probabilities, names, top_k), answers.vectors, strict=True))
    for item in batch:
        if item.pixels is None:
            yield Prediction(item.picture, (), (), item.error)
        else:
            best, values, vector = next(rows)
            yield Prediction(item.picture, best, values, None, vector)


def top_classes(probabilities: np.ndarray, names: tuple[str, ...], top_k: int) -> tuple[list[tuple[str, ...]], list[tuple[float, ...]]]:
    """Return the likeliest classes of each image by probabilities (N, K), the likeliest first, and how likely they are."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    values = np.take_along_axis(probabilities, best, 1)
    return [tuple(names[place] for place in row) for row in best.tolist()], [tuple(row) for row in values.tolist()]
