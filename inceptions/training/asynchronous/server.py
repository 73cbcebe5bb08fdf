"""The parameter server of asynchronous SGD: enter gradients as workers finish them, leave weights, at once and without waiting for anybody.

Downpour SGD of "Large Scale Distributed Deep Networks", Dean et al., NIPS 2012, section 4.1, with which GoogLeNet was trained
(arXiv:1409.4842, section 6). Each `ServerShard` has some of the tensors; on Ray it is an actor, but nothing here needs Ray.

What it was given it remembers by batch, so that a gradient that comes twice counts once, and one that was lost with a killed process can be
told and made again. Statistics of batch normalisation come as those of one batch, and are put in with the layer's momentum: with one
worker the running statistics are those of ordinary training, and a worker has nothing of its own that could be lost.

Differs from the paper: plain SGD or whatever the recipe's optimizer is, not Adagrad; an epoch ends when all of its batches are in.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from inceptions.errors import UserError
from inceptions.evaluation.plots import BLUE, ORANGE, save_figure
from inceptions.files import write_whole
from inceptions.training.recipe import Average
from inceptions.training.run_folder import DAMAGE, read_state, write_state
from inceptions.training.schedules import statistics_share

Arrays = dict[str, np.ndarray]
BatchScore = tuple[int, int, float]

FORMAT = 2


class Ticket(NamedTuple):
    """Which batch: epochs count from 1, batches from 0 within the epoch."""

    epoch: int
    batch: int


class Weights(NamedTuple):
    """What a worker pulls: float32 arrays by name, after `version` gradients."""

    version: int
    arrays: Arrays


class Ledger(NamedTuple):
    """What a shard has had: gradients in all, and of this epoch the staleness by batch, in the order in which they came.

    scores: by batch, how many images it had, how many were right, and the mean loss.
    restarts: how often it has come back from its checkpoint in this run.
    """

    epoch: int
    version: int
    applied: dict[int, int]
    scores: dict[int, BatchScore]
    restarts: int


class Held(NamedTuple):
    """The tensors of one shard: parameters; running statistics of batch normalisation and the momentum of each."""

    parameters: dict[str, Tensor]
    statistics: dict[str, Tensor]
    momentum: dict[str, float]


@dataclass(frozen=True, slots=True)
class Rule:
    """How a shard applies a gradient.

    make_optimizer: gets (name, parameter) pairs, the shard's alone, and returns the optimizer.
    lr_at: the learning rate by the number of gradients applied so far; multiplied by a group's `lr_scale`, where it has one.
    average: the running average of weights and statistics that evaluation uses; None for the weights as they are.
    fresh: the statistics begin unmeasured, so that they move faster at first (`Recipe.bn_momentum`).
    checkpoint_every: gradients between checkpoints.
    """

    make_optimizer: Callable[[list[tuple[str, Parameter]]], Optimizer]
    lr_at: Callable[[int], float]
    average: Average | None = None
    checkpoint_every: int = 100
    fresh: bool = False


class ServerShard:
    """Some of the tensors and their optimizer: what the checkpoint at `path` holds, which `begin_checkpoint` has written.

    run: a name that a run has for itself, by which a restart within the run is told from a run that goes on with an old checkpoint.

    Raises UserError when the checkpoint is damaged.
    """

    def __init__(self, path: Path, *, rule: Rule, run: str) -> None:
        torch.set_num_threads(1)  # the workers have the cores
        self.rule, self.path, self.run = rule, path, run
        state = read_checkpoint(path)
        self.parameters = {name: Parameter(tensor) for name, tensor in state["parameters"].items()}
        self.statistics: dict[str, Tensor] = state["statistics"]
        self.momentum: dict[str, float] = state["momentum"]
        self.optimizer = rule.make_optimizer(list(self.parameters.items()))
        if state["optimizer"] is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        self.averages: dict[str, Tensor] = {}
        if rule.average is not None:
            self.averages = state["averages"] or {name: tensor.clone() for name, tensor in self._values().items()}
        self.epoch, self.version = state["epoch"], state["version"]
        self.applied: dict[int, int] = state["applied"]
        self.scores: dict[int, BatchScore] = state["scores"]
        self.restarts = state["restarts"] + 1 if state["run"] == run else 0
        self.save()

    def pull(self) -> Weights:
        """Return the weights as they are now: views, which Ray copies into its store as it sends them."""
        return Weights(self.version, {name: value.detach().numpy() for name, value in self.parameters.items()})

    def push(self, ticket: Ticket, *, version: int, gradients: Arrays, statistics: Arrays, score: BatchScore) -> int:
        """Apply the gradients of a batch, worked out on weights of `version`, and note its score; return their staleness.

        One that was applied before is not applied again. Names of other shards are passed over. A batch with nothing in it (no picture
        could be read) is entered in the ledger with staleness 0, and the weights stay as they are.
        """
        if ticket.epoch != self.epoch or ticket.batch in self.applied:
            return self.applied.get(ticket.batch, 0)
        # A restarted server may be behind the weights it gave away; then the distance is counted in the other direction.
        staleness = abs(self.version - version) if gradients else 0
        if gradients:
            self._apply(gradients, statistics)
        self.applied[ticket.batch], self.scores[ticket.batch] = staleness, score
        if gradients and self.version % self.rule.checkpoint_every == 0:
            self.save()
        return staleness

    def begin_epoch(self, epoch: int) -> None:
        """Clear the ledger for `epoch`, once every shard has all of the one before, and write a checkpoint."""
        if epoch > self.epoch:
            self.epoch, self.applied, self.scores = epoch, {}, {}
            self.save()

    def ledger(self) -> Ledger:
        """Return what has been applied."""
        return Ledger(self.epoch, self.version, dict(self.applied), dict(self.scores), self.restarts)

    def read_out(self) -> Arrays:
        """Return the tensors to evaluate with, parameters and statistics by name: the averages where the rule asks for them."""
        return {name: value.numpy().copy() for name, value in (self.averages or self._values()).items()}

    def pid(self) -> int:
        """Return the number of the process."""
        return os.getpid()

    def save(self) -> None:
        """Write the checkpoint: the old one stays until the new one is whole."""
        held = Held({name: value.detach() for name, value in self.parameters.items()}, self.statistics, self.momentum)
        ledger, optimizer = self.ledger(), self.optimizer.state_dict()
        write_checkpoint(self.path, _state(held, ledger, run=self.run, optimizer=optimizer, averages=self.averages))

    def _values(self) -> dict[str, Tensor]:
        return {**{name: value.detach() for name, value in self.parameters.items()}, **self.statistics}

    @torch.no_grad()
    def _apply(self, gradients: Mapping[str, np.ndarray], statistics: Mapping[str, np.ndarray]) -> None:
        for name, parameter in self.parameters.items():
            given = gradients.get(name)
            parameter.grad = None if given is None else torch.tensor(given)  # a copy: what Ray gives is read-only
        lr = self.rule.lr_at(self.version)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        self.optimizer.step()
        for name, running in self.statistics.items():
            if name in statistics:
                momentum = self.momentum[name]
                running.lerp_(torch.tensor(statistics[name]), statistics_share(momentum, self.version) if self.rule.fresh else momentum)
        self.version += 1
        self._average()

    def _average(self) -> None:
        """Move the averages: the first time to the weights, as torch's AveragedModel does, then by TensorFlow's rule for `num_updates`."""
        if self.rule.average is not None:
            decay = self.rule.average.decay_after(self.version - 1) if self.version > 1 else 0.0
            for name, value in self._values().items():
                self.averages[name].lerp_(value, 1 - decay)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the state of a shard, from tensors and plain values alone: no code in the file is run.

    Raises UserError when it is damaged, or not a shard's.
    """
    remedy = "delete the folder of checkpoints to begin anew"
    try:
        state = read_state(path)
    except OSError as error:
        raise UserError(f"checkpoint {path} can't be read ({error.strerror}); {remedy}") from None
    except DAMAGE:
        raise UserError(f"checkpoint {path} is damaged; {remedy}") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"checkpoint {path} is not a parameter server's of format {FORMAT}; {remedy}")
    return state


