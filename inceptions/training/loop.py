"""The training loop: enters a `Setup`, leaves a run folder and a `Result`. Killed at any moment, it goes on where it was."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from inceptions.data.dataset import Batch, ImageDataset, ImageLoader, image_loader
from inceptions.data.folders import locate_source
from inceptions.devices import memory_for, pick_device
from inceptions.errors import DivergedError, UserError
from inceptions.training.features import FeatureBatch
from inceptions.training.finetune import fit_size
from inceptions.training.frozen import FrozenBody
from inceptions.training.learner import StepResult
from inceptions.training.longer import ENDED_AFTER, change_epochs
from inceptions.training.look import Look
from inceptions.training.processes import Processes, world_size
from inceptions.training.progress import EpochRow, Pace, Reporter, Result
from inceptions.training.recipes import training_side
from inceptions.training.report import save_batch, save_batch_picture, settings_of
from inceptions.training.run import Run
from inceptions.training.run_folder import RESUME_NAME, RunFolder, is_finished, is_left_over, new_run_folder, read_finished, read_resume
from inceptions.training.setup import Setup, prepare, restore

__all__ = ["Pace", "Setup", "fit", "prepare", "resume"]

OF_A_MACHINE = ("data", "place", "weights", "weights_place", "device")  # of a setup's settings: where things are
STOP_EVERY = 8  # steps, of several processes: so often they ask each other whether to stop, which all of them wait for

log = logging.getLogger("inceptions")


def fit(
    setup: Setup,
    folder: Path,
    *,
    reporter: Reporter | None = None,
    pace: Pace | None = None,
    goes_on: bool = False,
    look: Look | None = None,
) -> Result:
    """Train, validate every epoch, test the best model, and write the run folder `folder`, which must not exist.

    goes_on: a killed run of the same settings may be in `folder`, and then goes on from its last checkpoint; so it does where a process
    died and torchrun has begun anew. look: is shown every step.
    Raises UserError: the folder exists, or an image can't be read (with on_error "fail"); DivergedError where the loss is no number any
    more; StoppedError after Ctrl-C.
    """
    _check_processes(setup)
    with Processes(setup.device) as processes:
        may_go_on = goes_on or processes.sum([processes.restarts])[0] > 0  # machines count them apart
        goes_on = processes.first(lambda: may_go_on and is_left_over(folder, setup.to_dict()))
        is_new = processes.is_first and not goes_on
        run_folder = processes.together(
            lambda: new_run_folder(folder, settings=settings_of(setup), resume=setup.to_dict()) if is_new else RunFolder(folder)
        )
        with _held(run_folder, processes):
            try:
                processes.together(lambda: _require_there(folder, is_first=processes.is_first))
                state = processes.together(run_folder.checkpoints.read_last) if goes_on else None
                _require_alike(setup, state, processes)
                if goes_on and processes.is_first:
                    run_folder.sweep()
                return _train(
                    Run(setup, run_folder, processes, reporter=reporter or Reporter(), pace=pace or Pace(), state=state, look=look)
                )
            except BaseException:
                if processes.is_first:
                    run_folder.discard()
                raise


def resume(
    folder: Path, *, data: str | None = None, epochs: int | None = None, reporter: Reporter | None = None, pace: Pace | None = None
) -> Result:
    """Go on with the run in `folder` from its last checkpoint, as if it had never stopped; begin it where it had none yet.

    data: where the images are, if they have moved. epochs: how many there are to be in all; then a finished run goes on too (`longer`).
    Raises UserError: no such run, one that is finished, or that another process trains, fewer epochs than it has, or images, or weights to
    begin with, that are no longer the same.
    """
    values, _ = _read_run(folder, epochs)  # there is a run to go on with
    with Processes(pick_device(values["device"])) as processes, _held(RunFolder(folder), processes):
        return _go_on(folder, data, epochs, processes, reporter or Reporter(), pace or Pace())


def _read_run(folder: Path, epochs: int | None) -> tuple[dict[str, Any], bool]:
    """Return what a run was set up by, and whether it is finished and goes on for more epochs."""
    reopens = epochs is not None and is_finished(folder)
    return (read_finished(folder) if reopens else read_resume(folder)), reopens


def _go_on(folder: Path, data: str | None, epochs: int | None, processes: Processes, reporter: Reporter, pace: Pace) -> Result:
    """Go on with the run in a folder that is ours by now: what was read before may have changed."""
    (values, reopens), run_folder = processes.together(lambda: _read_run(folder, epochs)), RunFolder(folder)
    state = processes.together(run_folder.checkpoints.read_last)
    change = None if epochs is None else change_epochs(folder, values, state, epochs=epochs, reopens=reopens)
    values = change.values if change else values
    setup = restore(values if data is None else {**values, "data": data, "place": locate_source(data)}, begins=state is None)
    setup = replace(setup, notes=(*setup.notes, change.note(setup))) if change else setup
    _check_processes(setup)
    ended = {name: value for name, value in values.items() if name == ENDED_AFTER}
    _require_alike(setup, state, processes)
    if processes.is_first:
        run_folder.sweep()
        if reopens:
            run_folder.reopen()
        if change:
            run_folder.write_epochs(setup.recipe.epochs)
        run_folder.write_resume({**setup.to_dict(), **ended})
    return _train(Run(setup, run_folder, processes, reporter=reporter, pace=pace, state=state, **ended))


@contextmanager
def _held(folder: RunFolder, processes: Processes) -> Iterator[None]:
    """Keep all processes but these out of the folder."""
    with ExitStack() as stack:
        processes.together(lambda: stack.enter_context(folder.held()) if processes.is_first else None)
        yield


def _require_there(folder: Path, *, is_first: bool) -> None:
    """Raise UserError where there is no run to train in a folder that is ours by now."""
    if (folder / RESUME_NAME).is_file():
        return
    if is_first:
        raise UserError(f"another process has ended the run in {folder} meanwhile; say the same again to see how far it is")
    raise UserError(f"a process of this run doesn't see {folder}; on several machines it has to be on a disk that all of them see")


def _require_alike(setup: Setup, state: dict[str, Any] | None, processes: Processes) -> None:
    """Raise UserError where not all processes, each of which reads for itself, have the same images, settings and checkpoint."""
    mine = {name: value for name, value in setup.to_dict().items() if name not in OF_A_MACHINE} | {"checkpoint": state and state["step"]}
    theirs = processes.gather(mine)
    differing = [name for name, value in theirs[0].items() if any(other[name] != value for other in theirs)]
    if differing:
        raise UserError(f"the processes of this run differ in {', '.join(differing)}; start all of them with the same, on the same images")


def _check_processes(setup: Setup) -> None:
    world = world_size()
    if world > 1 and setup.batch_size < 2 * world:
        raise UserError(
            f"batches of {setup.batch_size} images leave {world} processes fewer than 2 each, which batch normalisation can't learn from; "
            f"start {max(1, setup.batch_size // 2)} at most, or raise batch_size where there are more images"
        )
    if setup.recipe.asynchronous and world > 1:
        raise UserError(
            f"recipe {setup.recipe.name} trains asynchronously and starts its {setup.recipe.asynchronous} workers itself; start it as one "
            f"process, without torchrun, or train in step: asynchronous=0"
        )


def _train(run: Run) -> Result:
    """Train the epochs that are left, then test the best."""
    result: Result | None = None
    try:
        with closing(run):
            with run.stop:
                run.begin()
                if run.setup.recipe.asynchronous:
                    from inceptions.training.asynchronous.run import train_epochs  # which needs numpy's and Ray's time
                else:
                    train_epochs = train_in_step
                train_epochs(run)
                if run.processes.sum([run.stop.is_set])[0]:  # since the last step
                    raise run.stop_here("the end of the last epoch, before the test")
            result = run.end()
        return result
    except RuntimeError as error:
        if not run.stop.is_set or "DataLoader worker" not in str(error):
            raise
        # a signal to the whole group ends the readers too, and torch says so at any moment: only the last checkpoint is sure to be whole
        raise run.stop_here(f"epoch {run.at.epoch}, with the processes that read; what is left begins at the last checkpoint") from None
    finally:
        run.reporter.ended(result)


def train_in_step(run: Run) -> None:
    """Train the epochs that are left, all processes in step."""
    with closing(training_loader(run.setup, workers=run.pace.workers, part=run.processes.part)) as loader:
        frozen = FrozenBody(run, loader)
        while run.at.epoch <= run.setup.recipe.epochs and not _is_enough(run):
            set_epoch(loader, run.setup, epoch=run.at.epoch)
            loader.order.start = run.at.step
            _train_epoch(run, frozen)
            run.end_epoch(_row(run, frozen), run.learner.kept)


def training_loader(setup: Setup, *, workers: int | None, part: tuple[int, int] = (0, 1)) -> ImageLoader:
    """Return the loader of the images that a run learns from; `set_epoch` before each pass. workers, part: as for `image_loader`."""
    recipe, splits = setup.recipe, setup.splits
    dataset = ImageDataset(
        splits.train,
        setup.preprocess,
        augment=recipe.augment,
        seed=recipe.seed,
        on_error=recipe.on_error,
        interleaved=splits.interleaved,
        sampling=recipe.sampling,
    )
    return image_loader(dataset, batch_size=recipe.batch_size, shuffle=True, even=True, workers=workers, part=part)


def set_epoch(loader: ImageLoader, setup: Setup, *, epoch: int) -> None:
    """Have the next pass of a `training_loader` be that of `epoch`, counted from 1: its order, its variations, the size of its images."""
    side = training_side(setup.recipe, epoch=epoch, image_size=setup.network.image_size)
    dataset = loader.order.dataset
    dataset.preprocess = fit_size(setup.preprocess, image_size=side)
    dataset.epoch = epoch


def _train_epoch(run: Run, frozen: FrozenBody) -> None:
    run.learner.begin_epoch(run.at.epoch)
    run.clock = time.perf_counter()
    for batch in run.processes.iterate(frozen.batches()):
        _step(run, batch)
        _save_in_time(run)
    if not run.at.seen:
        raise UserError(f"no training image could be read ({len(run.unreadable)} unreadable files); look at the files named above")


def _step(run: Run, batch: Batch | FeatureBatch) -> None:
    at = run.at
    run.note(batch.unreadable)
    at.step += 1
    if at.epoch == at.step == 1 and run.processes.is_first and len(batch.labels):
        save_batch_picture(_pictures(batch), run.folder.path / "train_batch.png")
    run.look.before(run.learner, batch)
    with memory_for(-(-len(batch.labels) // run.setup.recipe.accumulate), run.setup.device):
        done = run.learner.learn(batch)
    if not done.images:
        return
    if not math.isfinite(done.loss):
        _refuse(run, batch, done)
    run.look.after(run.learner, batch)
    at.seen += done.images
    at.loss += done.loss * done.images
    at.right += done.right
    at.epoch_seconds -= at.seconds
    at.epoch_seconds += run.tick()
    run.reporter.stepped(at.epoch, at.step, done.loss, at.seen / max(at.epoch_seconds, 1e-9), run.learner.lr)


def _pictures(batch: Batch | FeatureBatch) -> Batch:
    if isinstance(batch, Batch):
        return batch
    assert batch.read is not None
    return batch.read()


def _refuse(run: Run, batch: Batch | FeatureBatch, done: StepResult) -> None:
    name = "bad_batch.safetensors" if run.processes.world == 1 else f"bad_batch-{run.processes.rank}.safetensors"
    run.folder.is_kept = True
    try:
        kept = f"the batch is in {save_batch(_pictures(batch), run.folder.path / name)}"
    except UserError as error:
        kept = f"the batch is not kept: {error}"
    mend = "precision=float32, or a lower lr" if run.setup.autocast is torch.float16 else "a lower lr"
    raise DivergedError(
        f"the loss is {done.loss} at epoch {run.at.epoch}, step {run.at.step} (lr {run.learner.lr:.3g}); train with {mend} ({kept})"
    )


def _row(run: Run, frozen: FrozenBody) -> EpochRow:
    at = run.at
    run.processes.share_buffers(run.learner.kept)
    checked = run.validated(frozen.score())
    run.tick()
    rate = at.seen / max(at.epoch_seconds, 1e-9)
    return EpochRow(
        epoch=at.epoch,
        train_loss=at.loss / at.seen,
        train_accuracy=at.right / at.seen,
        **checked,
        lr=run.learner.lr,
        images_per_second=rate,
        seconds=at.seconds,
    )


def _is_enough(run: Run) -> bool:
    patience = run.setup.recipe.early_stop
    if not patience or not run.at.rows or run.at.rows[-1].epoch - max(run.at.best, run.ended_after) < patience:
        return False
    log.info("stopped early: no better validation accuracy for %d epochs", patience)
    return True


def _save_in_time(run: Run) -> None:
    by_steps = bool(run.pace.steps and run.at.step % run.pace.steps == 0)  # in all processes at once
    if run.processes.world > 1 and run.learner.step % STOP_EVERY and not by_steps:
        return
    due = by_steps or 0 < 60 * run.pace.minutes < time.monotonic() - run.saved_at
    stopping, due = (bool(value) for value in run.processes.sum([run.stop.is_set, due and run.processes.is_first]))
    if not stopping and not due:
        return
    run.checkpoint()
    run.folder.is_kept = True
    if stopping:
        raise run.stop_here(f"epoch {run.at.epoch}, step {run.at.step}")
