"""When auxiliary heads may answer: enters a model folder and labelled images, leaves what the folder keeps, judged on other images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from inceptions.data.folders import load_splits
from inceptions.data.splits import Sample, Splits
from inceptions.errors import UserError
from inceptions.evaluation.interval import Interval
from inceptions.evaluation.labels import match_labels
from inceptions.evaluation.metrics import paired_difference
from inceptions.files import cannot_write, write_whole
from inceptions.inference.benchmark.measure import engine_run, take_turns
from inceptions.inference.engines.base import Engine, softmax
from inceptions.inference.engines.choose import find_device, open_engine, open_parts
from inceptions.inference.engines.prepared import processor
from inceptions.inference.exits.engine import EarlyExit
from inceptions.inference.exits.table import BUDGETS, KEY, ExitRow, Exits, Thresholds, choose, heads_of, leave_by, path_costs, require_heads
from inceptions.inference.pipeline import labelled_batches
from inceptions.versions import now
from inceptions.weights.card import CARD_NAME, ModelCard, read_card

LEAST = 100  # images to choose on, and as many others to judge on
TIMED_ON = 256  # images
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Heard:
    """What all heads of a network, and its end, say of N images: confidence (H + 1, N) in the likeliest class, and whether it is right."""

    confidence: np.ndarray
    right: np.ndarray


def choose_exits(
    folder: Path, data: str, *, engine: str | None = None, device: str | None = None, seconds: float = 1.0, tell: Tell = logging.info
) -> Exits:
    """Find thresholds on validation images, judge them on test images (or on the other half of validation), and keep them in the folder.

    data: labelled images, as `load_splits` takes them. engine, device: as `open_engine` takes them. seconds: of each timing in a round.
    Raises UserError: no auxiliary heads, too few images, a folder that can't be written to.
    """
    card = read_card(folder)
    require_heads(card.network)
    split = card.split
    chosen, judged, part = _parts(load_splits(data, seed=split.seed if split else 0), card, data)
    parts = open_parts(folder, card, engine=engine, device=device, tell=tell)
    tell(f"asking all heads of {len(chosen)} images")
    first = _hear(parts, chosen, card)
    tell(f"judging on {len(judged)} others")
    second = _hear(parts, judged, card)
    wanted = choose(first.confidence[:-1], first.right, path_costs(card.network))
    tell("measuring the speed")
    plain = open_engine(folder, _in_floating_point(card), engine=parts[0].name, device=device, precision=parts[0].precision, tell=tell)
    pixels = np.concatenate([batch for batch, _ in labelled_batches(judged[:TIMED_ON], card.preprocess, batch_size=plain.batch_size)])
    rows = [
        ExitRow(budget, thresholds, lost, leave, cost, _speed(plain, parts, thresholds, pixels, seconds))
        for budget, thresholds in zip(BUDGETS, wanted, strict=True)
        for lost, leave, cost in [_judge(thresholds, second, card)]
    ]
    counts = (first.right.shape[1], second.right.shape[1])
    where = (parts[0].name, parts[0].precision, processor(find_device(device)))
    found = Exits(heads_of(card.network), *counts, part, *where, now(), tuple(rows))
    kept = replace(card, provenance={**card.provenance, KEY: found.to_dict()})
    try:
        write_whole(folder / CARD_NAME, kept.to_json())
    except OSError as error:
        raise cannot_write(folder / CARD_NAME, error) from error
    return found


def _in_floating_point(card: ModelCard) -> ModelCard:
    return replace(card, provenance={name: value for name, value in card.provenance.items() if name != "int8"})


def _parts(splits: Splits, card: ModelCard, source: str) -> tuple[list[Sample], list[Sample], str]:
    """Return the images to choose on, those to judge on, and which part these are of."""
    val, test = (match_labels(splits.parts[part], splits.classes, card.classes)[0] for part in ("val", "test"))
    order = [val[place] for place in np.random.default_rng(0).permutation(len(val))]
    chosen, judged, part = (order, test, "test") if test else (order[::2], order[1::2], "validation")
    if min(len(chosen), len(judged)) < LEAST:
        raise UserError(
            f"{source} has {len(val)} validation and {len(test)} test images in classes of the model; "
            f"{LEAST} of validation are needed to choose on and {LEAST} of test (or as many more of validation) to judge on"
        )
    return chosen, judged, part


def _hear(parts: Sequence[Engine], samples: Sequence[Sample], card: ModelCard) -> Heard:
    """Return what all heads say of the images, without those that can't be read."""
    confidence, right = [], []
    for pixels, labels in labelled_batches(samples, card.preprocess, batch_size=parts[0].batch_size):
        said = np.stack([softmax(logits) for logits in _heads(parts, pixels)])
        confidence.append(said.max(2))
        right.append(said.argmax(2) == labels)
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


def _speed(plain: Engine, parts: Sequence[Engine], thresholds: Thresholds, pixels: np.ndarray, seconds: float) -> Interval:
    """Return how many times as fast as the whole network it is, in turns."""
    runs = {"early": engine_run(EarlyExit(parts, thresholds, [""] * len(thresholds))), "whole": engine_run(plain)}
    return take_turns(runs, pixels, batch_size=len(pixels), rounds=5, seconds=seconds).ratio("early", "whole")
