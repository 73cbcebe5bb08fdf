"""One run as all ways of training share it: where it is, what it scores, what it writes after each epoch, how it stops and goes on."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import Tensor

from inceptions.data.dataset import ImageDataset, ImageLoader, Unreadable, image_loader
from inceptions.data.splits import Sample
from inceptions.errors import DivergedError, StoppedError, UserError
from inceptions.evaluation import score as scoring
from inceptions.evaluation.metrics import top5_error
from inceptions.evaluation.score import Score
from inceptions.evaluation.temperature import join_logits, thinned
from inceptions.files import copy_whole
from inceptions.training.learner import Learner
from inceptions.training.look import Look
from inceptions.training.processes import Processes
from inceptions.training.progress import EpochRow, Pace, Reporter, Reporters, Result
from inceptions.training.report import Judges, finish, hyperparameters_of, keep_best, save_model_folder, start_of
from inceptions.training.run_folder import RunFolder
from inceptions.training.setup import Setup
from inceptions.training.trackers import Trackers

log = logging.getLogger("inceptions")


@dataclass(slots=True)
class Counters:
    """Where a run is: the epoch, counted from 1, its steps done and what they added up to over all processes; the rows of earlier epochs.

    seconds: in all.
    """

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


class StopRequest:
    """While it is entered, the first Ctrl-C or SIGTERM sets `is_set`; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.is_set = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Run:
    """A learner, a folder, and where the run is.

    state: a checkpoint to go on from. ended_after: the epoch with which the run was finished once, before it was to go on.
    look: is shown every step.
    """

    def __init__(
        self,
        setup: Setup,
        folder: RunFolder,
        processes: Processes,
        *,
        reporter: Reporter,
        pace: Pace,
        state: dict[str, Any] | None = None,
        ended_after: int = 0,
        look: Look | None = None,
    ) -> None:
        self.setup, self.folder, self.processes, self.reporter, self.pace = setup, folder, processes, reporter, pace
        if setup.log_with and processes.is_first:
            self.reporter = Reporters(reporter, Trackers(setup.log_with, hyperparameters_of(setup)))
        self.steps = setup.steps_per_epoch
        self.learner = Learner(setup, processes, steps_per_epoch=self.steps)
        self.at, self.ended_after = Counters(), ended_after
        self.unreadable: dict[str, Unreadable | None] = {}  # None: named before the run went on
        self.stop = StopRequest()
        self.loaders: dict[int, ImageLoader] = {}  # of samples that are scored, whose readers stay for the next epoch
        if state is not None:
            self._go_back(state)
        self.look = look or Look()
        self.look.begin(self.learner)
        self.saved_at, self.clock = time.monotonic(), time.perf_counter()

    def begin(self) -> None:
        """Tell the reporter, and write the first checkpoint unless the run goes on."""
        goes_on = self.at.step or self.at.rows
        if self.at.rows:
            with self.resumable():
                self.processes.first(lambda: keep_best(self.folder, epoch=self.at.best))
        self.reporter.started(start_of(self.setup, self.folder.path, epoch=self.at.epoch, step=self.at.step))
        if not goes_on:
            self.checkpoint()

    def end_epoch(self, row: EpochRow, module: torch.nn.Module) -> None:
        """Write an epoch's row, last/, a checkpoint, and where it is the best so far, best/.

        best/ comes last: a run that is killed before the checkpoint trains the epoch again, which may then not be the best.
        """
        rows = [*self.at.rows, row]
        is_best = math.isnan(row.val_accuracy) or row.val_accuracy >= max(r.val_accuracy for r in rows)
        best = row.epoch if is_best else self.at.best
        if self.processes.is_first:
            with self.resumable():
                self.folder.write_rows(rows)
                save_model_folder(self.setup, self.folder, module, row)
        self.reporter.finished_epoch(row, best=is_best)  # before the checkpoint: a run killed here tells it again, and not never
        self.at = Counters(epoch=row.epoch + 1, seconds=self.at.seconds, best=best, rows=rows)
        self.checkpoint()
        if is_best:
            with self.resumable():  # the others wait for what they read next
                self.processes.first(lambda: copy_whole(self.folder.last, self.folder.best))

    def end(self) -> Result:
        """Test the best model and write the report."""
        with self.resumable():
            return finish(
                self.setup,
                self.folder,
                Judges(self.score_at, self.logits),
                self.at.rows,
                best=self.at.best,
                unreadable=len(self.unreadable),
                writes=self.processes.is_first,
                explain=self.pace.explain,
            )

    def score(self, module: torch.nn.Module, samples: Sequence[Sample], autocast: torch.dtype | None) -> Score:
        """Return how `module` does on samples, each process on its share of them."""
        return self.score_at((1.0,), module, samples, autocast)[0]

    def score_at(
        self, temperatures: Sequence[float], module: torch.nn.Module, samples: Sequence[Sample], autocast: torch.dtype | None
    ) -> list[Score]:
        """Return the same for each of the temperatures that its logits are divided by."""
        return self._score(temperatures, module, self.loader(samples), autocast)

    def score_batches(self, module: torch.nn.Module, batches: Iterable[Any], autocast: torch.dtype | None) -> Score:
        """Return how `module` does on what is in the batches of all processes, in which indices count those of each process."""
        return self._score((1.0,), module, batches, autocast)[0]

    def _score(
        self, temperatures: Sequence[float], module: torch.nn.Module, batches: Iterable[Any], autocast: torch.dtype | None
    ) -> list[Score]:
        how = {"device": self.setup.device, "autocast": autocast}
        shares = self.processes.together(lambda: scoring.score_at(temperatures, module, batches, **how))
        found = [self.processes.merge(share) for share in shares]
        self.note(found[0].unreadable)
        return found

    def logits(self, module: torch.nn.Module, samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
        """Return the logits (N, K) of `module`, in float32, and the labels (N,) of samples; of very many, of some: the same everywhere."""
        some = thinned(len(samples), classes=len(self.setup.splits.classes))
        with nullcontext(self.loader(samples)) if some.step == 1 else closing(self._loader(samples[some])) as loader:
            share = self.processes.together(lambda: scoring.logits_of(module, loader, device=self.setup.device))
        return join_logits(self.processes.gather(share))

    def close(self) -> None:
        """End the processes that read what is scored."""
        for loader in self.loaders.values():
            loader.close()

    def loader(self, samples: Sequence[Sample]) -> ImageLoader:
        """Return the batches of samples to be scored, this process's share of them; its readers stay for the next epoch."""
        if id(samples) not in self.loaders:
            self.loaders[id(samples)] = self._loader(samples)
        return self.loaders[id(samples)]

    def _loader(self, samples: Sequence[Sample]) -> ImageLoader:
        """Return the loader of this process's share of the samples."""
        recipe = self.setup.recipe
        dataset = ImageDataset(samples[self.processes.rank :: self.processes.world], self.setup.preprocess, on_error=recipe.on_error)
        return image_loader(dataset, batch_size=2 * recipe.batch_size, shuffle=False, workers=self.pace.workers)

    def validate(self, module: torch.nn.Module) -> dict[str, float]:
        """Return the columns of an epoch's row that are of the validation images."""
        return self.validated(self.score(module, self.setup.splits.val, self.setup.autocast))

    def validated(self, found: Score) -> dict[str, float]:
        """Return these columns, of a score; nan without images, and top 5 with five classes or fewer."""
        five = top5_error(found, classes=len(self.setup.splits.classes))
        return {"val_loss": found.loss, "val_accuracy": found.accuracy, "val_top5": math.nan if five is None else 1 - five.value}

    def tick(self) -> float:
        """Add the time since the last tick to the run's, and return the sum in seconds."""
        now = time.perf_counter()
        self.at.seconds, self.clock = self.at.seconds + now - self.clock, now
        return self.at.seconds

    def note(self, unreadable: Iterable[Unreadable]) -> None:
        """Warn of each unreadable image once; the first process of those that the others met, at the next checkpoint."""
        for item in unreadable:
            if str(item.path) not in self.unreadable:
                self.unreadable[str(item.path)] = item
                if self.processes.is_first:
                    log.warning("left out: %s: %s", item.path, item.reason)

    def checkpoint(self) -> None:
        """Write everything that the next step depends on; with several processes, call it in all of them."""
        for known in self.processes.gather(self.unreadable):
            self.note(item for item in known.values() if item is not None)
        self.at.unreadable = sorted(self.unreadable)
        state = {**self.learner.state_dict(), "counters": self.at.to_dict()}
        if self.processes.is_first:
            try:
                self.folder.checkpoints.write(self.learner.step, state)
            except UserError as error:
                self.folder.is_kept |= error.resume is not None  # the earlier ones are what it can go on from
                raise
        self.saved_at = time.monotonic()

    def stop_here(self, where: str) -> StoppedError:
        """Return the error that ends a run which was asked to stop, and can be gone on with."""
        self.folder.is_kept = True
        return StoppedError(f"stopped at {where}", resume=self.folder.path)

    @contextmanager
    def resumable(self) -> Iterator[None]:
        """Keep the folder where the block fails, on a full disk, an image of the test or Ctrl-C, and let the error say how to go on."""
        try:
            yield
        except KeyboardInterrupt:
            raise self.stop_here(f"the end of epoch {self.at.rows[-1].epoch if self.at.rows else self.at.epoch}") from None
        except UserError as error:
            self.folder.is_kept = True
            if not isinstance(error, DivergedError):  # which it would again
                error.resume = error.resume or self.folder.path
            raise

    def _go_back(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state)
        rows = [EpochRow(**row) for row in state["counters"]["rows"]]
        self.at = Counters(**{**state["counters"], "rows": rows})
        self.unreadable = dict.fromkeys(self.at.unreadable)
