"""What a run would take: enters a `Setup`, takes real steps on made-up images, leaves cost, memory and time, or the batch that fits."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch

from inceptions.data.dataset import Batch
from inceptions.devices import available_memory, is_out_of_memory, memory_for
from inceptions.errors import UserError
from inceptions.networks.trace import trace
from inceptions.training.learner import Learner
from inceptions.training.processes import Processes, world_size
from inceptions.training.recipes import training_side
from inceptions.training.setup import Setup

STEPS = 16  # of an epoch, at the least; with fewer the learning rate would hardly move the weights


@dataclass(frozen=True, slots=True)
class Plan:
    """parameters; multiply_adds of an image, forward; memory in bytes; images_per_second and seconds of all epochs of training."""

    parameters: int
    multiply_adds: int
    memory: int
    images_per_second: float
    seconds: float


def measure_plan(setup: Setup) -> Plan:
    """Return the cost of the network, and what two steps at the last epoch's image size say of memory and time.

    Of several processes, each takes its share of a batch, as in training, and the memory is this one's. The time of smaller images
    (progressive resizing) is taken in proportion to their area.
    """
    recipe, count = setup.recipe, len(setup.splits.train)
    batch, side = setup.batch_size, setup.network.image_size
    share = -(-batch // world_size())
    learner, made_up = _learner(setup), _made_up(setup, share)
    with memory_for(share, setup.device):
        learner.learn(made_up)
        began = time.perf_counter()
        learner.learn(made_up)
    rate = batch / (time.perf_counter() - began)
    shares = sum((training_side(recipe, epoch=epoch, image_size=side) / side) ** 2 for epoch in range(1, recipe.epochs + 1))
    total = trace(replace(setup.network, aux=())).total
    return Plan(trace(setup.network).total.parameters, total.multiply_adds, _peak_memory(setup.device), rate, shares * count / rate)


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
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
