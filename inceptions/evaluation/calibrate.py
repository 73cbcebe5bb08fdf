"""The temperature of a model that exists: enters a model folder and labelled images, leaves its card with it, judged on other images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from inceptions.data.dataset import ImageDataset, ImageLoader, image_loader
from inceptions.data.folders import load_splits
from inceptions.data.splits import Sample
from inceptions.devices import pick_device
from inceptions.errors import UserError
from inceptions.evaluation.labels import match_labels
from inceptions.evaluation.measured import choose_images
from inceptions.evaluation.metrics import calibration_error
from inceptions.evaluation.score import Score, join, logits_of, score_at, score_of
from inceptions.evaluation.temperature import LEAST_IMAGES, fit_temperature, thinned
from inceptions.files import copy_whole, require_writable
from inceptions.names import shown
from inceptions.versions import now
from inceptions.weights.card import ModelCard, read_card
from inceptions.weights.folder import LoadedModel, keep_temperature, load_model

Part = Literal["val", "train"]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A model's temperature, what it was before, and what it was fitted on: so many images of `part`.

    judged_on: so many images of `judged_part`; the calibration errors, 0 to 1, that the model has there with logits that aren't divided,
    and with those that are. notes: what there is to say.
    """

    temperature: float
    before: float
    fitted_on: int
    part: str
    judged_on: int
    judged_part: str
    error_undivided: float
    error: float
    notes: tuple[str, ...]

    def record(self, data: str) -> dict[str, Any]:
        """Return what a model's provenance keeps of it, in JSON's types."""
        judged = {"judged_on": self.judged_on, "judged_part": self.judged_part}
        errors = {"calibration_error_undivided": self.error_undivided, "calibration_error": self.error}
        found = {"fitted_on": self.fitted_on, "part": self.part, **judged, **errors, "notes": list(self.notes)}
        return {**found, "data": data, "date": now(), "temperature_before": self.before}


def calibrate_model(
    folder: str | Path,
    data: str,
    *,
    target: str | Path | None = None,
    part: Part = "val",
    batch_size: int = 64,
    workers: int | None = None,
    device: str | None = None,
    tell: Callable[[str], None] | None = None,
) -> Calibrated:
    """Fit the temperature of the model in `folder` on validation images, judge it on test images, and keep it in the model's card.

    data: labelled images, as `load_splits` takes them. target: a new folder for a copy that has the temperature; None changes the card in
    `folder`. part: "train" fits on training images, for want of others; a network is surer of those that it has learned from. Without test
    images each half of those that it was fitted on is judged by the temperature of the other. device: None is an accelerator, if any.

    Raises UserError, and changes nothing: no classes, integers beside the weights, too few images, a folder that can't be written to.
    """
    folder, target = Path(folder), Path(target or folder)
    card = read_card(folder)
    _check(card, folder, target)
    chosen, judged, notes = _choose(data, card, folder, part)
    how = {"workers": workers, "batch_size": batch_size}
    model, place, say = load_model(folder, calibrated=False), pick_device(device), tell or (lambda _: None)
    module = model.module.to(place).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    few = chosen[thinned(len(chosen), classes=len(card.classes))]
    say(f"asking the network of {len(few)} images")
    with closing(_loader(few, model, **how)) as loader:
        logits, labels = logits_of(module, loader, device=place)
    fitted = fit_temperature(logits, labels)
    if fitted.images < LEAST_IMAGES:
        raise UserError(f"{data}: {fitted.note}; give more images, or other ones with --part")
    if judged:
        say(f"judging on {len(judged)} others")
        with closing(_loader(judged, model, **how)) as loader:
            scores = score_at((1.0, fitted.temperature), module, loader, device=place)
    else:
        scores = _judge_by_halves(logits, labels)
    undivided, divided = scores
    found = Calibrated(
        temperature=fitted.temperature,
        before=card.temperature,
        fitted_on=fitted.images,
        part=part,
        judged_on=divided.count,
        judged_part="test" if judged else f"{part}, each half by the other",
        error_undivided=calibration_error(undivided),
        error=calibration_error(divided),
        notes=(*notes, *([fitted.note] if fitted.note else [])),
    )
    _keep(found, folder, target, card, data)
    return found


def _check(card: ModelCard, folder: Path, target: Path) -> None:
    if not card.classes:
        raise UserError(f"{shown(folder)} ends in features and has no classes to be sure of; give a classifier")
    if "int8" in card.provenance:
        raise UserError(f"{shown(folder)} has integers beside its weights, made of logits as they were; calibrate first, then quantize")
    if target == folder:
        require_writable(folder)
    elif target.exists():
        raise UserError(f"{shown(target)} exists already; give another folder, or delete it")


def _choose(data: str, card: ModelCard, folder: Path, part: Part) -> tuple[list[Sample], list[Sample], tuple[str, ...]]:
    """Return the samples to fit on, those to judge on, if any, and what there is to say of them."""
    splits = load_splits(data, seed=card.split.seed if card.split else 0)
    if not splits.parts[part]:
        there = ", ".join(f"{len(samples)} {name}" for name, samples in splits.parts.items() if samples)
        raise UserError(f"there are no {part} images in {data}; there are {there}: give others with --part")
    parts: list[Literal["val", "train", "test"]] = [name for name in (part, "test") if splits.parts[name]]
    found = {name: choose_images(data, splits, {str(folder): card}, part=name) for name in parts}
    samples = {name: match_labels(measured.samples, measured.classes, card.classes)[0] for name, measured in found.items()}
    notes = dict.fromkeys(f"{name}: {note}" for name, measured in found.items() for note in measured.notes)
    return samples[part], samples.get("test", []), tuple(notes)


def _loader(samples: Sequence[Sample], model: LoadedModel, *, batch_size: int, workers: int | None) -> ImageLoader:
    dataset = ImageDataset(samples, model.card.preprocess, on_error="skip")
    return image_loader(dataset, batch_size=batch_size, shuffle=False, workers=workers)


def _judge_by_halves(logits: Tensor, labels: Tensor) -> tuple[Score, Score]:
    """Return the scores of all images without a temperature, and with that of the half that an image isn't in."""
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(labels)))
    halves, undivided, divided = (order[::2], order[1::2]), [], []
    for mine, others in (halves, halves[::-1]):
        temperature = fit_temperature(logits[others], labels[others]).temperature
        for found, divisor in ((undivided, 1.0), (divided, temperature)):
            found.append(score_of((logits[mine] / divisor).log_softmax(1), labels[mine], mine.numpy()))
    return join(undivided), join(divided)


def _keep(found: Calibrated, folder: Path, target: Path, card: ModelCard, data: str) -> None:
    """Write the temperature into the card, as it is now; UserError where it is of another model by then."""
    if target != folder:
        copy_whole(folder, target)
    if read_card(target).sha256 != card.sha256:
        raise UserError(f"the model in {shown(folder)} was replaced by another while it was measured; nothing is kept: begin again")
    keep_temperature(target, found.temperature, record=found.record(data))
