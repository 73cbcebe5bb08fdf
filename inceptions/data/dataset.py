"""Feed a network: enter samples and a `Preprocess`, leave batches of pixels, in an order that a seed decides.

Chance is drawn from (seed, epoch, index of the picture), so that a run doesn't depend on the number of workers and can be resumed within an
epoch. A picture that can't be read ends the run, or is left out of its batch and named there; none takes its place.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from inceptions.cores import count_cores
from inceptions.data.augment import Augment
from inceptions.data.bands import Picture
from inceptions.data.decode import read_image
from inceptions.data.packed import PackedSamples, number_groups
from inceptions.data.preprocess import Preprocess
from inceptions.data.sampling import Sampling, draw_places
from inceptions.data.splits import Sample
from inceptions.data.stored import Stored
from inceptions.devices import return_freed_memory
from inceptions.errors import DataError, ImageError, UserError
from inceptions.names import shown

FEW_SAMPLES = 1_000  # fewer are read sooner than worker processes start
MOST_WORKERS = 8
KEPT_PIXELS = 64 * 64  # pictures of no more are kept as they were decoded, for a file takes longer to open than they to be varied
KEPT_BYTES = 1 << 28  # of them in each process that reads
REDUCED_AT_LEAST = 2  # times the size of the crop that is made of it: what a training picture may be decoded at


@dataclass(frozen=True, slots=True)
class Example:
    """One picture, resized: uint8 (S, S, C); its class; its place in the data set."""

    pixels: np.ndarray
    label: int
    index: int


class Unreadable(NamedTuple):
    """A picture that was left out, and why (in words that go on from its path)."""

    path: Path | Stored
    reason: str


class Batch(NamedTuple):
    """Pictures (N, C, S, S) uint8, labels (N,) and places in the data set (N,) int64, and what was left out; N may be 0.

    Pixels lie in memory channel by channel of each, as convolutions read them fastest. They take a quarter of what floats would on their
    way from the processes that read, and to an accelerator.
    """

    pixels: Tensor
    labels: Tensor
    indices: Tensor
    unreadable: tuple[Unreadable, ...]
    preprocess: Preprocess

    def images(self, device: torch.device | str = "cpu", *, count: int | None = None) -> Tensor:
        """Return the pictures, or the first `count`, as the network reads them: normalised, float32 (N, C, S, S), channels last."""
        return normalize(self.pixels[:count].to(device, non_blocking=True), self.preprocess)


class Asked(NamedTuple):
    """Which pictures a batch is to have, by their places, and in which epoch, prepared how: all that differs from batch to batch.

    A picture that an epoch has more than once is at its place plus the number of all pictures for each time that it has been before.
    Processes that read keep the data set as it was when they began, for as many epochs as there are.
    """

    epoch: int
    preprocess: Preprocess
    indices: list[int]


class ImageDataset(Dataset[Example | Unreadable]):
    """Pictures read, and varied where there is an `augment`, when they are asked for.

    epoch, preprocess: set by the training loop before each pass. Epoch and seed decide the order and the variations.
    on_error: "fail" raises ImageError for a picture that can't be read, "skip" gives an `Unreadable` in its place.
    interleaved: how many groups of samples a shuffled pass is in at a time, as `Splits.interleaved` says.
    sampling: which pictures a shuffled pass has, as `sampling` says.

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
        sampling: Sampling = "each_once",
    ) -> None:
        self.samples = samples if isinstance(samples, PackedSamples) else PackedSamples(samples)
        self.groups = number_groups(samples)
        self.preprocess = preprocess
        self.augment = augment
        self.seed = seed
        self.on_error = on_error
        self.interleaved = interleaved
        self.sampling: Sampling = sampling
        self.mirrored: np.ndarray | None = None  # which pictures are in the first epoch, where they take turns
        if augment is not None and augment.alternate:
            self.mirrored = np.random.default_rng(seed).random(len(self.samples)) < 0.5
        self.epoch = 0
        self._kept: dict[int, Picture] = {}
        self._room = KEPT_BYTES

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Example | Unreadable:
        return next(self._items(Asked(self.epoch, self.preprocess, [range(len(self))[index]])))

    def __getitems__(self, asked: Asked) -> Batch:
        """Return the batch; torch's loader asks for it in one call."""
        return collate(list(self._items(asked)), preprocess=asked.preprocess)

    def _items(self, asked: Asked) -> Iterator[Example | Unreadable]:
        for place, rng in zip(asked.indices, self._chance(asked), strict=True):
            times, index = divmod(place, len(self.samples))
            pixels = self._pixels(index, rng, asked, turn=asked.epoch + times)
            yield pixels if isinstance(pixels, Unreadable) else Example(pixels, self.samples.label(index), index)

    def _pixels(self, index: int, rng: np.random.Generator, asked: Asked, *, turn: int) -> np.ndarray | Unreadable:
        path, preprocess = self.samples[index].path, asked.preprocess
        try:
            image = self._read(index, rng, asked)
        except ImageError as error:
            if self.on_error == "fail":
                raise
            return Unreadable(path, str(error).removeprefix(f"{shown(path)}: "))
        if self.augment is None:
            return preprocess.pixels_of(preprocess.crop(image))
        is_turn = None if self.mirrored is None else bool(self.mirrored[index]) ^ bool(turn % 2)
        return self.augment(image, preprocess.image_size, rng, is_turn=is_turn)

    def _read(self, index: int, rng: np.random.Generator, asked: Asked) -> Picture:
        """Return a picture, from memory if it is small and was read before; nothing that is done with it changes it."""
        if index in self._kept:
            return self._kept[index]
        divisors = [1]

        def choose(size: tuple[int, int]) -> int:
            divisors.append(self._divisor(size, rng, asked.preprocess.image_size))
            return divisors[-1]

        channels = asked.preprocess.channels
        image = read_image(self.samples[index].path, channels=channels, reduction=choose if self.augment else None)
        pixels = image.size[0] * image.size[1]
        if divisors[-1] == 1 and pixels <= KEPT_PIXELS and pixels * channels <= self._room:
            self._kept[index], self._room = image, self._room - pixels * channels
        return image

    def _divisor(self, size: tuple[int, int], rng: np.random.Generator, image_size: int) -> int:
        """Return by how much a JPEG of this size may be reduced: by the crop that `rng` is about to give, and is then set back from."""
        least = REDUCED_AT_LEAST * image_size
        if self.augment is None or min(size) < 2 * least or size[0] * size[1] <= KEPT_PIXELS:  # most pictures: nothing to gain
            return 1
        state = rng.bit_generator.state
        left, top, right, bottom = self.augment.draw_box(size, rng)
        rng.bit_generator.state = state
        return next((divisor for divisor in (8, 4, 2) if min(right - left, bottom - top) >= divisor * least), 1)

    def _chance(self, asked: Asked) -> Iterator[np.random.Generator]:
        """Yield the random numbers of each picture: seed and epoch are the key of a counter-based generator, the index is its counter.

        A generator of its own, `default_rng((seed, epoch, index))`, would take as long as the crop itself.
        """
        bits = np.random.Philox(np.random.SeedSequence((self.seed, asked.epoch)))
        rng, start = np.random.Generator(bits), bits.state
        for index in asked.indices:
            bits.state = start
            bits.advance(index << 64)
            yield rng


