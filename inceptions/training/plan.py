"""What a run would take: enters a `Setup`, takes steps on made-up images and reads real ones, leaves cost, memory and time.

Or the batch that fits.
"""

from __future__ import annotations

import resource
import sys
import time
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from itertools import chain, repeat

import torch

from inceptions.data.dataset import Batch
from inceptions.devices import available_memory, is_out_of_memory, memory_for
from inceptions.errors import UserError
from inceptions.networks.trace import trace
from inceptions.training.features import keeps_features
from inceptions.training.learner import Learner
from inceptions.training.loop import set_epoch, training_loader
from inceptions.training.processes import Processes, world_size
from inceptions.training.progress import peak_memory
from inceptions.training.recipes import training_side
from inceptions.training.setup import Setup

READ_BATCHES, MOST_BATCHES, READ_SECONDS = 2, 64, 1.0  # by which the time of reading is measured: at least, at most, and for so long
STEPS = 16  # of an epoch, at the least; with fewer the learning rate would hardly move the weights


@dataclass(frozen=True, slots=True)
class Plan:
    """parameters; multiply_adds of an image, forward; memory in bytes; images_per_second and seconds of all epochs of training.

    step_images_per_second: of steps alone, on images that are there. read_images_per_second: of reading alone; None where it wasn't
    measured. readers: processes that read while steps are taken; with none of them, images are read between steps.
    """

    parameters: int
    multiply_adds: int
    memory: int
    images_per_second: float
    seconds: float
    step_images_per_second: float
    read_images_per_second: float | None
    readers: int

    @property
    def is_slower_to_read(self) -> bool:
        """Whether reading is the slower of the two."""
        return self.read_images_per_second is not None and self.read_images_per_second < self.step_images_per_second


def measure_plan(setup: Setup, *, workers: int | None = None) -> Plan:
    """Return the cost of the network, and what two steps at the last epoch's image size, and reading some batches, say of memory and time.

    workers: that read, as for `image_loader`. Steps and reading are measured one after the other, each with the machine to itself; the time
    is that of the slower, or of both where no other process reads. On the CPU they share its cores in training, which then takes longer.
    Of several processes, each takes its share of a batch, as in training, and the memory is this one's. The time of steps on smaller images
    (progressive resizing) is taken in proportion to their area; reading takes as long, for most of it is decoding. Reading isn't measured
    of asynchronous recipes, whose workers each read for themselves. Epochs on features that are kept of a frozen body take no time but the
    first, in which they are computed.
    """
    recipe, count = setup.recipe, len(setup.splits.train)
    batch, side = setup.batch_size, setup.network.image_size
    share = -(-batch // world_size())
    learner, made_up = _learner(setup), _made_up(setup, share)
    with memory_for(share, setup.device):
        learner.learn(made_up)
        began = time.perf_counter()
        learner.learn(made_up)
    step = batch / (time.perf_counter() - began)
    memory = _peak_memory(setup.device)
    readers, read = (0, None) if recipe.asynchronous else _reading_rate(setup, workers=workers, part=learner.processes.part)

    def seconds(share: float) -> float:
        """Return those of an image of so much of the area."""
        of_step, of_reading = share / step, 1 / read if read else 0.0
        return max(of_step, of_reading) if readers else of_step + of_reading

    epochs = [epoch for epoch in range(1, recipe.epochs + 1) if epoch == 1 or not _has_features(setup, epoch=epoch)]
    shares = [(training_side(recipe, epoch=epoch, image_size=side) / side) ** 2 for epoch in epochs]
    total = trace(replace(setup.network, aux=())).total
    return Plan(
        parameters=trace(setup.network).total.parameters,
        multiply_adds=total.multiply_adds,
        memory=memory,
        images_per_second=1 / seconds(1.0),
        seconds=count * sum(map(seconds, shares)),
        step_images_per_second=step,
        read_images_per_second=read,
        readers=readers,
    )


def _has_features(setup: Setup, *, epoch: int) -> bool:
    """Return whether an epoch's features are there once the first epoch has computed them."""
    recipe = setup.recipe
    kept = keeps_features(recipe, setup.network) and not recipe.asynchronous
    return kept and recipe.finetune is not None and recipe.finetune.open_parts(epoch=epoch) <= 1


def _reading_rate(setup: Setup, *, workers: int | None, part: tuple[int, int]) -> tuple[int, float]:
    """Return how many processes read, and how many images a second come, to all processes that train, once the readers are under way."""
    with closing(training_loader(setup, workers=workers, part=part)) as loader:
        set_epoch(loader, setup, epoch=setup.recipe.epochs)
        batches = chain.from_iterable(repeat(loader))  # an epoch may be shorter than what is read here
        for _ in range(1 + 2 * loader.num_workers):  # what each is asked for at once as it starts, which takes time of its own
            next(batches)
        began, images, read = time.perf_counter(), 0, 0
        while read < READ_BATCHES or (read < MOST_BATCHES and time.perf_counter() - began < READ_SECONDS):
            batch = next(batches)
            images, read = images + len(batch.labels) + len(batch.unreadable), read + 1
        return loader.num_workers, images * part[1] / (time.perf_counter() - began)


def find_batch_size(setup: Setup, *, limit: int | None = None) -> int:
    """Return the largest batch whose training step fits into memory, of 2, 4, 8 and so on; an epoch keeps at least sixteen steps of it.

    On an accelerator the steps are tried until one doesn't fit. On the CPU, where a system ends processes rather than say no, the next is
    tried if twice what the last one took fits into `limit` bytes, half of what is free unless it is given.
    Raises UserError where not even the smallest fits, or where the memory is not one process's alone.
    """
    if setup.recipe.asynchronous or world_size() > 1:
        raise UserError("the batch size can't be found for several processes at once; find it with one, or give a number")
    limit = available_memory() // 2 if limit is None else limit
    smallest = 2 * setup.recipe.accumulate
    largest = max(smallest, len(setup.splits.train) // STEPS)
    learner, before, size = _learner(setup), _peak_memory(setup.device), smallest
    while True:
        with memory_for(size, setup.device) if size == smallest else nullcontext():
            try:
                learner.learn(_made_up(setup, size))
            except RuntimeError as error:
                if size == smallest or not is_out_of_memory(error):
                    raise
                return size // 2
        is_full = setup.device.type == "cpu" and 2 * (_peak_memory(setup.device) - before) > limit
        if is_full or 2 * size > largest:
            return size
        size *= 2


def _learner(setup: Setup) -> Learner:
    learner = Learner(setup, Processes(), steps_per_epoch=setup.steps_per_epoch)
    learner.begin_epoch(setup.recipe.epochs)
    return learner


def _made_up(setup: Setup, count: int) -> Batch:
    side = setup.network.image_size
    pixels = torch.randint(256, (count, setup.network.in_channels, side, side), dtype=torch.uint8)
    return Batch(pixels, torch.randint(len(setup.splits.classes), (count,)), torch.arange(count), (), setup.preprocess)


def _peak_memory(device: torch.device) -> int:
    held = peak_memory(str(device))
    if held is not None:
        return held
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
