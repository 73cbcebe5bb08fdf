"""The training loop: enters a `Setup`, leaves a run folder and a `Result`. Killed at any moment, it goes on where it was."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from inceptions.data.dataset import Batch, ImageDataset, Unreadable, image_loader
from inceptions.data.folders import locate_source
from inceptions.errors import StoppedError, UserError
from inceptions.evaluation.score import Score
from inceptions.evaluation.score import score as score_module
from inceptions.training.learner import Learner
from inceptions.training.processes import Processes
from inceptions.training.progress import EpochRow, Reporter, Reporters, Result
from inceptions.training.recipes import training_side
from inceptions.training.report import finish, hyperparameters_of, save_batch, save_batch_picture, save_model_folder, settings_of, start_of
from inceptions.training.run_folder import RunFolder, is_left_over, read_resume
from inceptions.training.setup import Setup, prepare, restore
from inceptions.training.signals import StopRequest
from inceptions.training.trackers import Trackers

__all__ = ["Pace", "Setup", "fit", "prepare", "resume"]

log = logging.getLogger("inceptions")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a run writes checkpoints within an epoch, in minutes and in steps (0: never).

    workers: processes that read images; None lets the machine decide. address: of a Ray cluster, for asynchronous recipes.
    """

    minutes: float = 5.0
    steps: int = 0
    workers: int | None = None
    address: str | None = None


@dataclass(slots=True)
class Counters:
    """Where a run is: the epoch, counted from 1, its steps done and what they added up to; the rows of earlier epochs; seconds in all."""

    epoch: int = 1
    step: int = 0
    seen: int = 0
    loss: float = 0.0
    right: int = 0
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    best: int = 0
    rows: list[EpochRow] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def fit(setup: Setup, folder: Path, *, reporter: Reporter | None = None, pace: Pace | None = None, goes_on: bool = False) -> Result:
    """Train, validate every epoch, test the best model, and write the run folder `folder`, which must not exist.

    goes_on: a killed run of the same settings may be in `folder`, and then goes on from its last checkpoint; so it does where a process
    died and torchrun has begun anew.
    Raises UserError: the folder exists, an image can't be read (with on_error "fail"), or the loss is no longer a number; StoppedError
    after Ctrl-C.
    """
    processes = Processes()
    goes_on = (goes_on or processes.restarts > 0) and is_left_over(folder, setup.to_dict())
    run_folder = RunFolder(folder, resumed=goes_on or not processes.is_first)
    state = run_folder.checkpoints.read_last() if goes_on else None
    try:
        return Run(setup, run_folder, reporter or Reporter(), pace or Pace(), processes, state).train()
    finally:
        if processes.world == 1:  # of several, another may have died; torchrun then begins anew with what is there
            run_folder.discard()
        processes.leave()


def resume(folder: Path, *, data: str | None = None, reporter: Reporter | None = None, pace: Pace | None = None) -> Result:
    """Go on with the run in `folder` from its last checkpoint, as if it had never stopped. data: where the images are, if they have moved.

    Raises UserError: no such run, one that is finished or has no checkpoint yet, or images that are no longer the same.
    """
    values, run_folder = read_resume(folder), RunFolder(folder, resumed=True)
    setup = restore(values if data is None else {**values, "data": data, "place": locate_source(data)})
    state = run_folder.checkpoints.read_last()
    if state is None:
        raise UserError(f"{folder}: the run was killed before its first checkpoint; delete the folder and begin anew")
    processes = Processes()
    if processes.is_first:
        run_folder.sweep()
        run_folder.write_resume(setup.to_dict())
    try:
        return Run(setup, run_folder, reporter or Reporter(), pace or Pace(), processes, state).train()
    finally:
        processes.leave()