class EpochOrder(Sampler[Asked]):
    """The batches of one pass: in order, or drawn and in an order as the data set's seed and epoch decide; begins at batch `start`.

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

    def __iter__(self) -> Iterator[Asked]:
        order = self._permutation() if self.shuffle else list(range(len(self.dataset)))
        rank, world = self.part
        for first, end in list(pairwise([0, *self.ends]))[self.start :]:
            yield Asked(self.dataset.epoch, self.dataset.preprocess, order[first:end][rank::world])

    def __len__(self) -> int:
        return max(0, len(self.ends) - self.start)

    def _permutation(self) -> list[int]:
        state = np.random.SeedSequence((self.dataset.seed, self.dataset.epoch)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0] >> 1))
        dataset, count = self.dataset, len(self.dataset)
        places = draw_places(dataset.samples.labels, dataset.sampling, np.random.default_rng((dataset.seed, dataset.epoch)))
        order = torch.randperm(count, generator=generator)
        if dataset.groups is not None and dataset.interleaved <= dataset.groups.max():
            order = interleave(torch.from_numpy(dataset.groups[places % count]), dataset.interleaved, generator)
        return places[order.numpy()].tolist()


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

    @property
    def order(self) -> EpochOrder:
        """What the batches of a pass are; its `start` may be set before one."""
        assert isinstance(self.batch_sampler, EpochOrder)
        return self.batch_sampler

    def __iter__(self) -> Iterator[Batch]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Yield the batches; raises ImageError and DataError with their own line."""
        try:
            yield from super().__iter__()
        except (ImageError, DataError) as error:
            kind, text = type(error), str(error.args[0])  # the traceback, and below it what the worker raised
            raise kind(text.rpartition(f"\n{kind.__module__}.{kind.__qualname__}: ")[2].rstrip("\n")) from None

    def close(self) -> None:
        """End the processes that read for all passes: while an error's traceback holds them, torch complains of their end whatever goes on.

        What is done is done: that one of them was killed no longer matters.
        """
        iterator, self._iterator = self._iterator, None
        if iterator is not None:
            with suppress(RuntimeError):
                iterator._shutdown_workers()  # pyright: ignore[reportAttributeAccessIssue] -- torch has no public way


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
    """Return the loader of `Batch`es; each pass over it is the epoch that `dataset.epoch` says when it begins.

    workers: processes that read, for all passes; 0 reads in this one; None means what `choose_workers` says.
    start: number of batches to leave out at the beginning of each pass: those that a resumed epoch has had already.
    even: batches as `split_evenly` has them, to learn from; else each has `batch_size` pictures, and the last what is left.
    part: (rank, number of processes): this process's share of each batch, where several train together.

    Raises UserError for numbers that can't be.
    """
    for name, number, least in (("batch_size", batch_size, 1), ("workers", workers or 0, 0), ("start", start, 0)):
        if number < least:
            raise UserError(f"{name}={number} can't be used; it must be a whole number of at least {least}")
    readers = choose_workers(len(dataset)) if workers is None else workers
    order: Any = EpochOrder(dataset, batch_size=batch_size, shuffle=shuffle, start=start, even=even, part=part)  # torch has lists in mind
    return ImageLoader(
        dataset,
        batch_sampler=order,
        num_workers=readers,
        persistent_workers=readers > 0,
        collate_fn=_as_it_is,  # by the data set
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=begin_reading,
        generator=torch.Generator(),  # torch draws worker seeds, which nothing here uses, from the global generator otherwise
    )


