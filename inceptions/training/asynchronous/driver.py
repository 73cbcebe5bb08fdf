"""Asynchronous SGD on Ray: enters a `Job`, leaves trained weights and how stale the gradients were; on this machine or a cluster's address.

The driver, here, gives batches to workers, which pull weights from the `ServerShard`s and push gradients. A batch is done when every shard
has its gradient in the ledger; those of a dead worker, and those that a killed server had not yet in its checkpoint, are given out again,
so that each batch of an epoch is in the weights exactly once. Calls to a killed server wait until Ray has started it again.

On a cluster, samples and checkpoints must lie in a folder that all its machines see under the same path.
"""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from inceptions.data.dataset import Unreadable
from inceptions.errors import StoppedError, UserError
from inceptions.networks.modules.models import training_module
from inceptions.training.asynchronous.server import Held, Ledger, ServerShard, Ticket, begin_checkpoint, divide
from inceptions.training.asynchronous.worker import Job, StepDone, Worker, running_statistics, statistics_momentum

log = logging.getLogger("inceptions")

DEATHS_IN_A_ROW = 3  # of each worker, with no batch done in between: more is no accident
CONNECT_SECONDS = 10
AHEAD = 2  # batches that a worker holds: one to compute, one to read meanwhile


class Progress(NamedTuple):
    """A step of an epoch: `step` counts from 1 the batches that are done; loss and staleness are of this batch alone."""

    epoch: int
    step: int
    steps: int
    loss: float
    staleness: int
    images_per_second: float


class EpochDone(NamedTuple):
    """An epoch with all of its batches in the weights.

    state: a `state_dict` of the network as it trains, averaged where the rule says so. loss, accuracy: means over the training batches.
    staleness: of each gradient, in the order in which the first shard applied them.
    """

    epoch: int
    state: dict[str, Tensor]
    loss: float
    accuracy: float
    lr: float
    images_per_second: float
    unreadable: tuple[Unreadable, ...]
    staleness: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AsyncResult:
    """What came out: the last weights; the staleness of each gradient in the order in which the first shard applied them; and what broke.

    lost_gradients: batches whose gradient died with a server, and that were computed again.
    """

    state: dict[str, Tensor]
    staleness: tuple[int, ...]
    replaced_workers: int
    restarted_servers: int
    lost_gradients: int


@dataclass(slots=True)
class Hand:
    """A worker as the driver sees it: its actor, the batches that it holds (the first is being computed), and the call under way."""

    actor: Any
    holds: deque[Ticket] = field(default_factory=deque)
    call: Any = None


def train_asynchronously(
    job: Job,
    *,
    workers: int,
    address: str | None = None,
    report: Callable[[Progress], None] | None = None,
    end_of_epoch: Callable[[EpochDone], None] | None = None,
) -> AsyncResult:
    """Train with `workers` processes on this machine, or on the Ray cluster at `address`.

    Ctrl-C, or a StoppedError from a listener, writes a checkpoint and stops the processes; the same job then goes on where it was.

    Raises UserError: no Ray or no cluster, an image or a checkpoint can't be read, the loss is no number, or workers die again and again.
    """
    if workers < 1:
        raise UserError(f"workers={workers} can't be used; it must be a whole number of at least 1")
    if len(job.samples) < 2:
        raise UserError(f"{len(job.samples)} images can't be trained on; at least 2 are needed")
    with ray_session(address, workers=workers):
        training = Training(job, workers=workers)
        try:
            return training.run(report or _say_nothing, end_of_epoch or _say_nothing)
        except (KeyboardInterrupt, StoppedError):
            training.save()
            raise
        finally:
            training.stop()


@contextmanager
def ray_session(address: str | None, *, workers: int) -> Iterator[None]:
    """Connect to Ray, or start it here; a session that was there before is used and left as it is.

    Raises UserError when Ray is not installed, doesn't start, or no cluster answers.
    """
    ray = _import_ray()
    if ray.is_initialized():
        yield
        return
    _check_address(address)
    here = {"num_cpus": workers + 1, "include_dashboard": False} if address is None else {}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports home otherwise
    try:
        ray.init(address=address or "local", log_to_driver=False, configure_logging=False, logging_level=logging.ERROR, **here)
    except Exception as error:  # Ray raises bare Exception when a process of its own doesn't start in time
        ray.shutdown()
        reason = str(error).splitlines()[0]
        if address is None:
            raise UserError(f"Ray doesn't start here ({reason}); try again, when the machine is less busy") from None
        raise _no_cluster(address, reason, "set RAY_AUTH_MODE=token where it asks for a token") from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_address(address: str | None) -> None:
    """Raise UserError when nothing listens at host:port; Ray itself tries for many minutes."""
    host, _, port = (address or "").rpartition(":")
    if not port.isdigit() or "//" in host:  # none, "auto", or a scheme of Ray's
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error), "start one with `ray start --head`") from None


def _no_cluster(address: str | None, reason: str, remedy: str) -> UserError:
    return UserError(f"no Ray cluster answers at {address!r} ({reason}); {remedy}, or leave the address out to train on this machine")


