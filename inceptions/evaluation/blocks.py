"""What models make of images, block by block: enters models and samples, leaves probabilities of every class, averaged over the crops.

The softmax of each view is averaged per image (1409.4842, section 7). No more than a block of images has its probabilities in memory: of
seven models with three numbers of crops, those of ImageNet's validation images would be 4.2 GB. Of several processes, each has a share.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from inceptions.data.dataset import Unreadable
from inceptions.data.packed import PackedSamples
from inceptions.data.splits import Sample
from inceptions.devices import memory_for
from inceptions.errors import UserError
from inceptions.evaluation.crops import WHOLE, places_among
from inceptions.evaluation.protocols import with_protocol
from inceptions.evaluation.views import ViewBatch, Views, ViewSet, iterate_views
from inceptions.weights.card import ModelCard
from inceptions.weights.folder import LoadedModel

Advance = Callable[[int], None]  # is told how many views were computed


class Answering(Protocol):
    """A model that is run by other means than its torch module: its card, and what it makes of pixels."""

    @property
    def card(self) -> ModelCard:
        """What its folder says of it."""
        ...

    @property
    def share_of_cost(self) -> float:
        """What its answers took so far, in parts of the multiply-adds of the whole network."""
        ...

    def answer(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the probabilities (N, K) of each batch of pixels, uint8 (N, S, S, C), in order."""
        ...


Model = LoadedModel | Answering

BLOCK_NUMBERS = 2**25  # float32: 128 MiB
SCORED_IMAGES = 256  # at a time, for scoring takes several times the memory of what is scored


@dataclass(frozen=True, slots=True)
class Settings:
    """How images are gone through, as `evaluate` says: crops rising; device None is the CPU; part: (rank, number of processes)."""

    crops: tuple[int, ...]
    protocol: str
    batch_size: int
    device: torch.device | None
    workers: int | None
    part: tuple[int, int]

    @property
    def is_whole(self) -> bool:
        """Whether each image is cropped once, as the protocol says, and all views are of that."""
        return set(self.crops) <= set(WHOLE)


@dataclass(frozen=True, slots=True)
class Block:
    """What models make of N images that every one of them could read.

    indices (N,): the images' places among all samples. probabilities: of each model by name, for each number of crops, of each image, of
    each class (P, N, K), 0 to 1. unreadable: what was left out. views, seconds: of each model, reading and cropping included.
    """

    indices: Tensor
    probabilities: dict[str, Tensor]
    unreadable: tuple[Unreadable, ...]
    views: dict[str, int]
    seconds: dict[str, float]

    def split(self) -> Iterator[Block]:
        """Yield it in blocks of `SCORED_IMAGES`, the first of which has what was left out."""
        for start in range(0, max(1, len(self.indices)), SCORED_IMAGES):
            rows = slice(start, start + SCORED_IMAGES)
            found = {name: probabilities[:, rows] for name, probabilities in self.probabilities.items()}
            yield Block(self.indices[rows], found, () if start else self.unreadable, {}, {})

    def average(self, models: Sequence[str], place: int) -> Tensor:
        """Return the mean (N, K) over the models of the probabilities for the number of crops at `place`."""
        first, *others = models
        total = self.probabilities[first][place].clone()
        for name in others:
            total += self.probabilities[name][place]
        return total / len(models)


