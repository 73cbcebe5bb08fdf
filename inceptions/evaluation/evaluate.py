"""How good models are on labelled images, one by one and averaged: enters models and samples, leaves a row for each of what was compared.

The softmax of each view is averaged per image (1409.4842, section 7), then over the models. Without labels, there are predictions only.
Of several processes, each goes through a share of the images; `merge` puts together what they found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Generic

import torch
from torch import Tensor

from inceptions.data.splits import Sample
from inceptions.data.stored import Stored
from inceptions.evaluation.blocks import Advance, Block, Model, Settings, iterate_blocks
from inceptions.evaluation.labels import common_classes, match_labels
from inceptions.evaluation.score import AnyScore, Predictions, Score, join, predictions_of, score_of
from inceptions.networks.trace import trace
from inceptions.weights.folder import LoadedModel


@dataclass(frozen=True, slots=True)
class Row(Generic[AnyScore]):
    """One line of the table: models by name, crops of each image, multiply-adds of an image in all, and how they did.

    score: a `Score`; of images without labels, `Predictions`.
    """

    models: tuple[str, ...]
    crops: int
    multiply_adds: int
    score: AnyScore

    @property
    def name(self) -> str:
        """The model's name, or how many were averaged."""
        return self.models[0] if len(self.models) == 1 else f"{len(self.models)} models averaged"


@dataclass(frozen=True, slots=True)
class Evaluation(Generic[AnyScore]):
    """classes: those of the labels and predictions; rows: each model alone, then all together, for each number of crops, fewest first.

    views_per_second: of each model, reading and cropping included. paths: of the images that the scores' indices mean.
    notes: what was left out, in words.
    """

    classes: tuple[str, ...]
    rows: tuple[Row[AnyScore], ...]
    views_per_second: dict[str, float]
    paths: tuple[Path | Stored, ...]
    notes: tuple[str, ...]

    @property
    def scores(self) -> dict[tuple[str, int], AnyScore]:
        """The scores by names of models and number of crops, as `write_predictions` takes them."""
        return {(" + ".join(row.models), row.crops): row.score for row in self.rows}


def evaluate(
    models: Mapping[str, Model],
    samples: Sequence[Sample],
    names: Sequence[str],
    *,
    crops: Sequence[int] = (1,),
    protocol: str = "model",
    batch_size: int = 64,
    device: torch.device | None = None,
    workers: int | None = None,
    groups: Sequence[tuple[str, ...]] | None = None,
    part: tuple[int, int] = (0, 1),
    step: Advance | None = None,
) -> Evaluation[Score]:
    """Return how the models, by name, do on samples whose labels are places in `names`.

    crops: 1, 2, 6, 10, 12 or 144, or several of them. One alone is taken as `protocol` says; several are all taken from the largest, so
        that one pass gives the GoogLeNet paper's table. 2 and 6, and 1 with them, are views of what `protocol` crops (`whole_views`).
    workers: processes that read; None lets the machine decide.
    groups: the names of models that are averaged, for each row; by default each model alone, then all together.
    part: (rank, number of processes); with several, what is returned is of this process's share, and `merge` gives the whole.

    Raises UserError: classes that don't agree, or a protocol with many crops.
    """
    classes = common_classes({name: model.card for name, model in models.items()})
    kept, notes = match_labels(samples, names, classes)
    settings = Settings(tuple(sorted(set(crops))), protocol, batch_size, device, workers, part)

    def score(block: Block, probabilities: Tensor) -> Score:
        indices = block.indices.numpy()
        labels = torch.tensor([kept[index].label for index in indices], dtype=torch.int64)
        return score_of(probabilities.clamp_min(1e-30).log(), labels, indices, block.unreadable)

    blocks = iterate_blocks(models, kept, classes=classes, settings=settings, step=step)
    rows, rates = _make_rows(models, blocks, crops=settings.crops, groups=groups, score=score)
    return Evaluation(classes, rows, rates, tuple(sample.path for sample in kept), tuple(notes))


def predict_unlabelled(
    models: Mapping[str, Model],
    samples: Sequence[Sample],
    *,
    crops: Sequence[int] = (1,),
    protocol: str = "model",
    batch_size: int = 64,
    device: torch.device | None = None,
    workers: int | None = None,
    part: tuple[int, int] = (0, 1),
    step: Advance | None = None,
) -> Evaluation[Predictions]:
    """Return what the models, by name, take samples for whose labels mean nothing, in the rows of `evaluate` and with its settings."""
    classes = common_classes({name: model.card for name, model in models.items()})
    settings = Settings(tuple(sorted(set(crops))), protocol, batch_size, device, workers, part)

    def score(block: Block, probabilities: Tensor) -> Predictions:
        return predictions_of(probabilities, block.indices.numpy(), block.unreadable)

    blocks = iterate_blocks(models, samples, classes=classes, settings=settings, step=step)
    rows, rates = _make_rows(models, blocks, crops=settings.crops, groups=None, score=score)
    return Evaluation(classes, rows, rates, tuple(sample.path for sample in samples), ())


def merge(shares: Sequence[Evaluation[AnyScore]]) -> Evaluation[AnyScore]:
    """Return the evaluation of all images, from those of the shares of all processes in the order of their ranks."""
    first = shares[0]
    rows = [_join_rows([share.rows[place] for share in shares]) for place in range(len(first.rows))]
    rates = {name: sum(share.views_per_second[name] for share in shares) for name in first.views_per_second}
    return replace(first, rows=tuple(rows), views_per_second=rates)


def _join_rows(shares: Sequence[Row[AnyScore]]) -> Row[AnyScore]:
    """Return the row of all images; where networks are left early, shares of them take different multiply-adds."""
    score = join([share.score for share in shares])
    spent = sum(share.multiply_adds * share.score.count for share in shares)
    return replace(shares[0], score=score, multiply_adds=round(spent / score.count) if score.count else shares[0].multiply_adds)


def _multiply_adds(model: Model) -> int:
    """Return what a view took, on the mean: less than the network has where an engine leaves it early."""
    whole = trace(replace(model.card.network, aux=())).total.multiply_adds
    return whole if isinstance(model, LoadedModel) else round(whole * model.share_of_cost)


def _make_rows(
    models: Mapping[str, Model],
    blocks: Iterable[Block],
    *,
    crops: Sequence[int],
    groups: Sequence[tuple[str, ...]] | None,
    score: Callable[[Block, Tensor], AnyScore],
) -> tuple[tuple[Row[AnyScore], ...], dict[str, float]]:
    """Return a row for each number of crops and each group of models (each alone, then all together), and each model's views per second.

    score: makes that of a block by probabilities (N, K).
    """
    groups = groups or [*((name,) for name in models), *([tuple(models)] if len(models) > 1 else [])]
    lines = [(place, number, group) for place, number in enumerate(crops) for group in groups]
    scores: list[list[AnyScore]] = [[] for _ in lines]
    views, seconds = Counter(), Counter()
    for block in blocks:
        for part, (found, (place, _, group)) in product(block.split(), zip(scores, lines, strict=True)):
            found.append(score(part, part.average(group, place)))
        views.update(block.views)
        seconds.update(block.seconds)
        del block  # before the next one is made
    rates = {name: views[name] / max(seconds[name], 1e-9) for name in models}
    costs = {name: _multiply_adds(model) for name, model in models.items()}
    rows = [
        Row(group, number, number * sum(costs[name] for name in group), join(found))
        for found, (_, number, group) in zip(scores, lines, strict=True)
    ]
    return tuple(rows), rates
