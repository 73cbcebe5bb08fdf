"""Asynchronous SGD as the loop's other way of learning: enters a `Run`, leaves its epochs done, staleness.csv and staleness.png."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec

import torch
from torch.nn import Parameter

from inceptions.training.asynchronous.driver import EpochDone, Progress, train_asynchronously
from inceptions.training.asynchronous.server import Rule, plot_staleness, read_staleness, write_staleness
from inceptions.training.asynchronous.worker import Job
from inceptions.training.learner import Learner
from inceptions.training.optimizers import decay_groups, make_optimizer
from inceptions.training.progress import EpochRow
from inceptions.training.recipe import Recipe
from inceptions.training.run import Run
from inceptions.training.schedules import lr_factor

STALENESS_NAME = "staleness.csv"


def train_epochs(run: Run) -> None:
    """Train the epochs of `run` with its recipe's number of workers and a parameter server, and write how stale the gradients were."""
    peak = run.setup.peak_lr

    def report(progress: Progress) -> None:
        run.folder.is_kept = True  # the servers have checkpoints
        number = (progress.epoch - 1) * run.steps + progress.step - 1
        lr = lr_at(number, recipe=run.setup.recipe, peak=peak, steps_per_epoch=run.steps)
        run.reporter.stepped(progress.epoch, progress.step, progress.loss, progress.images_per_second, lr)
        if run.stop.is_set:
            raise run.stop_here(f"epoch {progress.epoch}")

    def end_of_epoch(done: EpochDone) -> None:
        if run.at.rows and done.epoch <= run.at.rows[-1].epoch:  # a server went back to a checkpoint of an epoch that is told already
            return
        run.note(done.unreadable)
        run.learner.module.load_state_dict(done.state)
        checked = run.validate(run.learner.module)
        seconds = run.tick()
        row = EpochRow(
            epoch=done.epoch,
            train_loss=done.loss,
            train_accuracy=done.accuracy,
            **checked,
            lr=done.lr,
            images_per_second=done.images_per_second,
            seconds=seconds,
        )
        _note_staleness(run, done)
        run.end_epoch(row, run.learner.module)

    workers = run.setup.recipe.asynchronous
    with run.resumable():
        train_asynchronously(make_job(run), workers=workers, address=run.pace.address, report=report, end_of_epoch=end_of_epoch)
    if find_spec("matplotlib") is not None:
        plot_staleness(read_staleness(run.folder.results / STALENESS_NAME), run.folder.results / "staleness.png")


def _note_staleness(run: Run, done: EpochDone) -> None:
    """Write how stale gradients were, those of earlier epochs before the epoch's: a run that goes on has them from its file alone."""
    before = next(filter(None, (read_staleness(place / STALENESS_NAME) for place in (run.folder.results, run.folder.path))), ())
    write_staleness((*before[: (done.epoch - 1) * run.steps], *done.staleness), run.folder.results / STALENESS_NAME)


def make_job(run: Run) -> Job:
    """Return what the workers and the server are told."""
    setup, recipe = run.setup, run.setup.recipe
    rule = Rule(
        make_optimizer=partial(shard_optimizer, recipe=recipe, lr=setup.peak_lr, scales=lr_scales(run.learner)),
        lr_at=partial(lr_at, recipe=recipe, peak=setup.peak_lr, steps_per_epoch=run.steps),
        average=recipe.average,
        checkpoint_every=run.pace.steps or 100,
        fresh=setup.weights is None,
    )
    return Job(
        network=setup.network,
        samples=setup.splits.train,
        preprocess=setup.preprocess,
        augment=recipe.augment,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        seed=recipe.seed,
        gradients=run.learner.gradients,
        rule=rule,
        checkpoints=run.folder.checkpoints.folder / "servers",
        state={key: value.cpu() for key, value in run.learner.module.state_dict().items()},
        on_error=recipe.on_error,
        device=setup.device.type,
        interleaved=setup.splits.interleaved,
        sampling=recipe.sampling,
    )


def lr_scales(learner: Learner) -> dict[str, float]:
    """Return the learning rate of each parameter by its name, in multiples of the common one."""
    groups = zip(learner.optimizer.param_groups, learner.peaks, strict=True)
    scales = {id(parameter): peak / learner.setup.peak_lr for group, peak in groups for parameter in group["params"]}
    return {name: scales[id(parameter)] for name, parameter in learner.module.named_parameters()}


def shard_optimizer(pairs: list[tuple[str, Parameter]], *, recipe: Recipe, lr: float, scales: Mapping[str, float]) -> torch.optim.Optimizer:
    """Return the optimiser of a shard's parameters: kernels decay, biases and batch normalisation don't. scales: of `lr_scales`."""
    groups = [
        {**group, "lr_scale": scale}
        for scale in dict.fromkeys(scales[name] for name, _ in pairs)
        for group in decay_groups((parameter for name, parameter in pairs if scales[name] == scale), weight_decay=recipe.weight_decay)
    ]
    return make_optimizer(recipe.optimizer, groups, lr=lr)


def lr_at(step: int, *, recipe: Recipe, peak: float, steps_per_epoch: int) -> float:
    """Return the learning rate of the gradient number `step`, counted from 0."""
    return peak * lr_factor(recipe.schedule, step, steps_per_epoch=steps_per_epoch, epochs=recipe.epochs)
