"""What models answer on images: enters models and samples, leaves the probabilities of every class of each image, averaged over its crops.

The softmax of each view is averaged per image (1409.4842, section 7). Of several processes, each asks on a share of the images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from inceptions.data.dataset import Unreadable
from inceptions.data.packed import PackedSamples
from inceptions.data.splits import Sample
from inceptions.errors import UserError
from inceptions.evaluation.crops import places_among
from inceptions.evaluation.protocols import with_protocol
from inceptions.evaluation.views import Views, ViewSet, iterate_views
from inceptions.weights.folder import LoadedModel

Step = Callable[[int], None]  # is told how many views were computed


@dataclass(frozen=True, slots=True)
class Way:
    """How images are gone through, as `evaluate` says: crops rising; device None is the CPU; part: (rank, number of processes)."""

    crops: tuple[int, ...]
    protocol: str
    batch_size: int
    device: torch.device | None
    workers: int | None
    part: tuple[int, int]

    @property
    def is_one_crop(self) -> bool:
        """Whether each image is cropped once, as the protocol says."""
        return self.crops == (1,)


@dataclass(frozen=True, slots=True)
class Answers:
    """What models answer on the N images of a share that every one of them could read.

    indices (N,): the images' places among all samples. probabilities: of each model by name, for each number of crops, of each image, of
    each class (P, N, K), 0 to 1. unreadable: what was left out. views_per_second: of each model, reading and cropping included.
    """

    indices: Tensor
    probabilities: dict[str, Tensor]
    unreadable: tuple[Unreadable, ...]
    views_per_second: dict[str, float]

    def average(self, models: Sequence[str], place: int) -> Tensor:
        """Return the mean (N, K) over the models of the probabilities for the number of crops at `place`."""
        return torch.stack([self.probabilities[name][place] for name in models]).mean(0)


def ask(
    models: Mapping[str, LoadedModel], samples: Sequence[Sample], *, classes: Sequence[str], way: Way, step: Step | None = None
) -> Answers:
    """Return what the models answer on this process's share of the samples, whose labels are not looked at, for classes by name.

    Raises UserError: a protocol with many crops, or no such protocol.
    """
    if not way.is_one_crop and way.protocol != "model":
        numbers = ", ".join(map(str, way.crops))
        raise UserError(f"protocol={way.protocol} is for one crop, and crops are {numbers}; leave out one of the two")
    rank, world = way.part
    mine = PackedSamples(samples[rank::world])
    found, unreadable, rates = {}, {}, {}
    for name, model in models.items():
        views = ViewSet(mine, with_protocol(model.card.preprocess, way.protocol), None if way.is_one_crop else way.crops[-1])
        found[name], bad, rates[name] = _ask(model, views, classes, way, step)
        unreadable.update(bad)
    places = [place for place in range(len(mine)) if place not in unreadable]
    if unreadable:
        found = {name: probabilities[:, places] for name, probabilities in found.items()}
    return Answers(rank + world * torch.tensor(places, dtype=torch.int64), found, tuple(unreadable.values()), rates)


@torch.inference_mode()
def _ask(
    model: LoadedModel, views: ViewSet, classes: Sequence[str], way: Way, step: Step | None
) -> tuple[Tensor, dict[int, Unreadable], float]:
    """Return the probabilities (P, N, K), the images that can't be read, by their place, and views per second."""
    crops, device = way.crops, way.device or torch.device("cpu")
    module = model.module.to(device).to(memory_format=torch.channels_last).eval()  # pyright: ignore[reportCallIssue]
    columns = torch.tensor([model.card.classes.index(name) for name in classes], device=device)
    member = torch.zeros(len(crops), crops[-1], dtype=torch.bool)
    for row, number in enumerate(crops):
        member[row, places_among(number, crops[-1])] = True
    sums = torch.zeros(len(crops), len(views), len(classes))
    unreadable: dict[int, Unreadable] = {}
    count, began = 0, time.perf_counter()
    for batch in iterate_views(views, batch_size=way.batch_size, workers=way.workers):
        if isinstance(batch, Views):
            unreadable[batch.place] = cast("Unreadable", batch.pixels)
            continue
        images = batch.images.to(device, memory_format=torch.channels_last, non_blocking=True)
        found = module(images).float().softmax(1)[:, columns].cpu()
        for row in range(len(crops)):
            mine = member[row, batch.places]
            sums[row].index_add_(0, batch.owners[mine], found[mine])
        count += len(images)
        if step is not None:
            step(len(images))
    counts = torch.tensor(crops, dtype=torch.float32)[:, None, None]
    return sums / counts, unreadable, count / max(time.perf_counter() - began, 1e-9)