class Training:
    """The driver of one run; Ray must be connected."""

    def __init__(self, job: Job, *, workers: int) -> None:
        self.job = job
        module, self.lost = _initial_module(job), 0
        self.template = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
        self.names, self.shards = _start_shards(module, job)
        self.restarts_seen = 0
        self.crew = Crew(job, self.shards, self.names, workers=workers)
        self.staleness: list[int] = []

    def run(self, report: Callable[[Progress], None], end_of_epoch: Callable[[EpochDone], None]) -> AsyncResult:
        """Train the epochs that are left and return the result."""
        epoch = min(ledger.epoch for ledger in self._ledgers())
        while epoch <= self.job.epochs:
            done = self._train_epoch(epoch, report)
            self.staleness += done.staleness
            end_of_epoch(done)
            epoch += 1
            self._call("begin_epoch", epoch)
        ledgers = self._ledgers()
        restarts = sum(ledger.restarts for ledger in ledgers)
        return AsyncResult(self._state(), tuple(self.staleness), self.crew.replaced, restarts, self.lost)

    def save(self) -> None:
        """Have every shard write its checkpoint."""
        self._call("save")

    def stop(self) -> None:
        """End the processes of this run."""
        ray = _import_ray()
        for actor in (*self.crew.actors, *self.shards):
            ray.kill(actor, no_restart=True)

    def _train_epoch(self, epoch: int, report: Callable[[Progress], None]) -> EpochDone:
        done: dict[int, StepDone] = {}
        images, start = 0, time.perf_counter()
        while missing := self._missing(epoch):
            self._note_lost(epoch, len(missing & done.keys()))
            already = self.job.steps_per_epoch - len(missing)
            for step, got in enumerate(self.crew.work([Ticket(epoch, batch) for batch in sorted(missing)]), start=already + 1):
                done[got.batch] = got
                images += got.images
                rate = images / (time.perf_counter() - start)
                report(Progress(epoch, step, self.job.steps_per_epoch, got.loss, got.staleness, rate))
        return self._sum_up(epoch, done.values(), seconds=time.perf_counter() - start)

    def _sum_up(self, epoch: int, done: Iterable[StepDone], *, seconds: float) -> EpochDone:
        ledger, unreadable = self._ledgers()[0], tuple(item for part in done for item in part.unreadable)
        seen = [score for score in ledger.scores.values() if score[0] > 1]  # of batches too that were done before a stop
        count = sum(images for images, _, _ in seen) or float("nan")
        loss = sum(images * loss for images, _, loss in seen) / count
        accuracy = sum(right for _, right, _ in seen) / count
        lr, rate = self.job.rule.lr_at(max(0, ledger.version - 1)), sum(part.images for part in done) / seconds
        return EpochDone(epoch, self._state(), loss, accuracy, lr, rate, unreadable, tuple(ledger.applied.values()))

    def _missing(self, epoch: int) -> set[int]:
        """Return the batches of which not every shard has the gradient in its checkpoint; a shard that is an epoch ahead has all.

        It is for the checkpoint's sake that they save first: none can lose a gradient that was counted here.
        """
        self.save()
        ledgers = [ledger for ledger in self._ledgers() if ledger.epoch == epoch]
        return {batch for ledger in ledgers for batch in range(self.job.steps_per_epoch) if batch not in ledger.applied}

    def _note_lost(self, epoch: int, lost: int) -> None:
        if lost:
            self.lost += lost
            log.warning("epoch %d: %d gradients were lost with a parameter server; their batches are computed again", epoch, lost)

    def _ledgers(self) -> list[Ledger]:
        ledgers = self._call("ledger")
        restarts = sum(ledger.restarts for ledger in ledgers)
        if restarts > self.restarts_seen:
            log.warning("a parameter server died and has been started again from its checkpoint")
            self.restarts_seen = restarts
        return ledgers

    def _state(self) -> dict[str, Tensor]:
        state, version = dict(self.template), self._ledgers()[0].version
        for arrays in self._call("read_out"):
            state |= {name: torch.tensor(array) for name, array in arrays.items()}
        counted = {name: tensor + version for name, tensor in state.items() if name.endswith("num_batches_tracked")}
        return state | counted

    def _call(self, method: str, *given: Any) -> list[Any]:
        from ray.exceptions import RayActorError

        try:
            return _get([getattr(shard, method).remote(*given) for shard in self.shards])
        except RayActorError as error:  # Ray starts a server again for ever, unless it can't be made
            raise _server_gone(error) from None