def iterate_blocks(
    models: Mapping[str, Model], samples: Sequence[Sample], *, classes: Sequence[str], settings: Settings, step: Advance | None = None
) -> Iterator[Block]:
    """Yield what the models make of this process's share of the samples, for classes by name; one block at least, if an empty one.

    Raises UserError: a protocol with many crops, or no such protocol; crops that are taken in different ways.
    """
    numbers = ", ".join(map(str, settings.crops))
    if not settings.is_whole and not set(settings.crops).isdisjoint(WHOLE[1:]):
        raise UserError(f"crops are {numbers}; 2 and 6 are views of the whole image, and others are cut out of it: evaluate them apart")
    if not settings.is_whole and settings.protocol != "model":
        raise UserError(f"protocol={settings.protocol} is for one crop, and crops are {numbers}; leave out one of the two")
    rank, world = settings.part
    mine = samples[rank::world]
    size = max(1, BLOCK_NUMBERS // (len(models) * len(settings.crops) * len(classes)))
    for start in range(0, max(1, len(mine)), size):
        places = range(rank + world * start, len(samples), world)[:size]
        yield _block(models, PackedSamples(mine[start : start + size]), places, classes, settings, step)


def _block(
    models: Mapping[str, Model],
    samples: PackedSamples,
    places: Sequence[int],
    classes: Sequence[str],
    settings: Settings,
    step: Advance | None,
) -> Block:
    """Return the block of these samples, which have their places among all."""
    found, unreadable, views, seconds = {}, {}, {}, {}
    for name, model in models.items():
        preprocess = with_protocol(model.card, settings.protocol)
        view_set = ViewSet(samples, preprocess, settings.crops[-1], settings.is_whole)
        began = time.perf_counter()
        found[name], bad, views[name] = _probabilities(model, view_set, classes, settings, step)
        seconds[name] = time.perf_counter() - began
        unreadable.update(bad)
    read = [place for place in range(len(samples)) if place not in unreadable]
    if unreadable:
        found = {name: probabilities[:, read] for name, probabilities in found.items()}
    indices = torch.tensor([places[place] for place in read], dtype=torch.int64)
    return Block(indices, found, tuple(unreadable.values()), views, seconds)


@torch.inference_mode()
def _probabilities(
    model: Model, views: ViewSet, classes: Sequence[str], settings: Settings, step: Advance | None
) -> tuple[Tensor, dict[int, Unreadable], int]:
    """Return the probabilities (P, N, K), the images that can't be read, by their place, and how many views there were."""
    crops = settings.crops
    columns = torch.tensor([model.card.classes.index(name) for name in classes])
    member = torch.zeros(len(crops), crops[-1], dtype=torch.bool)
    for row, number in enumerate(crops):
        member[row, places_among(number, crops[-1])] = True
    sums = torch.zeros(len(crops), len(views), len(classes))
    unreadable: dict[int, Unreadable] = {}
    on_the_way: deque[ViewBatch] = deque()

    def pixels() -> Iterator[Tensor]:
        for batch in iterate_views(views, batch_size=settings.batch_size, workers=settings.workers):
            if isinstance(batch, Views):
                unreadable[batch.place] = cast("Unreadable", batch.pixels)
            else:
                on_the_way.append(batch)
                yield batch.pixels

    count = 0
    for answers in _answer(model, views, pixels(), settings.device or torch.device("cpu")):
        batch, found = on_the_way.popleft(), answers[:, columns]
        for row in range(len(crops)):
            mine = member[row, batch.places]
            sums[row].index_add_(0, batch.owners[mine], found[mine])
        count += len(found)
        if step is not None:
            step(len(found))
    sums /= torch.tensor(crops, dtype=torch.float32)[:, None, None]
    return sums, unreadable, count


def _answer(model: Model, views: ViewSet, batches: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Yield the probabilities (N, K) of each batch of views, uint8 (N, C, S, S), in order."""
    if not isinstance(model, LoadedModel):
        yield from map(torch.from_numpy, model.answer(np.ascontiguousarray(pixels.numpy().transpose(0, 2, 3, 1)) for pixels in batches))
        return
    module = model.module.to(device).to(memory_format=torch.channels_last).eval()  # pyright: ignore[reportCallIssue]
    for pixels in batches:
        with memory_for(len(pixels), device):
            images = torch.from_numpy(views.preprocess.normalize_pixels(pixels.numpy()))
            found = module(images.to(device, memory_format=torch.channels_last, non_blocking=True)).float().softmax(1).cpu()
        yield found
