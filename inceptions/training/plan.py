"""What a run would take: enters a `Setup`, takes two real steps on made-up images, leaves cost, memory and time."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass, replace

import torch

from inceptions.data.dataset import Batch
from inceptions.networks.trace import trace
from inceptions.training.learner import Learner
from inceptions.training.processes import Processes
from inceptions.training.recipes import training_side
from inceptions.training.setup import Setup


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

    The time of smaller images (progressive resizing) is taken in proportion to their area.
    """
    recipe, count, batch = setup.recipe, len(setup.splits.train), setup.batch_size
    learner = Learner(setup, Processes(), steps_per_epoch=setup.steps_per_epoch)
    learner.begin_epoch(recipe.epochs)
    side = setup.network.image_size
    images = torch.rand(batch, setup.network.in_channels, side, side) * 2 - 1
    made_up = Batch(images, torch.randint(len(setup.splits.classes), (batch,)), torch.arange(batch), ())
    learner.learn(made_up)
    began = time.perf_counter()
    learner.learn(made_up)
    rate = batch / (time.perf_counter() - began)
    shares = sum((training_side(recipe, epoch=epoch, image_size=side) / side) ** 2 for epoch in range(1, recipe.epochs + 1))
    total = trace(replace(setup.network, aux=())).total
    return Plan(trace(setup.network).total.parameters, total.multiply_adds, _peak_memory(setup.device), rate, shares * count / rate)


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
