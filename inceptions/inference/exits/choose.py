"""When auxiliary heads may answer: enters a model folder and labelled images, leaves what the folder keeps, judged on other images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from inceptions.data.folders import load_splits
from inceptions.data.splits import Sample
from inceptions.errors import UserError
from inceptions.evaluation.interval import Interval
from inceptions.evaluation.labels import match_labels
from inceptions.evaluation.measured import choose_images
from inceptions.evaluation.metrics import paired_difference
from inceptions.files import cannot_write, require_writable, write_whole
from inceptions.inference.benchmark.measure import engine_run, take_turns
from inceptions.inference.engines.base import Engine, softmax
from inceptions.inference.engines.choose import find_device, in_floating_point, open_engine, open_parts
from inceptions.inference.engines.prepared import processor
from inceptions.inference.exits.engine import EarlyExit
from inceptions.inference.exits.table import BUDGETS, KEY, ExitRow, Exits, Thresholds, choose, heads_of, leave_by, path_costs, require_heads
from inceptions.inference.pipeline import labelled_batches
from inceptions.names import shown
from inceptions.versions import now
from inceptions.weights.card import CARD_NAME, ModelCard, read_card
from inceptions.weights.folder import load_model

LEAST = 100  # images to choose on, and as many others to judge on
TIMED_ON = 256  # images
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Heard:
    """What all heads of a network, and its end, say of N images: confidence (H + 1, N) in the likeliest class, and whether it is right."""

    confidence: np.ndarray
    right: np.ndarray


@dataclass(frozen=True, slots=True)
class _Images:
    """Samples to choose on and to judge on, the part that these are of, and what there is to say."""

    chosen: Sequence[Sample]
    judged: Sequence[Sample]
    part: str
    notes: tuple[str, ...]


def choose_exits(
    folder: str | Path, data: str, *, engine: str | None = None, device: str | None = None, seconds: float = 1.0, tell: Tell = logging.info
) -> Exits:
    """Find thresholds on validation images, judge them on test images (or on the other half of validation), and keep them in the folder.

    data: labelled images, as `load_splits` takes them. engine, device: as `open_engine` takes them. seconds: of each timing in a round.
    Raises UserError: no auxiliary heads or none with weights, too few images, a folder that can't be written to.
    """
    folder = Path(folder)
    card = read_card(folder)
    require_heads(card.network)
    load_model(folder, aux=True)  # which says so where the heads have no weights
    require_writable(folder)
    images = _choose_images(data, card, folder)
    parts = open_parts(folder, card, engine=engine, device=device, tell=tell)
    plain = open_engine(folder, in_floating_point(card), engine=engine, device=device, tell=tell)
    tell(f"asking all heads of {len(images.chosen)} images")
    first = _hear(parts, images.chosen, card)
    tell(f"judging on {len(images.judged)} others")
    second = _hear(parts, images.judged, card)
    counts = (first.right.shape[1], second.right.shape[1])
    _require(data, *counts)
    tell("measuring the speed")
    pixels = next(labelled_batches(images.judged, card.preprocess, batch_size=TIMED_ON))[0]
    rows = []
    for budget, thresholds in zip(BUDGETS, choose(first.confidence[:-1], first.right, path_costs(card.network)), strict=True):
        lost, leave, cost = _judge(thresholds, second, card)
        speed = _speed(plain, EarlyExit(parts, thresholds, card.network), pixels, seconds)
        rows.append(ExitRow(budget, thresholds, lost, leave, cost, speed))
    where = (parts[0].name, parts[0].precision, processor(find_device(device)))
    found = Exits(heads_of(card.network), *counts, images.part, images.notes, *where, now(), tuple(rows))
    _keep(found, folder, card)
    return found


def _keep(found: Exits, folder: Path, card: ModelCard) -> None:
    """Write what was found into the card as it is now; UserError where it is of another model by then."""
    there = read_card(folder)
    if (there.sha256, there.network, there.preprocess) != (card.sha256, card.network, card.preprocess):
        raise UserError(f"the model in {shown(folder)} was replaced by another while it was measured; nothing is kept: begin again")
    try:
        write_whole(folder / CARD_NAME, replace(there, provenance={**there.provenance, KEY: found.to_dict()}).to_json())
    except OSError as error:
        raise cannot_write(folder / CARD_NAME, error) from error


def _choose_images(data: str, card: ModelCard, folder: Path) -> _Images:
    """Return the images to choose on, and those to judge on: of the test part, or where it is small the other half of validation."""
    splits = load_splits(data, seed=card.split.seed if card.split else 0)
    found = {part: choose_images(data, splits, {str(folder): card}, part=part) for part in ("val", "test") if splits.parts[part]}
    mixed: dict[str, list[Sample]] = {"val": [], "test": []}
    for part, measured in found.items():
        samples = match_labels(measured.samples, measured.classes, card.classes)[0]
        mixed[part] = [samples[place] for place in np.random.default_rng(0).permutation(len(samples))]
    val, test = mixed["val"], mixed["test"]
    chosen, judged, part = (val, test, "test") if len(test) >= LEAST else (val[::2], val[1::2], "validation")
    _require(data, len(chosen), len(judged))
    return _Images(chosen, judged, part, tuple(dict.fromkeys(note for measured in found.values() for note in measured.notes)))


def _require(data: str, chosen: int, judged: int) -> None:
    if min(chosen, judged) < LEAST:
        raise UserError(
            f"{data} has {chosen} validation images to choose on and {judged} others to judge on, of test or the other half of validation, "
            f"that can be read and are of the model's classes; {LEAST} of each are needed"
        )


def _hear(parts: Sequence[Engine], samples: Sequence[Sample], card: ModelCard) -> Heard:
    """Return what all heads say of the images, without those that can't be read; a head that says nan is wrong."""
    confidence, right = [np.empty((len(parts), 0))], [np.empty((len(parts), 0), bool)]
    for pixels, labels in labelled_batches(samples, card.preprocess, batch_size=parts[0].batch_size):
        said = np.stack([softmax(logits) for logits in _heads(parts, pixels)])
        confidence.append(said.max(2))
        right.append((said.argmax(2) == labels) & np.isfinite(said).all(2))
    return Heard(np.concatenate(confidence, axis=1), np.concatenate(right, axis=1))


def _heads(parts: Sequence[Engine], given: np.ndarray) -> Iterator[np.ndarray]:
    for part in parts:
        logits, given = part.run(given)
        yield logits


def _judge(thresholds: Thresholds, heard: Heard, card: ModelCard) -> tuple[Interval, tuple[float, ...], float]:
    """Return what is lost, in points, by which heads images leave, and the multiply-adds in parts of the whole network's."""
    by = leave_by(heard.confidence[:-1], thresholds)
    right = heard.right[by, np.arange(len(by))]
    shares = np.bincount(by, minlength=len(thresholds) + 1) / len(by)
    return paired_difference(~heard.right[-1], ~right), tuple(shares[:-1].tolist()), float(path_costs(card.network)[by].mean())


def _speed(plain: Engine, early: EarlyExit, pixels: np.ndarray, seconds: float) -> Interval:
    """Return how many times as fast as the whole network it is, in turns."""
    runs = {"early": engine_run(early), "whole": engine_run(plain)}
    return take_turns(runs, pixels, batch_size=len(pixels), rounds=5, seconds=seconds).ratio("early", "whole")
