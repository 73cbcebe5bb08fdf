"""Feed a network: enter samples and a `Preprocess`, leave batches of tensors, in an order that a seed decides.

Chance is drawn from (seed, epoch, index of the picture), so that a run doesn't depend on the number of workers and can be resumed within an
epoch. A picture that can't be read ends the run, or is left out of its batch and named there; none takes its place.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from inceptions.data.augment import Augment
from inceptions.data.bands import Picture
from inceptions.data.decode import Reduction, read_image
from inceptions.data.packed import PackedSamples, number_groups
from inceptions.data.preprocess import Preprocess
from inceptions.data.splits import Sample
from inceptions.data.stored import Stored
from inceptions.errors import DataError, ImageError, UserError
from inceptions.names import shown

FEW_SAMPLES = 1_000  # fewer are read sooner than worker processes start
MOST_WORKERS = 8
REDUCED_AT_LEAST = 2  # times the size of the crop that is made of it: what a training picture may be decoded at


@dataclass(frozen=True, slots=True)
class Example:
    """One picture as a network reads it: float32 (C, S, S); its class; its place in the data set."""

    image: Tensor
    label: int
    index: int


class Unreadable(NamedTuple):
    """A picture that was left out, and why (in words that go on from its path)."""

    path: Path | Stored
    reason: str


class Batch(NamedTuple):
    """Pictures (N, C, S, S) float32, labels (N,) and places in the data set (N,) int64, and what was left out; N may be 0."""

    images: Tensor
    labels: Tensor
    indices: Tensor
    unreadable: tuple[Unreadable, ...]


class ImageDataset(Dataset[Example | Unreadable]):
    """Pictures read, varied (where there is an `augment`) and normalised when they are asked for.

    epoch: set by the training loop before each pass; with the seed it decides the order and the variations.
    on_error: "fail" raises ImageError for a picture that can't be read, "skip" gives an `Unreadable` in its place.
    interleaved: how many groups of samples a shuffled pass is in at a time, as `Splits.interleaved` says.

    With an `augment`, a JPEG whose crop is at least four times as large as the network's input is decoded at a half, a quarter or an eighth
    of its size, so that twice the input's is left to resize from. Pixels then differ by about a level; evaluation and prediction, which
    are to give what the papers' protocols give, decode every pixel.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        preprocess: Preprocess,
        *,
        augment: Augment | None = None,
        seed: int = 0,
        on_error: Literal["fail", "skip"] = "fail",
        interleaved: int = 1,
    ) -> None:
        self.samples = samples if isinstance(samples, PackedSamples) else PackedSamples(samples)
        self.groups = number_groups(samples)
        self.preprocess = preprocess
        self.augment = augment
        self.seed = seed
        self.on_error = on_error
        self.interleaved = interleaved
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Example | Unreadable:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Example | Unreadable]:
        """Return one item for each index; torch's loader asks for a batch in one call.

        All are cropped before any is normalised, which keeps each step's code in the processor's cache: small pictures come faster.
        """
        crops = [self._crop(index, rng) for index, rng in zip(indices, self._chance(indices), strict=True)]
        return [crop if isinstance(crop, Unreadable) else self._example(crop, index) for crop, index in zip(crops, indices, strict=True)]

    def _crop(self, index: int, rng: np.random.Generator) -> Picture | Unreadable:
        path = self.samples[index].path
        try:
            image = read_image(path, channels=self.preprocess.channels, reduction=self._reduction(rng))
        except ImageError as error:
            if self.on_error == "fail":
                raise
            return Unreadable(path, str(error).removeprefix(f"{shown(path)}: "))
        if self.augment is None:
            return self.preprocess.crop(image)
        return self.augment(image, self.preprocess.image_size, rng)

    def _reduction(self, rng: np.random.Generator) -> Reduction | None:
        """Return what decides by how much a JPEG may be reduced: by the crop that `rng` is about to give, and is then set back from."""
        augment, least = self.augment, REDUCED_AT_LEAST * self.preprocess.image_size
        if augment is None:
            return None

        def choose(size: tuple[int, int]) -> int:
            if min(size) < 2 * least:  # most pictures: nothing to gain
                return 1
            state = rng.bit_generator.state
            left, top, right, bottom = augment.draw_box(size, rng)
            rng.bit_generator.state = state
            return next((divisor for divisor in (8, 4, 2) if min(right - left, bottom - top) >= divisor * least), 1)

        return choose

    def _example(self, crop: Picture, index: int) -> Example:
        return Example(torch.from_numpy(self.preprocess.normalize(crop)), self.samples.label(index), index)

    def _chance(self, indices: Sequence[int]) -> Iterator[np.random.Generator]:
        """Yield the random numbers of each picture: seed and epoch are the key of a counter-based generator, the index is its counter.

        A generator of its own, `default_rng((seed, epoch, index))`, would take as long as the crop itself.
        """
        bits = np.random.Philox(np.random.SeedSequence((self.seed, self.epoch)))
        rng, start = np.random.Generator(bits), bits.state
        for index in indices:
            bits.state = start
            bits.advance(index << 64)
            yield rng


