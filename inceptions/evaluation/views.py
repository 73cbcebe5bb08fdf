"""One or many views of each image, as batches: enters samples and a `Preprocess`, leaves batches of views, each with the image it is of.

An image is decoded once, in a worker process where that is worth it, and each scale of it is resized once. Batches are full whatever the
number of views of an image, so that many crops run at the rate of as many images; no more than a few images' views are held at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from inceptions.data.dataset import ImageLoader, Unreadable, begin_reading, choose_workers
from inceptions.data.decode import read_image
from inceptions.data.preprocess import Preprocess
from inceptions.data.splits import Sample
from inceptions.errors import ImageError
from inceptions.evaluation.crops import multi_crop, whole_views


class Views(NamedTuple):
    """The views of one image, uint8 (V, C, S, S), and its place in the data set; or why it can't be read."""

    pixels: Tensor | Unreadable
    place: int


class ViewBatch(NamedTuple):
    """Views of several images, uint8 (B, C, S, S); the image that each is of, and its place among the views."""

    pixels: Tensor
    owners: Tensor
    places: Tensor


@dataclass
class ViewSet(Dataset[Views]):
    """The images of `samples` with so many crops of each as a protocol takes or, if `is_whole`, views of what `preprocess` crops."""

    samples: Sequence[Sample]
    preprocess: Preprocess
    crops: int
    is_whole: bool

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Views:
        path, prep = self.samples[index].path, self.preprocess
        try:
            image = read_image(path, channels=prep.channels)
        except ImageError as error:
            return Views(Unreadable(path, str(error).removeprefix(f"{path}: ")), index)
        if self.is_whole:
            pixels = np.asarray(prep.crop(image)).reshape(prep.image_size, prep.image_size, prep.channels)
            return Views(torch.from_numpy(whole_views(pixels, self.crops).transpose(0, 3, 1, 2).copy()), index)
        return Views(multi_crop(image, crops=self.crops, image_size=prep.image_size, interpolation=prep.interpolation), index)


def iterate_views(views: ViewSet, *, batch_size: int, workers: int | None = None) -> Iterator[ViewBatch | Views]:
    """Yield batches of `batch_size` views, the last one smaller, and, as they come, the `Views` of images that can't be read.

    workers: processes that read; 0 reads in this one; None lets the machine decide, by the number of views.
    """
    readers = choose_workers(len(views) * views.crops) if workers is None else workers
    loader = ImageLoader(views, batch_size=None, num_workers=readers, worker_init_fn=begin_reading, generator=torch.Generator())
    waiting: list[tuple[Tensor, Tensor, Tensor]] = []
    held = 0
    for pixels, place in cast("Iterable[Views]", loader):
        if isinstance(pixels, Unreadable):
            yield Views(pixels, place)
            continue
        count = len(pixels)
        waiting.append((pixels, torch.full((count,), place), torch.arange(count)))
        held += count
        while held >= batch_size:
            batch, waiting = _take(waiting, batch_size)
            held -= batch_size
            yield _join(batch)
    if held:
        yield _join(_take(waiting, held)[0])


def _take(waiting: list[tuple[Tensor, Tensor, Tensor]], count: int) -> tuple[list[tuple[Tensor, ...]], list[tuple[Tensor, Tensor, Tensor]]]:
    """Return the first `count` views of what waits, and what is left."""
    taken: list[tuple[Tensor, ...]] = []
    left = list(waiting)
    while count:
        first = left.pop(0)
        part = min(count, len(first[0]))
        taken.append(tuple(column[:part] for column in first))
        if part < len(first[0]):
            left.insert(0, (first[0][part:], first[1][part:], first[2][part:]))
        count -= part
    return taken, left


def _join(parts: list[tuple[Tensor, ...]]) -> ViewBatch:
    return ViewBatch(*(torch.cat(column) for column in zip(*parts, strict=True)))
