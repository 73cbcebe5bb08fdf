"""What a run leaves behind: enters trained modules and rows, leaves model folders, the test of the best, plots and the report."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import safetensors.torch
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn

from inceptions.data.dataset import Batch
from inceptions.data.folders import name_source
from inceptions.data.splits import Sample
from inceptions.errors import ModelFolderError
from inceptions.evaluation.metrics import calibration_error, commonest_confusions
from inceptions.evaluation.score import Score
from inceptions.evaluation.temperature import Confidence, Fitted, fit_temperature
from inceptions.extras import REPORT_MODULES, missing_modules
from inceptions.files import cannot_write, copy_whole, whole_file
from inceptions.networks.drawing.page import draw
from inceptions.networks.modules.models import Classifier
from inceptions.networks.trace import trace
from inceptions.training.progress import EpochRow, Result, Start
from inceptions.training.run_folder import RunFolder
from inceptions.training.setup import Setup
from inceptions.versions import now, versions
from inceptions.weights.card import read_card
from inceptions.weights.folder import (
    LoadedModel,
    apply_temperature,
    keep_temperature,
    load_model,
    save_model,
    update_metrics,
)

if TYPE_CHECKING:
    from inceptions.evaluation.report import HeatMap

NAMES = {"test": "test", "val": "validation", "train": "training"}
CARD_CONFUSIONS = 10  # that the card keeps
MEASURED = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")


class Judges(NamedTuple):
    """What finds out, over all processes, how a module does on samples: scores at temperatures, and logits (N, K) with labels (N,)."""

    score_at: Callable[[Sequence[float], nn.Module, Sequence[Sample], torch.dtype | None], list[Score]]
    logits: Callable[[nn.Module, Sequence[Sample]], tuple[Tensor, Tensor]]


def save_model_folder(setup: Setup, folder: RunFolder, module: nn.Module, row: EpochRow) -> None:
    """Write last/ of an epoch."""
    metrics = {name: getattr(row, name) for name in MEASURED if not math.isnan(getattr(row, name))}
    save_model(
        cast("Classifier", module),
        folder.last,
        preprocess=setup.preprocess,
        classes=setup.splits.classes,
        licence=setup.licence,
        provenance=_provenance(setup),
        metrics=metrics,
        split=setup.split,
    )


def keep_best(folder: RunFolder, *, epoch: int) -> None:
    """Make best/ that of the best epoch by the checkpoint, where the run was killed before it was: it is last/ then."""
    of_best, of_last = map(_epoch_of, (folder.best, folder.last))
    if of_best != epoch == of_last:
        copy_whole(folder.last, folder.best)


def _epoch_of(model: Path) -> float | None:
    """Return the epoch that a model folder is of; None where there is none, or none that can be read."""
    with suppress(ModelFolderError):
        return read_card(model).metrics.get("epoch")
    return None


def finish(
    setup: Setup,
    folder: RunFolder,
    judges: Judges,
    rows: Sequence[EpochRow],
    *,
    best: int,
    unreadable: int,
    writes: bool,
    explain: Callable[[LoadedModel], HeatMap] | None = None,
) -> Result:
    """Fit temperatures on validation images; score the best model as it is used, in float32, on test or for want of it validation; report.

    best: the epoch that it is of. unreadable: how many files were left out in training. writes: whether this process does.
    explain: as `Pace` has it.
    """
    on = next((name for name in ("test", "val") if getattr(setup.splits, name)), "train")
    samples = getattr(setup.splits, on)
    model, fitted = _calibrate(setup, folder, judges, writes=writes)
    divided_by = () if fitted.temperature == 1 else (1 / fitted.temperature,)
    tested, *undivided = judges.score_at((1.0, *divided_by), model.module, samples, None)
    if writes:
        measured = {f"{on}_accuracy": tested.accuracy, f"{on}_loss": tested.loss, f"{on}_images": tested.count, "epoch": best}
        measured |= {f"{on}_calibration_error": calibration_error(tested)}
        measured |= {f"{on}_calibration_error_undivided": calibration_error(score) for score in undivided}
        confusions = commonest_confusions(tested, setup.splits.classes, most=CARD_CONFUSIONS)
        update_metrics(folder.best, {name: value for name, value in measured.items() if not math.isnan(value)}, confusions=confusions)
        same = "; they are measured here too" if on == "val" and fitted.temperature != 1 else ""
        confidence = Confidence(fitted.said("validation") + same, next(iter(undivided), None))
        _report(setup, folder, NAMES[on], tested, confidence, samples, rows, best, explain(model) if explain else None)
        folder.conclude()
    return Result(folder.path, tuple(rows), best, NAMES[on], tested, unreadable)


def _calibrate(setup: Setup, folder: RunFolder, judges: Judges, *, writes: bool) -> tuple[LoadedModel, Fitted]:
    """Return the best model, its logits divided by a temperature that is fitted on validation images, and that; both folders keep theirs.

    Each process has the same numbers to fit on, and none reads what another writes.
    """
    last, best = (load_model(path, calibrated=False) for path in (folder.last, folder.best))
    same = last.card.sha256 == best.card.sha256
    fitted = _fit(setup, best, judges)
    found = {folder.best: fitted, folder.last: fitted if same else _fit(setup, last, judges)}
    for path, each in found.items():
        if writes and each.images:
            keep_temperature(path, each.temperature, record=each.record("validation"))
    apply_temperature(best.module, fitted.temperature)
    return replace(best, card=replace(best.card, temperature=fitted.temperature)), fitted


def _fit(setup: Setup, model: LoadedModel, judges: Judges) -> Fitted:
    """Return the temperature of a model, which is on the run's device afterwards."""
    module = model.module.to(setup.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if not setup.splits.val:
        merged = setup.recipe.train_on_val and setup.splits.test
        return Fitted(1.0, 0, "there are no validation images" + (": they train too (train_on_val)" if merged else ""))
    return fit_temperature(*judges.logits(module, setup.splits.val))


def _provenance(setup: Setup) -> dict[str, Any]:
    made = {"made_by": "inceptions train", "data": setup.source, "recipe": setup.recipe.name, "date": now(), "versions": versions()}
    return {**made, "weights": setup.weights} if setup.weights else made


def _report(
    setup: Setup,
    folder: RunFolder,
    on: str,
    tested: Score,
    confidence: Confidence,
    samples: tuple,
    rows: Sequence[EpochRow],
    best_epoch: int,
    heat_map: HeatMap | None,
) -> None:
    from inceptions.evaluation.report import Report, write_report
    from inceptions.evaluation.saved import write_predictions

    if missing_modules(*REPORT_MODULES):  # as was said before the first step
        return
    paths = tuple(sample.path for sample in samples)
    write_predictions({(setup.network.name, 1): tested}, setup.splits.classes, paths, folder.results / "predictions.parquet")
    report = Report(
        title=f"{setup.network.name} on {name_source(setup.source)}",
        on=on,
        score=tested,
        confidence=confidence,
        classes=setup.splits.classes,
        paths=paths,
        drawing=draw(setup.network),
        settings=settings_of(setup),
        facts=_facts(setup, folder),
        rows=rows,
        best_epoch=best_epoch,
        heat_map=heat_map,
    )
    write_report(report, folder.results)


def _facts(setup: Setup, folder: RunFolder) -> tuple[tuple[str, str], ...]:
    total, card = trace(replace(setup.network, aux=())).total, read_card(folder.best)
    return (
        ("model", f"{folder.path / 'best'}, SHA-256 {card.sha256[:16]}"),
        ("network", f"{setup.network.title}: {total.parameters:,} parameters, {total.multiply_adds / 1e6:,.0f} M multiply-adds an image"),
        ("images", ", ".join(f"{len(getattr(setup.splits, part))} {name}" for part, name in NAMES.items() if getattr(setup.splits, part))),
        ("recipe", f"{setup.recipe.name}: {setup.recipe.source}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions().items())),
        ("date", now()),
    )


def settings_of(setup: Setup) -> dict[str, Any]:
    """Return everything that decides a run, in YAML's types."""
    return {
        "model": setup.network.name,
        "weights": setup.weights,
        "data": setup.source,
        "image_size": setup.network.image_size,
        "images": _counts(setup),
        "classes": list(setup.splits.classes),
        "device": str(setup.device),
        "arithmetic": _arithmetic(setup.autocast),
        "peak_lr": setup.peak_lr,
        "auxiliary_heads": {side.after: side.weight for side in setup.network.aux},
        "recipe": setup.recipe.to_dict(),
    }


def hyperparameters_of(setup: Setup) -> dict[str, Any]:
    """Return the recipe, with the network that it trains and at what rate, as plain values by dotted names such as optimizer.momentum."""
    from inceptions.evaluation.compare import flatten

    network, recipe = setup.network, flatten(setup.recipe.to_dict())
    plain = {name: json.dumps(value) if isinstance(value, list) else value for name, value in recipe}
    return {**plain, "model": network.name, "image_size": network.image_size, "peak_lr": setup.peak_lr}


def start_of(setup: Setup, folder: Path, *, epoch: int, step: int) -> Start:
    """Return what a reporter shows before the first step; a resumed run begins after `step` of `epoch`."""
    return Start(
        folder=folder,
        network=setup.network.name,
        parameters=trace(setup.network).total.parameters,
        image_size=setup.network.image_size,
        classes=len(setup.splits.classes),
        images=_counts(setup),
        notes=(*setup.splits.notes, *setup.notes, *_note_compiler(setup), *_note_missing()),
        device=str(setup.device),
        precision=_arithmetic(setup.autocast),
        epochs=setup.recipe.epochs,
        steps_per_epoch=setup.steps_per_epoch,
        epoch=epoch,
        step=step,
    )


def _note_compiler(setup: Setup) -> Iterator[str]:
    if setup.recipe.compile != "none":
        yield "torch's compiler works at the first step of each size of images, for minutes, in which nothing is to be seen"


def _note_missing() -> Iterator[str]:
    if missing := missing_modules(*REPORT_MODULES):
        yield f"there will be no plots and no report.html: {' and '.join(missing)} not installed; pip install 'inceptions[report]'"


def _counts(setup: Setup) -> dict[str, int]:
    return {name: len(getattr(setup.splits, name)) for name in ("train", "val", "test")}


def _arithmetic(autocast: torch.dtype | None) -> str:
    return "float32" if autocast is None else str(autocast).removeprefix("torch.")


MOST, IN_A_ROW, GAP_PX = 32, 8, 2
SIDE_PX = 96  # smaller images are shown in larger pixels


def save_batch_picture(batch: Batch, path: Path) -> None:
    """Write a PNG of the first images of a batch as they come to the network, in rows of eight."""
    pixels = batch.pixels[:MOST]
    pixels = pixels[:, :3] if pixels.shape[1] >= 3 else pixels[:, :1]
    enlarge = max(1, SIDE_PX // pixels.shape[-1])
    pixels = pixels.repeat_interleave(enlarge, -1).repeat_interleave(enlarge, -2)
    pictures = pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    step, columns = pictures.shape[1] + GAP_PX, min(IN_A_ROW, len(pictures))
    sheet = Image.new("RGB", (GAP_PX + step * columns, GAP_PX + step * math.ceil(len(pictures) / columns)), "white")
    for place, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(picture), (GAP_PX + step * (place % columns), GAP_PX + step * (place // columns)))
    with whole_file(path) as scratch:
        sheet.save(scratch)


def save_batch(batch: Batch, path: Path) -> Path:
    """Write images as the network reads them, labels and their places in the training set; raises UserError where it can't."""
    tensors = {"images": batch.images().contiguous(), "labels": batch.labels, "indices": batch.indices}
    with whole_file(path) as scratch:
        try:
            safetensors.torch.save_file(tensors, scratch)
        except SafetensorError as error:  # what it makes of a full disk
            raise cannot_write(path, OSError(str(error))) from error
    return path