class Run:
    """One run: a learner, the images, and where it is."""

    def __init__(
        self, setup: Setup, folder: RunFolder, reporter: Reporter, pace: Pace, processes: Processes, state: dict[str, Any] | None = None
    ) -> None:
        self.setup, self.folder, self.reporter, self.pace, self.processes = setup, folder, reporter, pace, processes
        if setup.log_with and processes.is_first:
            self.reporter = Reporters(reporter, Trackers(setup.log_with, hyperparameters_of(setup)))
        recipe, samples = setup.recipe, setup.splits.train
        self.train_set = ImageDataset(
            samples,
            setup.preprocess,
            augment=recipe.augment,
            seed=recipe.seed,
            on_error=recipe.on_error,
            interleaved=setup.splits.interleaved,
        )
        self.steps = setup.steps_per_epoch
        self.learner = Learner(setup, processes, steps_per_epoch=self.steps)
        self.at = Counters()
        self.unreadable: set[str] = set()
        self.stop = StopRequest()
        if state is not None:
            self._go_back(state)
        self.saved_at, self.clock = time.monotonic(), time.perf_counter()

    def train(self) -> Result:
        """Train the epochs that are left, then test the best."""
        result: Result | None = None
        try:
            result = self._train()
            return result
        finally:
            self.reporter.ended(result)

    def _train(self) -> Result:
        began = self.at.step or self.at.rows
        if self.processes.is_first and not began:
            self.folder.write_recipe(settings_of(self.setup))
            self.folder.write_resume(self.setup.to_dict())
        self.reporter.started(start_of(self.setup, self.folder.path, self.steps, epoch=self.at.epoch, step=self.at.step))
        with self.stop:
            if not began:
                self._checkpoint()
            if self.setup.recipe.asynchronous:
                from inceptions.training.asynchronous.run import run_asynchronously

                run_asynchronously(self)
            while self.at.epoch <= self.setup.recipe.epochs and not self._is_enough():
                self._train_epoch()
                self.end_epoch(self._row(), self.learner.kept)
        return finish(self.setup, self.folder, self.score, self.at, len(self.unreadable), writes=self.processes.is_first)

    def end_epoch(self, row: EpochRow, module: torch.nn.Module) -> None:
        """Write an epoch's row, last/ and, where it is the best so far, best/; then a checkpoint."""
        rows = [*self.at.rows, row]
        is_best = math.isnan(row.val_accuracy) or row.val_accuracy >= max(r.val_accuracy for r in rows)
        best = row.epoch if is_best else self.at.best
        if self.processes.is_first:
            self.folder.write_rows(rows)
            save_model_folder(self.setup, self.folder, module, row, best=is_best)
        self.reporter.finished_epoch(row, best=is_best)  # before the checkpoint: a run killed here tells it again, and not never
        self.at = Counters(epoch=row.epoch + 1, seconds=self.at.seconds, best=best, rows=rows)
        self._checkpoint()

    def _train_epoch(self) -> None:
        at, setup = self.at, self.setup
        self.learner.begin_epoch(at.epoch)
        side = training_side(setup.recipe, epoch=at.epoch, image_size=setup.network.image_size)
        self.train_set.preprocess = replace(setup.preprocess, image_size=side, resize_size=None)
        self.train_set.epoch = at.epoch
        loader = image_loader(
            self.train_set,
            batch_size=setup.recipe.batch_size,
            shuffle=True,
            workers=self.pace.workers,
            start=at.step,
            even=True,
            part=self.processes.part,
        )
        self.clock = time.perf_counter()
        for batch in loader:
            self._step(batch)
            self._save_in_time()
        if not self.processes.sum([at.seen])[0]:
            raise UserError(f"no training image could be read ({len(self.unreadable)} unreadable files); look at the files named above")

    def _step(self, batch: Batch) -> None:
        at = self.at
        self.note(batch.unreadable)
        at.step += 1
        if at.epoch == at.step == 1 and self.processes.is_first and len(batch.labels):
            save_batch_picture(batch, self.setup, self.folder.path / "train_batch.png")
        if len(batch.labels) < 2 and self.processes.world == 1:
            return
        loss, right = self.learner.learn(batch)
        if not math.isfinite(loss):
            self._refuse(batch, loss)
        at.seen += len(batch.labels)
        at.loss += loss * len(batch.labels)
        at.right += right
        at.epoch_seconds -= at.seconds
        at.epoch_seconds += self.tick()
        rate = self.processes.world * at.seen / max(at.epoch_seconds, 1e-9)
        self.reporter.stepped(at.epoch, at.step, loss, rate, self.learner.lr)

    def _refuse(self, batch: Batch, loss: float) -> None:
        path = save_batch(batch, self.folder.path / "bad_batch.safetensors")
        self.folder.is_kept = True
        raise UserError(
            f"the loss is {loss} at epoch {self.at.epoch}, step {self.at.step} (lr {self.learner.lr:.3g}); train with a lower --lr "
            f"(the batch is in {path})"
        )

    def _row(self) -> EpochRow:
        at = self.at
        loss, right, seen = self.processes.sum([at.loss, at.right, at.seen])
        checked = self.score(self.learner.kept, self.setup.splits.val, self.setup.autocast)
        self.tick()
        rate = seen / max(at.epoch_seconds, 1e-9)
        return EpochRow(at.epoch, loss / seen, right / seen, checked.loss, checked.accuracy, self.learner.lr, rate, at.seconds)

    def score(self, module: torch.nn.Module, samples: tuple, autocast: torch.dtype | None) -> Score:
        """Return how `module` does on samples, each process on its share of them."""
        mine = samples[self.processes.rank :: self.processes.world]
        dataset = ImageDataset(mine, self.setup.preprocess, on_error=self.setup.recipe.on_error)
        loader: DataLoader[Batch] = image_loader(
            dataset, batch_size=2 * self.setup.recipe.batch_size, shuffle=False, workers=self.pace.workers
        )
        result = self.processes.merge(score_module(module, loader, device=self.setup.device, autocast=autocast))
        self.note(result.unreadable)
        return result

    def tick(self) -> float:
        """Add the time since the last tick to the run's, and return the sum in seconds."""
        now = time.perf_counter()
        self.at.seconds, self.clock = self.at.seconds + now - self.clock, now
        return self.at.seconds

    def note(self, unreadable: Iterable[Unreadable]) -> None:
        """Warn of each unreadable image once."""
        for item in unreadable:
            if str(item.path) not in self.unreadable:
                self.unreadable.add(str(item.path))
                log.warning("left out: %s: %s", item.path, item.reason)

    def _is_enough(self) -> bool:
        patience = self.setup.recipe.early_stop
        if not patience or not self.at.rows or self.at.rows[-1].epoch - self.at.best < patience:
            return False
        log.info("stopped early: no better validation accuracy for %d epochs", patience)
        return True

    def _save_in_time(self) -> None:
        due = time.monotonic() - self.saved_at > 60 * self.pace.minutes
        due = due or bool(self.pace.steps and self.at.step % self.pace.steps == 0)
        stopping, due = (bool(value) for value in self.processes.sum([self.stop.is_set, due and self.processes.is_first]))
        if not stopping and not due:
            return
        self._checkpoint()
        self.folder.is_kept = True
        if stopping:
            path = self.folder.path
            raise StoppedError(f"stopped at epoch {self.at.epoch}, step {self.at.step}; go on with: inceptions train --resume {path}")

    def _checkpoint(self) -> None:
        self.at.unreadable = sorted(self.unreadable)
        state = {**self.learner.state_dict(), "counters": self.at.to_dict()}
        if self.processes.is_first:
            self.folder.checkpoints.write(self.learner.step, state)
        self.saved_at = time.monotonic()

    def _go_back(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state)
        rows = [EpochRow(**row) for row in state["counters"]["rows"]]
        self.at = Counters(**{**state["counters"], "rows": rows})
        self.unreadable = set(self.at.unreadable)
