"""The training loop: enters a `Network`, splits of labelled images and a `Recipe`, leaves a run folder and a `Result`."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader

from inceptions.data.dataset import Batch, ImageDataset, Unreadable, image_loader
from inceptions.data.folders import Splits
from inceptions.data.preprocess import Preprocess, for_training
from inceptions.errors import UserError
from inceptions.evaluation.score import Score, score
from inceptions.networks import reshape
from inceptions.networks.draw import draw
from inceptions.networks.models import Classifier, ClassifierWithAux
from inceptions.networks.spec import Network
from inceptions.networks.trace import trace
from inceptions.training.device import pick_device, pick_precision
from inceptions.training.loss import classification_loss
from inceptions.training.progress import EpochRow, Reporter, Result, Start
from inceptions.training.recipes import Recipe, peak_lr
from inceptions.training.run_folder import RunFolder, now, versions
from inceptions.weights.folder import copy_model, load_model, save_model, update_metrics

log = logging.getLogger("inceptions")

NAMES = {"test": "test", "val": "validation", "train": "training"}


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run is made of, worked out before the first step."""

    network: Network
    preprocess: Preprocess
    splits: Splits
    recipe: Recipe
    device: torch.device
    autocast: torch.dtype | None
    source: str


def prepare(
    network: Network, splits: Splits, recipe: Recipe, *, source: str, image_size: int | None = None, device: str | None = None
) -> Setup:
    """Return everything that a run needs, checked: the network fitted to classes and image size, the device, the arithmetic.

    Auxiliary heads that do not fit the image size are left out, with a warning. Raises NetworkError, UserError.
    """
    network = reshape.with_classes(network, len(splits.classes))
    if image_size is not None and image_size != network.image_size:
        network = reshape.with_image_size(network, image_size)
    fitting = reshape.without_misfit_aux(network, image_size=network.image_size)
    if fitting != network:
        log.warning("training without auxiliary heads: they don't fit images of %d pixels", network.image_size)
    found = pick_device(device)
    autocast = pick_precision(recipe.precision, found)
    return Setup(fitting, for_training(network.image_size), splits, recipe, found, autocast, source)


def fit(setup: Setup, folder: Path, *, reporter: Reporter | None = None, workers: int | None = None) -> Result:
    """Train, validate every epoch, test the best model, and write the run folder `folder`, which must not exist.

    Raises UserError: the folder exists, an image can't be read (with on_error "fail"), or the loss is no longer a number.
    """
    run = RunFolder(folder)
    try:
        return Run(setup, run, reporter or Reporter(), workers).train()
    finally:
        run.discard()


