"""How good models are on labelled images, one by one and averaged: enters models and samples, leaves a row for each of what was compared.

The softmax of each view is averaged per image (1409.4842, section 7), then over the models. Classes are matched by name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from inceptions.data.dataset import Unreadable
from inceptions.data.splits import Sample, list_names
from inceptions.data.stored import Stored
from inceptions.errors import UserError
from inceptions.evaluation.crops import places_among
from inceptions.evaluation.protocols import with_protocol
from inceptions.evaluation.score import Score, score_of
from inceptions.evaluation.views import Views, ViewSet, iterate_views
from inceptions.networks.trace import trace
from inceptions.weights.card import ModelCard
from inceptions.weights.folder import LoadedModel

BACKGROUND = "background"  # TensorFlow's class 0, which no image is of
Step = Callable[[int], None]  # is told how many views were computed


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: models by name, crops of each image, multiply-adds of an image in all, and how they did."""

    models: tuple[str, ...]
    crops: int
    multiply_adds: int
    score: Score

    @property
    def name(self) -> str:
        """The model's name, or how many were averaged."""
        return self.models[0] if len(self.models) == 1 else f"{len(self.models)} models averaged"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """classes: those of the labels and predictions; rows: each model alone, then all together, for each number of crops, fewest first.

    views_per_second: of each model, reading and cropping included. paths: of the images that the scores' indices mean.
    notes: what was left out, in words.
    """

    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    views_per_second: dict[str, float]
    paths: tuple[Path | Stored, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Answers:
    """probabilities (P, N, K): for each number of crops, of each image, of each class."""

    probabilities: Tensor
    unreadable: dict[int, Unreadable]
    views_per_second: float


def evaluate(
    models: dict[str, LoadedModel],
    samples: Sequence[Sample],
    names: Sequence[str],
    *,
    crops: Sequence[int] = (1,),
    protocol: str = "model",
    batch_size: int = 64,
    device: torch.device | None = None,
    workers: int = 0,
    step: Step | None = None,
) -> Evaluation:
    """Return how the models, by name, do on samples whose labels are places in `names`.

    crops: 1, 10, 12 or 144, or several of them. One alone is taken as `protocol` says; several are all taken from the largest, so that
    one pass gives the GoogLeNet paper's table. Raises UserError: classes that don't agree, or a protocol with many crops.
    """
    crops = tuple(sorted(set(crops)))
    if crops != (1,) and protocol != "model":
        raise UserError(f"protocol={protocol} is for one crop, and crops are {', '.join(map(str, crops))}; leave out one of the two")
    classes = common_classes({name: model.card for name, model in models.items()})
    kept, notes = _match_labels(samples, names, classes)
    device = device or torch.device("cpu")
    answers = {}
    for name, model in models.items():
        prep = with_protocol(model.card.preprocess, protocol)
        views = ViewSet(kept, prep, None if crops == (1,) else crops[-1])
        answers[name] = _ask(model, views, classes, crops, batch_size=batch_size, device=device, workers=workers, step=step)
    bad = {index: item for answer in answers.values() for index, item in answer.unreadable.items()}
    good = torch.tensor([index for index in range(len(kept)) if index not in bad], dtype=torch.int64)
    labels = torch.tensor([kept[index].label for index in good.tolist()], dtype=torch.int64)
    groups = [(name,) for name in models] + ([tuple(models)] if len(models) > 1 else [])
    rows = []
    for place, number in enumerate(crops):
        for group in groups:
            mean = torch.stack([answers[name].probabilities[place, good] for name in group]).mean(0)
            cost = number * sum(trace(replace(models[name].card.network, aux=())).total.multiply_adds for name in group)
            rows.append(Row(group, number, cost, score_of(mean.clamp_min(1e-30).log(), labels, good.numpy(), tuple(bad.values()))))
    rates = {name: answer.views_per_second for name, answer in answers.items()}
    return Evaluation(classes, tuple(rows), rates, tuple(sample.path for sample in kept), tuple(notes))


def common_classes(cards: dict[str, ModelCard]) -> tuple[str, ...]:
    """Return the class names that all models tell apart, in the first one's order; only "background" may be missing from some.

    Raises UserError that names what differs.
    """
    (first, card), *others = cards.items()
    if not card.classes:
        raise UserError(f"{first} ends in features and has no classes; evaluate needs a classifier")
    for name, other in others:
        differing = sorted((set(card.classes) ^ set(other.classes)) - {BACKGROUND})
        if differing:
            raise UserError(f"{first} and {name} differ in their classes ({list_names(differing)}); average models of the same classes")
    everywhere = set(card.classes).intersection(*(other.classes for _, other in others))
    return tuple(name for name in card.classes if name in everywhere)


def _match_labels(samples: Sequence[Sample], names: Sequence[str], classes: tuple[str, ...]) -> tuple[list[Sample], list[str]]:
    """Return the samples with labels that are places in `classes`, and what is to be said of classes that are in one list alone."""
    place = {name: number for number, name in enumerate(classes)}
    unknown = [name for name in names if name not in place]
    if len(unknown) == len(names):
        theirs, ours = list_names(names, 3), list_names(classes, 3)
        raise UserError(f"no class of the images ({theirs}) is one of the model's ({ours}); names must be the same")
    kept = [Sample(sample.path, place[names[sample.label]]) for sample in samples if names[sample.label] in place]
    notes = []
    if unknown:
        notes.append(f"left out, for the model doesn't know their class: {len(samples) - len(kept)} images of {list_names(unknown)}")
    seen = {sample.label for sample in kept}
    absent = [name for number, name in enumerate(classes) if number not in seen and name != BACKGROUND]
    if absent:
        notes.append(f"no images of {len(absent)} of the model's {len(classes)} classes: {list_names(absent)}")
    return kept, notes


@torch.inference_mode()
def _ask(
    model: LoadedModel,
    views: ViewSet,
    classes: tuple[str, ...],
    crops: tuple[int, ...],
    *,
    batch_size: int,
    device: torch.device,
    workers: int,
    step: Step | None,
) -> _Answers:
    module = model.module.to(device).to(memory_format=torch.channels_last).eval()  # pyright: ignore[reportCallIssue]
    columns = torch.tensor([model.card.classes.index(name) for name in classes], device=device)
    member = torch.zeros(len(crops), crops[-1], dtype=torch.bool)
    for row, number in enumerate(crops):
        member[row, places_among(number, crops[-1])] = True
    sums = torch.zeros(len(crops), len(views), len(classes))
    unreadable: dict[int, Unreadable] = {}
    count, began = 0, time.perf_counter()
    for batch in iterate_views(views, batch_size=batch_size, workers=workers):
        if isinstance(batch, Views):
            unreadable[batch.place] = cast("Unreadable", batch.pixels)
            continue
        images = batch.images.to(device, memory_format=torch.channels_last, non_blocking=True)
        found = module(images).float().softmax(1)[:, columns].cpu()
        for row in range(len(crops)):
            mine = member[row, batch.places]
            sums[row].index_add_(0, batch.owners[mine], found[mine])
        count += len(images)
        if step is not None:
            step(len(images))
    counts = torch.tensor(crops, dtype=torch.float32)[:, None, None]
    return _Answers(sums / counts, unreadable, count / max(time.perf_counter() - began, 1e-9))
