"""What a run leaves behind: enters trained modules and rows, leaves model folders, the test of the best, plots and the report."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from torch import nn

from inceptions.data.folders import name_source
from inceptions.evaluation.score import Score
from inceptions.networks.draw import draw
from inceptions.networks.models import Classifier
from inceptions.networks.trace import trace
from inceptions.training.progress import EpochRow, Result
from inceptions.training.run_folder import RESUME_NAME, RunFolder
from inceptions.training.setup import Setup
from inceptions.training.telling import settings_of
from inceptions.versions import now, versions
from inceptions.weights.card import read_card
from inceptions.weights.folder import copy_model, load_model, save_model, update_metrics

log = logging.getLogger("inceptions")

NAMES = {"test": "test", "val": "validation", "train": "training"}
MEASURED = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
Scorer = Callable[[nn.Module, tuple, torch.dtype | None], Score]


class Trained(Protocol):
    """What a run has come to: its rows, and the best epoch."""

    rows: list[EpochRow]
    best: int


def save_model_folder(setup: Setup, folder: RunFolder, module: nn.Module, row: EpochRow, *, best: bool) -> None:
    """Write last/ of an epoch, and best/ too where it is the best."""
    metrics = {name: getattr(row, name) for name in MEASURED if not math.isnan(getattr(row, name))}
    save_model(
        cast("Classifier", module),
        folder.last,
        preprocess=setup.preprocess,
        classes=setup.splits.classes,
        licence=setup.licence,
        provenance=_provenance(setup),
        metrics=metrics,
    )
    if best:
        copy_model(folder.last, folder.best)


def finish(setup: Setup, folder: RunFolder, scorer: Scorer, at: Trained, unreadable: int, *, writes: bool) -> Result:
    """Score the best model as `inceptions predict` runs it, in float32, on the test images or for want of them on validation; report."""
    on = next((name for name in ("test", "val") if getattr(setup.splits, name)), "train")
    samples = getattr(setup.splits, on)
    module = load_model(folder.best).module.to(setup.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    tested = scorer(module, samples, None)
    if writes:
        update_metrics(folder.best, {f"{on}_accuracy": tested.accuracy, f"{on}_loss": tested.loss, "epoch": at.best})
        _report(setup, folder, NAMES[on], tested, samples, at.rows, at.best)
        (folder.path / RESUME_NAME).unlink(missing_ok=True)
        folder.checkpoints.remove()
    return Result(folder.path, tuple(at.rows), at.best, NAMES[on], tested, unreadable)


def _provenance(setup: Setup) -> dict[str, Any]:
    made = {"made_by": "inceptions train", "data": setup.source, "recipe": setup.recipe.name, "date": now(), "versions": versions()}
    return {**made, "weights": setup.weights} if setup.weights else made


def _report(setup: Setup, folder: RunFolder, on: str, tested: Score, samples: tuple, rows: Sequence[EpochRow], best_epoch: int) -> None:
    from inceptions.evaluation.report import Report, missing_packages, write_report
    from inceptions.evaluation.saved import write_predictions

    missing = missing_packages()
    if missing:
        log.warning("no plots and no report.html: %s not installed; pip install 'inceptions[report]'", " and ".join(missing))
        return
    paths = tuple(sample.path for sample in samples)
    write_predictions({(setup.network.name, 1): tested}, setup.splits.classes, paths, folder.path / "predictions.parquet")
    report = Report(
        title=f"{setup.network.name} on {name_source(setup.source)}",
        on=on,
        score=tested,
        classes=setup.splits.classes,
        paths=paths,
        drawing=draw(setup.network),
        settings=settings_of(setup),
        facts=_facts(setup, folder),
        rows=rows,
        best_epoch=best_epoch,
    )
    write_report(report, folder.path)


def _facts(setup: Setup, folder: RunFolder) -> tuple[tuple[str, str], ...]:
    total, card = trace(replace(setup.network, aux=())).total, read_card(folder.best)
    return (
        ("model", f"{folder.best}, SHA-256 {card.sha256[:16]}"),
        ("network", f"{setup.network.title}: {total.parameters:,} parameters, {total.multiply_adds / 1e6:,.0f} M multiply-adds an image"),
        ("images", ", ".join(f"{len(getattr(setup.splits, part))} {name}" for part, name in NAMES.items() if getattr(setup.splits, part))),
        ("recipe", f"{setup.recipe.name}: {setup.recipe.source}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions().items())),
        ("date", now()),
    )