def _as_it_is(batch: Any) -> Batch:
    return batch


def collate(items: Sequence[Example | Unreadable], *, preprocess: Preprocess) -> Batch:
    """Return the examples as one batch, and the unreadable ones beside them."""
    examples = [item for item in items if isinstance(item, Example)]
    side = preprocess.image_size
    pixels = np.stack([example.pixels for example in examples]) if examples else np.empty((0, side, side, preprocess.channels), np.uint8)
    return Batch(
        pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2),
        labels=torch.tensor([example.label for example in examples], dtype=torch.int64),
        indices=torch.tensor([example.index for example in examples], dtype=torch.int64),
        unreadable=tuple(item for item in items if isinstance(item, Unreadable)),
        preprocess=preprocess,
    )


def normalize(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    """Return RGB pixels (N, C, S, S), 0 to 255, as `Preprocess.normalize_pixels` does, on their device, float32 and channels last.

    Gradients go through it. Floats may be changed in place: give some that nobody needs any more.
    """
    if preprocess.channel_order == "bgr":
        pixels = pixels.flip(1)
    mean, std = _statistics(preprocess.mean, preprocess.std, pixels.device)
    return pixels.to(torch.float32, memory_format=torch.channels_last).sub_(mean).div_(std)


@cache
def _statistics(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return both as (1, C, 1, 1), brought to the device once; who asks first may be scoring, and who asks next may need gradients."""
    with torch.inference_mode(False):
        first, second = (torch.tensor(values, dtype=torch.float32, device=device).reshape(1, -1, 1, 1) for values in (mean, std))
    return first, second


def begin_reading(_worker: int) -> None:
    """Leave what a worker process inherited out of its garbage collection, which would write to, and so copy, every page of it.

    The memory of a picture, which may be large, it gives back, whatever the process that it was forked from does with its own.
    """
    gc.freeze()
    return_freed_memory()


def choose_workers(count: int) -> int:
    """Return how many processes should read `count` pictures here: 0 for few, else the cores less one, 8 at most."""
    return 0 if count < FEW_SAMPLES else min(count_cores() - 1, MOST_WORKERS)