class EpochOrder(Sampler[list[int]]):
    """The batches of one pass: indices in order, or in a permutation that the data set's seed and epoch decide; begins at batch `start`.

    Where samples have groups, such as shards that are fetched one by one, the groups are in random order, and so many of them are read at a
    time as the data set says; see `interleave`.
    """

    def __init__(
        self, dataset: ImageDataset, *, batch_size: int, shuffle: bool, start: int, even: bool = False, part: tuple[int, int] = (0, 1)
    ) -> None:
        self.dataset = dataset
        self.shuffle = shuffle
        self.start = start
        self.part = part
        count = len(dataset)
        self.ends = split_evenly(count, batch_size) if even else [*range(batch_size, count, batch_size), count]

    def __iter__(self) -> Iterator[list[int]]:
        order = self._permutation() if self.shuffle else list(range(len(self.dataset)))
        rank, world = self.part
        for first, end in list(pairwise([0, *self.ends]))[self.start :]:
            yield order[first:end][rank::world]

    def __len__(self) -> int:
        return max(0, len(self.ends) - self.start)

    def _permutation(self) -> list[int]:
        state = np.random.SeedSequence((self.dataset.seed, self.dataset.epoch)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0] >> 1))
        order = torch.randperm(len(self.dataset), generator=generator)
        groups, together = self.dataset.groups, self.dataset.interleaved
        if groups is None or together > groups.max():
            return order.tolist()
        return interleave(torch.from_numpy(groups), together, generator).tolist()


def split_evenly(count: int, batch_size: int) -> list[int]:
    """Return where each of the batches ends that `count` pictures make: as few as can be, and all of nearly the same size.

    No picture is left out, and none is alone in a batch, which batch normalisation couldn't learn from: batches of two may become three.
    """
    batches = max(1, min(-(-count // batch_size), count // 2))
    return [(batch + 1) * count // batches for batch in range(batches)]


def interleave(groups: Tensor, together: int, generator: torch.Generator) -> Tensor:
    """Return an order (N,) of the samples whose groups (N,) are numbered from 0, which is in `together` groups at any time.

    The groups stand in random order. Each gives its samples, at random moments, while those about it give theirs: the window moves on by
    one group as one ends and another begins. At both ends of the pass it is half as wide.
    """
    count = int(groups.max()) + 1
    middle = torch.randperm(count, generator=generator)[groups] + 0.5
    first, last = (middle - together / 2).clamp_min(0), (middle + together / 2).clamp_max(count)
    return (first + (last - first) * torch.rand(len(groups), generator=generator, dtype=torch.float64)).argsort()


class ImageLoader(DataLoader[Any]):
    """torch's loader, but for what can't be read in a worker process, where torch would raise a traceback as the message."""

    def __iter__(self) -> Iterator[Batch]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Yield the batches; raises ImageError and DataError with their own line."""
        try:
            yield from super().__iter__()
        except (ImageError, DataError) as error:
            kind, text = type(error), str(error.args[0])  # the traceback, and below it what the worker raised
            raise kind(text.rpartition(f"\n{kind.__module__}.{kind.__qualname__}: ")[2].rstrip("\n")) from None


def image_loader(
    dataset: ImageDataset,
    *,
    batch_size: int,
    shuffle: bool,
    workers: int | None = None,
    start: int = 0,
    even: bool = False,
    part: tuple[int, int] = (0, 1),
) -> ImageLoader:
    """Return the loader of `Batch`es; each pass over it is the epoch that `dataset.epoch` says.

    workers: processes that read; 0 reads in this one; None means what `choose_workers` says.
    start: number of batches to leave out at the beginning of each pass: those that a resumed epoch has had already.
    even: batches as `split_evenly` has them, to learn from; else each has `batch_size` pictures, and the last what is left.
    part: (rank, number of processes): this process's share of each batch, where several train together.

    Raises UserError for numbers that can't be.
    """
    for name, number, least in (("batch_size", batch_size, 1), ("workers", workers or 0, 0), ("start", start, 0)):
        if number < least:
            raise UserError(f"{name}={number} can't be used; it must be a whole number of at least {least}")
    side = dataset.preprocess.image_size
    return ImageLoader(
        dataset,
        batch_sampler=EpochOrder(dataset, batch_size=batch_size, shuffle=shuffle, start=start, even=even, part=part),
        num_workers=choose_workers(len(dataset)) if workers is None else workers,
        collate_fn=partial(collate, shape=(dataset.preprocess.channels, side, side)),
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=freeze_garbage,
        generator=torch.Generator(),  # torch draws worker seeds, which nothing here uses, from the global generator otherwise
    )


def collate(items: Sequence[Example | Unreadable], *, shape: tuple[int, int, int]) -> Batch:
    """Return the examples as one batch, and the unreadable ones beside them; `shape` is an image's, for a batch that has none."""
    examples = [item for item in items if isinstance(item, Example)]
    images = torch.stack([example.image for example in examples]) if examples else torch.empty(0, *shape)
    return Batch(
        images=images,
        labels=torch.tensor([example.label for example in examples], dtype=torch.int64),
        indices=torch.tensor([example.index for example in examples], dtype=torch.int64),
        unreadable=tuple(item for item in items if isinstance(item, Unreadable)),
    )


def freeze_garbage(_worker: int) -> None:
    """Leave what the worker process inherited out of its garbage collection, which would write to, and so copy, every page of it."""
    gc.freeze()


def choose_workers(count: int) -> int:
    """Return how many processes should read `count` pictures here: 0 for few, else the cores less one, 8 at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if count < FEW_SAMPLES else min(cores - 1, MOST_WORKERS)
