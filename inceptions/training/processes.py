"""Several processes that train one network, each with a share of every batch: enters `torchrun`'s environment, leaves who is who.

With one process everything here does nothing, so that the loop reads the same.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from inceptions.errors import UserError
from inceptions.evaluation.score import Score, join

log = logging.getLogger("inceptions")

SHARES_BATCH_NORM = ("cuda", "xpu", "hpu")  # devices that torch.nn.SyncBatchNorm knows


class Processes:
    """The processes of a run: `rank` of this one, how many there are (`world`); the first writes."""

    def __init__(self) -> None:
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
        if self.world > 1 and not distributed.is_initialized():
            if torch.cuda.is_available():  # each process has a GPU of its own
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
            self._meet("nccl" if torch.cuda.is_available() else "gloo")

    def _meet(self, backend: str) -> None:
        """Meet the other processes: after a restart under a name of its own, for torchrun keeps the store where the dead left addresses.

        That is github.com/pytorch/pytorch/issues/135712. On several machines counts of restarts may differ, and the name would too.
        """
        if self.restarts and os.environ.get("LOCAL_WORLD_SIZE") == str(self.world):
            store, _, _ = next(rendezvous("env://"))
            fresh = PrefixStore(f"restart-{self.restarts}", store)
            distributed.init_process_group(backend, store=fresh, rank=self.rank, world_size=self.world)
        else:
            distributed.init_process_group(backend)

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    @property
    def part(self) -> tuple[int, int]:
        """Return (rank, world), this process's share of each batch."""
        return self.rank, self.world

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module so that its gradients are averaged over all processes."""
        return DistributedDataParallel(module) if self.world > 1 else module

    def share_batch_norm(self, module: nn.Module, device: torch.device) -> None:
        """Have the batch normalisation of `module` take its statistics over all processes; its tensors and their names stay.

        Raises UserError on a device on which torch can't.
        """
        if self.world == 1:
            log.warning("sync_bn changes nothing, for there is one process")
        elif device.type not in SHARES_BATCH_NORM:
            raise UserError(
                f"sync_bn can't be had on {device.type}, only on {', '.join(SHARES_BATCH_NORM)}; train with --set sync_bn=false"
            )
        else:
            nn.SyncBatchNorm.convert_sync_batchnorm(module)

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return each value added up over all processes."""
        if self.world == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device="cuda" if torch.cuda.is_available() else "cpu")
        distributed.all_reduce(total)
        return total.tolist()

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in the order of their ranks."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values

    def merge(self, score: Score) -> Score:
        """Return the score of all images, of which this process scored those at rank, rank + world, and so on."""
        if self.world == 1:
            return score
        return join(self.gather(replace(score, indices=score.indices * self.world + self.rank)))

    def leave(self) -> None:
        """Part from the others at the end."""
        if self.world > 1 and distributed.is_initialized():
            distributed.destroy_process_group()
