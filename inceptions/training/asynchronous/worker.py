"""A worker of asynchronous SGD: enters a `Job` and the number of a batch, leaves its gradient in the parameter server and a `StepDone`.

On Ray it is an actor. It keeps nothing that matters from one batch to the next: weights come from the server with every batch, pictures,
variations and dropout follow from the seed and the batch's number, and statistics of batch normalisation are those of the batch alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from inceptions.data.augment import Augment
from inceptions.data.dataset import Asked, Batch, EpochOrder, ImageDataset, Unreadable, split_evenly
from inceptions.data.preprocess import Preprocess
from inceptions.data.sampling import Sampling
from inceptions.data.splits import Sample
from inceptions.devices import memory_for
from inceptions.errors import DivergedError
from inceptions.networks.modules.models import training_module
from inceptions.networks.spec import Network
from inceptions.training.asynchronous.server import Arrays, BatchScore, Rule, Ticket
from inceptions.training.gradients import Gradients

SHARD_BYTES = 64 * 2**20  # of parameters; GoogLeNet, 28 MB, has one shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to train and how.

    gradients: how those of a batch are worked out, before they are pushed; must be picklable.
    checkpoints: folder of the shards' files; where it holds some, the run goes on from them.
    state: weights to begin with, as the network's `state_dict`; None for new ones, drawn with `seed`.
    interleaved: how many groups of samples an epoch is in at a time, as `Splits.interleaved` says.
    sampling: which samples an epoch has.
    """

    network: Network
    samples: Sequence[Sample]
    preprocess: Preprocess
    augment: Augment | None
    batch_size: int
    epochs: int
    seed: int
    gradients: Gradients
    rule: Rule
    checkpoints: Path
    state: Mapping[str, Tensor] | None = None
    on_error: Literal["fail", "skip"] = "fail"
    device: str = "cpu"
    shard_bytes: int = SHARD_BYTES
    interleaved: int = 1
    sampling: Sampling = "each_once"

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch, which has as many images as there are."""
        return len(split_evenly(len(self.samples), self.batch_size))


class StepDone(NamedTuple):
    """A batch whose gradient was pushed: images, how many were right, mean loss (nan with nothing learned), staleness, process."""

    batch: int
    images: int
    right: int
    loss: float
    staleness: int
    pid: int
    unreadable: tuple[Unreadable, ...]


class Worker:
    """A network that works out gradients. shards: handles of the `ServerShard`s; names: the tensors that each has.

    threads: how many this process computes with.
    """

    def __init__(self, job: Job, shards: Sequence[Any], names: Sequence[Sequence[str]], threads: int) -> None:
        torch.set_num_threads(threads)
        self.job, self.shards, self.names = job, shards, names
        self.device = torch.device(job.device)
        self.module = training_module(job.network).to(self.device).to(memory_format=torch.channels_last).train()
        self.parameters = dict(self.module.named_parameters())
        self.statistics = running_statistics(self.module)
        for layer in _batch_norms(self.module).values():
            layer.momentum = 1.0  # running statistics become those of the last batch; the server has the layer's own momentum
        self.reader = BatchReader(job)

    def step(self, ticket: Ticket, following: Ticket | None) -> StepDone:
        """Push the gradient of the batch `ticket`; meanwhile the pictures of `following` are read.

        Raises UserError when a picture can't be read, DivergedError when the loss is no number; nothing is pushed then.
        """
        batch = self.reader.read(ticket, following=following)
        count, loss, right = len(batch.labels), float("nan"), 0
        versions, gradients, statistics = [0] * len(self.shards), {}, {}
        if count > 1:  # batch normalisation can't learn from one
            versions = self._pull()
            loss, right = self._compute(batch, ticket)
            gradients = {name: _array(value.grad) for name, value in self.parameters.items() if value.grad is not None}
            statistics = {name: _array(value) for name, value in self.statistics.items()}
        staleness = self._push(ticket, versions, gradients, statistics, (count, right, loss))
        return StepDone(ticket.batch, count, right, loss, staleness, os.getpid(), batch.unreadable)

    def pid(self) -> int:
        """Return the number of the process."""
        return os.getpid()

    @torch.no_grad()
    def _pull(self) -> list[int]:
        import ray

        pulled = ray.get([shard.pull.remote() for shard in self.shards])
        for weights in pulled:
            for name, array in weights.arrays.items():
                parameter = self.parameters[name]
                host = parameter if parameter.is_cpu else torch.empty_like(parameter, device="cpu")
                np.copyto(host.numpy(), array)  # not from_numpy: Ray's arrays are read-only, in memory that others read
                if host is not parameter:
                    parameter.copy_(host)
        return [weights.version for weights in pulled]

    def _compute(self, batch: Batch, ticket: Ticket) -> tuple[float, int]:
        seed = np.random.SeedSequence((self.job.seed, *ticket)).generate_state(1, np.uint64)
        torch.manual_seed(int(seed[0] >> np.uint64(1)))  # dropout, the same whichever worker does the batch
        images = batch.images(self.device)
        labels = batch.labels
        targets = labels.to(self.device)
        self.module.zero_grad()
        gradients = self.job.gradients
        with memory_for(len(images), self.device):
            value, right, _ = gradients.compute(self.module, [(images, targets, labels)], total=gradients.loss.weight(labels))
        if not math.isfinite(value):
            raise DivergedError(f"the loss is {value} at epoch {ticket.epoch}, batch {ticket.batch}; train with a lower lr")
        return value, right

    def _push(self, ticket: Ticket, versions: Sequence[int], gradients: Arrays, statistics: Arrays, score: BatchScore) -> int:
        import ray

        calls = []
        for shard, names, version in zip(self.shards, self.names, versions, strict=True):
            parts = [{name: given[name] for name in names if name in given} for given in (gradients, statistics)]
            calls.append(shard.push.remote(ticket, version=version, gradients=parts[0], statistics=parts[1], score=score))
        return max(ray.get(calls))


class BatchReader:
    """Reads batches by number, the following one ahead in a thread (decoding leaves Python's lock to others)."""

    def __init__(self, job: Job) -> None:
        self.dataset = ImageDataset(
            job.samples,
            job.preprocess,
            augment=job.augment,
            seed=job.seed,
            on_error=job.on_error,
            interleaved=job.interleaved,
            sampling=job.sampling,
        )
        self.batch_size = job.batch_size
        self.thread = ThreadPoolExecutor(max_workers=1)
        self.order: list[Asked] = []
        self.ahead: dict[Ticket, Future[Batch]] = {}

    def read(self, ticket: Ticket, *, following: Ticket | None) -> Batch:
        """Return the batch `ticket` and begin to read `following`; raises ImageError."""
        coming = self.ahead.pop(ticket, None) or self.thread.submit(self._read, ticket)
        batch = coming.result()
        self.ahead = {} if following is None else {following: self.thread.submit(self._read, following)}
        return batch

    def _read(self, ticket: Ticket) -> Batch:
        if self.dataset.epoch != ticket.epoch:
            self.dataset.epoch = ticket.epoch
            self.order = list(EpochOrder(self.dataset, batch_size=self.batch_size, shuffle=True, start=0, even=True))
        return self.dataset.__getitems__(self.order[ticket.batch])


def running_statistics(module: nn.Module) -> dict[str, Tensor]:
    """Return the running means and variances of batch normalisation, by their names in the `state_dict`."""
    layers = _batch_norms(module).items()
    return {f"{name}.{which}": getattr(layer, which) for name, layer in layers for which in ("running_mean", "running_var")}


def statistics_momentum(module: nn.Module) -> dict[str, float]:
    """Return the momentum of each of `running_statistics`."""
    return {f"{name}.{which}": layer.momentum for name, layer in _batch_norms(module).items() for which in ("running_mean", "running_var")}


def _batch_norms(module: nn.Module) -> dict[str, Any]:
    return {name: part for name, part in module.named_modules() if isinstance(part, _BatchNorm) and part.track_running_stats}


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
