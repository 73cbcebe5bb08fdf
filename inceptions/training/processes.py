"""Several processes that train one network, each with a share of every batch: enters `torchrun`'s environment, leaves who is who.

With one process everything here does nothing, so that the loop reads the same.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from inceptions.errors import UserError
from inceptions.evaluation.score import Score, join
from inceptions.networks.spec import NetworkError

log = logging.getLogger("inceptions")

SHARES_BATCH_NORM = ("cuda", "xpu", "hpu")  # devices that torch.nn.SyncBatchNorm knows
STORE_SECONDS = 10

T = TypeVar("T")


class Processes:
    """The processes of a run: `rank` of this one, how many there are (`world`); the first writes.

    device: that this one computes on; by it they are connected. As a context it parts from the others at the end. After an error it
    doesn't, for they may be waiting for this one, which would wait for them.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.world = world_size()
        self.rank = int(os.environ.get("RANK", "0"))
        self.restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
        self.device = device or torch.device("cpu")
        self._owns_group = self.world > 1 and not distributed.is_initialized()
        if self._owns_group:
            self._meet(backend_of(self.device))

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

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.leave()
        elif self.world > 1 and _is_of_a_lost_process(error):
            raise UserError("another process of this run has ended; what it said, if it could, stands above") from None

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
            raise UserError(f"sync_bn can't be had on {device.type}, only on {', '.join(SHARES_BATCH_NORM)}; train with sync_bn=false")
        else:
            nn.SyncBatchNorm.convert_sync_batchnorm(module)

    def share_buffers(self, module: nn.Module) -> None:
        """Give the module of every process the buffers of the first's: the running statistics of batch normalisation.

        They differ by the last step, of which each process saw its share. The first's, and not their mean, because they are what is saved,
        and what every process begins the next step with (`DistributedDataParallel`), also in a run that is resumed.
        """
        if self.world > 1:
            for buffer in module.buffers():
                distributed.broadcast(buffer, src=0)

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return each value added up over all processes."""
        if self.world == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device="cpu" if distributed.get_backend() == "gloo" else self.device)
        distributed.all_reduce(total)
        return total.tolist()

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in the order of their ranks."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values

    def together(self, task: Callable[[], T]) -> T:
        """Return what `task` gives here, once it has succeeded in all processes; where it fails in one, its UserError is raised in all."""
        if self.world == 1:
            return task()
        result, failure = None, None
        try:
            result = task()
        except (UserError, NetworkError) as error:
            failure = error
        self.raise_any(failure)
        return result  # pyright: ignore[reportReturnType] - only a failed task has none

    def first(self, task: Callable[[], T]) -> T:
        """Return in all processes what `task` gives in the first, which alone does it; where it fails, its UserError is raised in all."""
        return self.gather(self.together(lambda: task() if self.is_first else None))[0]

    def raise_any(self, failure: Exception | None) -> None:
        """Raise `failure` in all processes, whichever has one."""
        if self.sum([failure is not None])[0]:
            raise next(error for error in self.gather(failure) if error is not None)

    def iterate(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, of which each process has as many; where one can't be had, its UserError is raised in all processes."""
        iterator = iter(items)
        while (item := self.together(lambda: next(iterator, None))) is not None:
            yield item

    def merge(self, score: Score) -> Score:
        """Return the score of all images, of which this process scored those at rank, rank + world, and so on."""
        if self.world == 1:
            return score
        return join(self.gather(replace(score, indices=score.indices * self.world + self.rank)))

    def leave(self) -> None:
        """Part from the others, when all are done, or one is lost by then; who began the group alone ends it.

        Gloo's threads outlive a group that `DistributedDataParallel` had (torch 2.14), and one that gives a tensor back while its
        interpreter ends kills the process (github.com/pytorch/pytorch/issues/190489), and torchrun the others, of which the first may be
        writing. So they wait for it, as long as a group waits for anything, which gives the threads time; a barrier itself has no tensor.
        """
        if self._owns_group and distributed.is_initialized():
            if distributed.get_backend() == "gloo":
                self._wait_for_all()
            distributed.destroy_process_group()

    def _wait_for_all(self) -> None:
        """Wait until all are done; one that is lost by then, or takes its time, takes nothing with it of what is done here."""
        try:
            distributed.barrier()
        except RuntimeError as error:
            if not _is_of_a_lost_process(error):
                raise
            log.warning("another process of this run has ended, or is not done yet; this one is done")


def world_size() -> int:
    """Return how many processes train together, as torchrun says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def backend_of(device: torch.device) -> str:
    """Return what connects processes that compute on `device`: torch's own choice where this torch has it, else Gloo."""
    backend = distributed.get_default_backend_for_device(device)
    return backend if distributed.is_backend_available(backend) else "gloo"


def is_first_to_fail() -> bool:
    """Return whether no other process of this command has asked before; torchrun's own store knows. One that is alone always is."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    try:
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = distributed.TCPStore(  # pyright: ignore[reportPrivateImportUsage]
            host, port, is_master=False, timeout=timedelta(seconds=STORE_SECONDS)
        )
        return store.add(f"inceptions/failed/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", 1) == 1
    except RuntimeError:  # torchrun is gone: better twice than not at all
        return True


def _is_of_a_lost_process(error: BaseException) -> bool:
    said = str(error)
    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and ("gloo" in said or "Connection" in said))