def begin_checkpoint(path: Path, held: Held) -> None:
    """Write the checkpoint with which a run begins; one that is there already stays, and is gone on from.

    Raises UserError when it is damaged or of other tensors than `held`, or can't be written.
    """
    if not path.exists():
        write_checkpoint(path, _state(held, Ledger(1, 0, {}, {}, 0), run="", optimizer=None, averages={}))
        return
    state = read_checkpoint(path)
    for part, mine in (("parameters", held.parameters), ("statistics", held.statistics)):
        _check_same(mine, state[part], where=f"checkpoint {path}: {part}")


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` beside `path`, then put it in its place in one move.

    Raises UserError when the folder can't be written to.
    """
    try:
        write_state(path, state)
    except (OSError, RuntimeError) as error:  # torch gives RuntimeError when the disk is full
        raise UserError(f"can't write the checkpoint {path} ({error}); give another folder, or make room") from None


def divide(sizes: Mapping[str, int], shards: int) -> tuple[tuple[str, ...], ...]:
    """Return the names of each shard: the largest first, each to the shard that has least; no shard is left empty.

    Raises UserError for a number of shards that can't be.
    """
    if not 1 <= shards <= len(sizes):
        raise UserError(f"{shards} shards can't be made of {len(sizes)} tensors; allowed are 1 to {len(sizes)}")
    names: list[list[str]] = [[] for _ in range(shards)]
    loads = [0] * shards
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        lightest = min(range(shards), key=lambda shard: (loads[shard], len(names[shard])))
        names[lightest].append(name)
        loads[lightest] += sizes[name]
    return tuple(tuple(group) for group in names)


def _state(held: Held, ledger: Ledger, *, run: str, optimizer: dict[str, Any] | None, averages: dict[str, Tensor]) -> dict[str, Any]:
    """Return what a checkpoint holds: tensors and plain values."""
    return {"format": FORMAT, "run": run, **held._asdict(), **ledger._asdict(), "optimizer": optimizer, "averages": averages}


def _check_same(mine: Mapping[str, Tensor], read: Mapping[str, Tensor], *, where: str) -> None:
    if mine.keys() != read.keys() or any(mine[name].shape != read[name].shape for name in mine):
        other = next((name for name in (*mine, *read) if name not in mine or name not in read), "the shapes")
        raise UserError(f"{where} are those of another network or recipe (see {other}); delete the folder of checkpoints to begin anew")


def write_staleness(staleness: Sequence[int], path: Path) -> None:
    """Write a row for each gradient in the order in which they were applied: its number, and how many had come in between."""
    lines = ["update,staleness", *(f"{number},{value}" for number, value in enumerate(staleness, start=1))]
    write_whole(path, "\n".join(lines) + "\n")


def read_staleness(path: Path) -> tuple[int, ...]:
    """Return what `write_staleness` wrote; nothing where there is no such file, or another's."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return tuple(int(row["staleness"]) for row in csv.DictReader(file))
    except (OSError, ValueError, KeyError, TypeError):  # TypeError: a row that is cut off
        return ()


def plot_staleness(staleness: Sequence[int], path: Path) -> None:
    """Write a PNG: how many gradients were how stale, and the mean over the run. Needs matplotlib (`inceptions[report]`)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    counts, course = figure.subplots(1, 2)
    values = np.asarray(staleness)
    mean = values.mean() if len(values) else float("nan")
    number = np.bincount(values) if len(values) else np.zeros(1)
    counts.bar(range(len(number)), number, color=BLUE)
    counts.set(xlabel="staleness (updates between pull and push)", ylabel="gradients", title=f"{len(values)} gradients, mean {mean:.2f}")
    window = max(1, len(values) // 100)
    starts = range(0, len(values), window)
    course.plot([start + 1 for start in starts], [values[start : start + window].mean() for start in starts], color=ORANGE)
    course.set(xlabel="update", ylabel="staleness", title=f"mean of {window} updates")
    for axis in (counts, course):
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