class Run:
    """The state of one training run."""

    def __init__(self, setup: Setup, folder: RunFolder, reporter: Reporter, workers: int | None) -> None:
        torch.manual_seed(setup.recipe.seed)
        self.setup, self.folder, self.reporter, self.workers = setup, folder, reporter, workers
        made = ClassifierWithAux(setup.network) if setup.network.aux else Classifier(setup.network)
        self.module = made.to(setup.device).to(memory_format=torch.channels_last)
        recipe, splits = setup.recipe, setup.splits
        self.train_set = ImageDataset(splits.train, setup.preprocess, augment=recipe.augment, seed=recipe.seed, on_error=recipe.on_error)
        self.steps = max(1, len(self.train_set) // recipe.batch_size)
        self.optimizer = _optimizer(self.module, recipe, setup.network)
        self.schedule = OneCycleLR(
            self.optimizer,
            max_lr=peak_lr(recipe, setup.network),
            total_steps=max(2, recipe.epochs * self.steps),
            pct_start=recipe.warmup,
            cycle_momentum=False,
            final_div_factor=1e3,
        )
        self.unreadable: set[Path] = set()
        self.began = time.perf_counter()

    def train(self) -> Result:
        """Train every epoch, then test the best."""
        self.folder.write_recipe(self._settings())
        self.reporter.started(self._start())
        rows: list[EpochRow] = []
        best = 0
        for epoch in range(1, self.setup.recipe.epochs + 1):
            row = self._epoch(epoch)
            rows.append(row)
            is_best = row.val_accuracy >= max((r.val_accuracy for r in rows), default=0.0) or math.isnan(row.val_accuracy)
            best = epoch if is_best else best
            self._save(row, best=is_best)
            self.reporter.finished_epoch(row, best=is_best)
        on, tested = self._test(best)
        self._report(on, tested, rows, best)
        return Result(self.folder.path, tuple(rows), best, on, tested, len(self.unreadable))

    def _epoch(self, epoch: int) -> EpochRow:
        loss, accuracy, rate = self._train_epoch(epoch)
        checked = self._score(self.module, self.setup.splits.val, autocast=self.setup.autocast)
        lr = self.optimizer.param_groups[0]["lr"]
        seconds = time.perf_counter() - self.began
        return EpochRow(epoch, loss, accuracy, checked.loss, checked.accuracy, lr, rate, seconds)

    def _train_epoch(self, epoch: int) -> tuple[float, float, float]:
        self.module.train()
        self.train_set.epoch = epoch
        seen, total_loss, right, start = 0, 0.0, 0, time.perf_counter()
        loader = image_loader(
            self.train_set,
            batch_size=min(self.setup.recipe.batch_size, len(self.train_set)),
            shuffle=True,
            workers=self.workers,
            drop_last=True,
        )
        for step, batch in enumerate(loader, start=1):
            self._note(batch.unreadable)
            if len(batch.labels) < 2:
                continue
            loss, correct = self._step(batch)
            if not math.isfinite(loss):
                lr = self.optimizer.param_groups[0]["lr"]
                raise UserError(f"the loss is {loss} at epoch {epoch}, step {step} (lr {lr:.3g}); train with a lower --lr")
            seen += len(batch.labels)
            total_loss += loss * len(batch.labels)
            right += correct
            self.reporter.stepped(epoch, step, loss, seen / (time.perf_counter() - start))
        if not seen:
            raise UserError(f"no training image could be read ({len(self.unreadable)} unreadable files); look at the files named above")
        return total_loss / seen, right / seen, seen / (time.perf_counter() - start)

    def _step(self, batch: Batch) -> tuple[float, int]:
        device, recipe = self.setup.device, self.setup.recipe
        images = batch.images.to(device, memory_format=torch.channels_last, non_blocking=True)
        labels = batch.labels.to(device, non_blocking=True)
        with torch.autocast(device.type, dtype=self.setup.autocast, enabled=self.setup.autocast is not None):
            out = self.module(images)
            weights = tuple(side.weight for side in self.setup.network.aux)
            loss = classification_loss(out, labels, aux_weights=weights, label_smoothing=recipe.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), recipe.clip_norm)
        self.optimizer.step()
        self.schedule.step()
        logits = out if isinstance(out, torch.Tensor) else out.logits
        return loss.item(), int((logits.argmax(1) == labels).sum())

    def _score(self, module: nn.Module, samples: tuple, *, autocast: torch.dtype | None) -> Score:
        dataset = ImageDataset(samples, self.setup.preprocess, on_error=self.setup.recipe.on_error)
        loader: DataLoader[Batch] = image_loader(dataset, batch_size=2 * self.setup.recipe.batch_size, shuffle=False, workers=self.workers)
        result = score(module, loader, device=self.setup.device, autocast=autocast)
        self._note(result.unreadable)
        return result

    def _note(self, unreadable: Iterable[Unreadable]) -> None:
        for item in unreadable:
            if item.path not in self.unreadable:
                self.unreadable.add(item.path)
                log.warning("left out: %s: %s", item.path, item.reason)

    def _save(self, row: EpochRow, *, best: bool) -> None:
        self.folder.add_row(row)
        kept = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
        metrics = {name: getattr(row, name) for name in kept if not math.isnan(getattr(row, name))}
        save_model(
            self.module,
            self.folder.last,
            preprocess=self.setup.preprocess,
            classes=self.setup.splits.classes,
            provenance={"made_by": "inceptions train", "data": self.setup.source, "date": now(), "versions": versions()},
            metrics=metrics,
        )
        if best:
            copy_model(self.folder.last, self.folder.best)

    def _test(self, best_epoch: int) -> tuple[str, Score]:
        """Score the best model as `inceptions predict` runs it, in float32: on the test images, or for want of them on validation."""
        on = next((name for name in ("test", "val") if getattr(self.setup.splits, name)), "train")
        module = load_model(self.folder.best).module.to(self.setup.device).to(memory_format=torch.channels_last)
        result = self._score(module, getattr(self.setup.splits, on), autocast=None)
        update_metrics(self.folder.best, {f"{on}_accuracy": result.accuracy, f"{on}_loss": result.loss, "epoch": best_epoch})
        return NAMES[on], result

    def _report(self, on: str, tested: Score, rows: list[EpochRow], best_epoch: int) -> None:
        missing = [name for name in ("jinja2", "matplotlib") if find_spec(name) is None]
        if missing:
            log.warning("no plots and no report.html: %s not installed; pip install 'inceptions[report]'", " and ".join(missing))
            return
        from inceptions.evaluation.report import Report, write_report

        setup = self.setup
        samples = next(getattr(setup.splits, name) for name, shown in NAMES.items() if shown == on)
        report = Report(
            title=f"{setup.network.name} on {setup.source}",
            on=on,
            score=tested,
            classes=setup.splits.classes,
            rows=rows,
            best_epoch=best_epoch,
            settings=self._settings(),
            paths=tuple(sample.path for sample in samples),
            drawing=draw(setup.network),
        )
        write_report(report, self.folder.path)

    def _settings(self) -> dict:
        setup = self.setup
        images = {name: len(getattr(setup.splits, name)) for name in ("train", "val", "test")}
        return {
            "model": setup.network.name,
            "data": setup.source,
            "image_size": setup.network.image_size,
            "images": images,
            "classes": list(setup.splits.classes),
            "device": str(setup.device),
            "arithmetic": _arithmetic(setup.autocast),
            "peak_lr": peak_lr(setup.recipe, setup.network),
            "auxiliary_heads": {side.after: side.weight for side in setup.network.aux},
            "recipe": setup.recipe.to_dict(),
        }

    def _start(self) -> Start:
        setup = self.setup
        return Start(
            folder=self.folder.path,
            network=setup.network.name,
            parameters=trace(setup.network).total.parameters,
            image_size=setup.network.image_size,
            classes=len(setup.splits.classes),
            images={name: len(getattr(setup.splits, name)) for name in ("train", "val", "test")},
            notes=setup.splits.notes,
            device=str(setup.device),
            precision=_arithmetic(setup.autocast),
            epochs=setup.recipe.epochs,
            steps_per_epoch=self.steps,
        )


def _optimizer(module: nn.Module, recipe: Recipe, network: Network) -> SGD:
    kernels = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return SGD(groups, lr=peak_lr(recipe, network), momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def _arithmetic(autocast: torch.dtype | None) -> str:
    return "float32" if autocast is None else str(autocast).removeprefix("torch.")