class Crew:
    """The workers, and who holds which batch."""

    def __init__(self, job: Job, shards: Sequence[Any], names: Sequence[Sequence[str]], *, workers: int) -> None:
        ray = _import_ray()
        threads = max(1, torch.get_num_threads() // workers)
        options = {"num_cpus": 1, "num_gpus": _gpus_each(job, workers), "max_restarts": 0}
        self._check_room(workers)
        self.make = partial(ray.remote(**options)(Worker).remote, ray.put(job), list(shards), list(names), threads)
        self.hands = [Hand(self.make()) for _ in range(workers)]
        self.replaced = self.deaths = 0

    @property
    def actors(self) -> list[Any]:
        """The actors as they are now."""
        return [hand.actor for hand in self.hands]

    def work(self, tickets: Iterable[Ticket]) -> Iterator[StepDone]:
        """Have every batch done, by whoever is free, and yield each as it is done."""
        ray = _import_ray()
        waiting = deque(tickets)
        while True:
            self._hand_out(waiting)
            calls = {hand.call: hand for hand in self.hands if hand.call is not None}
            if not calls:
                return
            ready, _ = ray.wait(list(calls), num_returns=1)
            done = self._collect(calls[ready[0]], waiting)
            if done is not None:
                yield done

    def _hand_out(self, waiting: deque[Ticket]) -> None:
        for least in range(AHEAD):
            for hand in self.hands:
                if waiting and len(hand.holds) <= least:
                    hand.holds.append(waiting.popleft())
        for hand in self.hands:
            if not hand.holds:  # nothing is waiting: take over what another has not begun
                fullest = max(self.hands, key=lambda other: len(other.holds))
                if len(fullest.holds) == AHEAD:
                    hand.holds.append(fullest.holds.pop())
            if hand.holds and hand.call is None:
                following = hand.holds[1] if len(hand.holds) > 1 else None
                hand.call = hand.actor.step.remote(hand.holds[0], following)

    def _collect(self, hand: Hand, waiting: deque[Ticket]) -> StepDone | None:
        from ray.exceptions import RayActorError, RayTaskError

        try:
            done = _get(hand.call)
        except RayTaskError:
            raise
        except RayActorError as error:
            self._replace(hand, waiting, error)
            return None
        hand.call, self.deaths = None, 0
        hand.holds.popleft()
        return done

    def _replace(self, hand: Hand, waiting: deque[Ticket], error: Any) -> None:
        if getattr(error, "actor_init_failed", False):
            raise UserError(f"a worker can't be started: {_last_line(error)}") from None
        self.deaths += 1
        if self.deaths > DEATHS_IN_A_ROW * len(self.hands):
            raise UserError(f"{self.deaths} workers died with no batch done in between; the last: {_last_line(error)}") from None
        log.warning("a worker died; another takes its place and its %d batches", len(hand.holds))
        self.replaced += 1
        waiting.extendleft(reversed(hand.holds))
        hand.actor, hand.holds, hand.call = self.make(), deque(), None

    def _check_room(self, workers: int) -> None:
        cores = int(_import_ray().cluster_resources().get("CPU", 0))
        if cores < workers:
            log.warning("the Ray cluster has %d cores for %d workers; some wait until there are more", cores, workers)


def _initial_module(job: Job) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        module = training_module(job.network)
    if job.state is not None:
        module.load_state_dict(dict(job.state))
    return module


def _start_shards(module: nn.Module, job: Job) -> tuple[tuple[tuple[str, ...], ...], list[Any]]:
    """Return the tensors that each shard has, and the shards; the statistics of batch normalisation, which are few, are the first's."""
    ray = _import_ray()
    parameters, statistics = dict(module.named_parameters()), running_statistics(module)
    sizes = {name: value.numel() * value.element_size() for name, value in parameters.items()}
    names = divide(sizes, min(len(sizes), max(1, -(-sum(sizes.values()) // job.shard_bytes))))
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": "SPREAD"}
    make, run = ray.remote(**options)(ServerShard).remote, uuid.uuid4().hex
    shards = []
    for index, group in enumerate(names):
        path = job.checkpoints.absolute() / f"shard-{index}.pt"
        held = Held({name: parameters[name].detach() for name in group}, statistics if index == 0 else {}, statistics_momentum(module))
        begin_checkpoint(path, held)
        shards.append(make(path, rule=job.rule, run=run))  # no tensors: Ray doesn't keep large arguments for a restart
    return ((*names[0], *statistics), *names[1:]), shards


def _gpus_each(job: Job, workers: int) -> float:
    if torch.device(job.device).type != "cuda":
        return 0
    return min(1.0, _import_ray().cluster_resources().get("GPU", 0) / workers)


def _get(calls: Any) -> Any:
    """Return what Ray's calls give; an error that a user can mend is raised as it was in the other process."""
    from ray.exceptions import RayActorError, RayTaskError

    try:
        return _import_ray().get(calls)
    except RayTaskError as error:
        cause: BaseException = error
        while isinstance(cause, RayTaskError):
            cause = cause.cause
        if isinstance(cause, RayActorError):
            raise _server_gone(cause) from None
        raise (cause if isinstance(cause, UserError) else error) from None


def _server_gone(error: BaseException) -> UserError:
    return UserError(f"a parameter server can't be started: {_last_line(error)}")


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1].strip()


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UserError("asynchronous SGD needs Ray; pip install 'inceptions[ray]'") from None
    return ray


def _say_nothing(_: object) -> None:
    """Stand in for a listener that wasn't given."""
