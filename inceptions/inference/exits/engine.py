"""A network that is left early: enters the engines of its parts and thresholds, leaves an engine. Needs no torch.

Images that no head was sure of are packed together for the next part, several batches' at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from inceptions.errors import UserError
from inceptions.inference.engines.base import Answers, Engine, softmax
from inceptions.inference.engines.choose import Tell, log, open_parts
from inceptions.inference.exits.table import Exits, Thresholds, heads_of
from inceptions.weights.card import ModelCard

_TOGETHER = 8  # batches whose rests are packed


def open_early_exit(
    folder: Path,
    card: ModelCard,
    *,
    most_lost: float = 0.3,
    engine: str | None = None,
    device: str | None = None,
    tell: Tell = log.info,
) -> EarlyExit:
    """Return the engine of a model folder whose auxiliary heads answer what they are sure of, as the folder keeps it.

    most_lost: how many points of accuracy that might lose where it was chosen. engine, device, tell: as `open_engine` takes them.
    Raises UserError: no auxiliary heads, nothing kept of them, no such engine.
    """
    row = Exits.from_card(card).row(most_lost)
    return EarlyExit(open_parts(folder, card, engine=engine, device=device, tell=tell), row.thresholds, heads_of(card.network))


class EarlyExit(Engine):
    """The parts of a network, one after the other for images that none of the heads was sure of.

    heads: the stages that they are on. left: how many images each head has answered so far, and the whole network. There are no vectors in
    its answers, (N, 0), for images that leave early have none.
    """

    def __init__(self, parts: Sequence[Engine], thresholds: Thresholds, heads: Sequence[str]) -> None:
        if len(parts) != len(thresholds) + 1:
            raise UserError(f"{len(parts)} parts and {len(thresholds)} thresholds; there is one part more than thresholds")
        self.name, self.precision, self.batch_size = parts[0].name, parts[0].precision, parts[0].batch_size
        self.parts, self.thresholds, self.heads = parts, thresholds, heads
        self.left = np.zeros(len(parts), np.int64)

    def __str__(self) -> str:
        return f"{super().__str__()}, left early"

    def run(self, pixels: np.ndarray) -> Answers:
        """Return the answers for N images."""
        return next(self.stream([pixels]))

    def stream(self, batches: Iterable[np.ndarray]) -> Iterator[Answers]:
        """Yield the answers of each batch, in order."""
        coming = iter(batches)
        while found := self._answer(islice(coming, _TOGETHER)):
            yield from found

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its answers, beside the model, in JSON's types."""
        return {**super().settings, "exits": list(self.thresholds)}

    @property
    def conclusion(self) -> str:
        """How many of the images each of the heads has answered, in words."""
        total = max(1, int(self.left.sum()))
        return ", ".join(f"{100 * count / total:.0f} % left by {head}" for head, count in zip(self.heads, self.left, strict=False))

    def _answer(self, batches: Iterable[np.ndarray]) -> list[Answers]:
        """Return the answers to some batches, empty where there is no batch."""
        sizes: list[int] = []
        rows, settled = [], []
        given: Iterable[np.ndarray] = _counted(batches, sizes)
        waiting: np.ndarray | None = None  # the images that the part reads, by their places; of the first part, all
        for level, part in enumerate(self.parts):
            features, on, done = [], [], 0
            for answers in part.stream(given):
                here = np.arange(done, done + len(answers.logits))
                done += len(here)
                here = here if waiting is None else waiting[here]
                sure = self._is_sure(answers.logits, level)
                rows.append(here[sure])
                settled.append(answers.logits[sure])
                on.append(here[~sure])
                features.append(answers.vectors[~sure] if level + 1 < len(self.parts) else answers.vectors[:0])
                self.left[level] += int(sure.sum())
            if not any(map(len, on)):
                break
            waiting = np.concatenate(on)
            given = _packed(features, self.batch_size)
        if not sizes:
            return []
        logits = np.empty((sum(sizes), settled[0].shape[1]), np.float32)
        logits[np.concatenate(rows)] = np.concatenate(settled)
        return [Answers(part, np.empty((len(part), 0), np.float32)) for part in np.split(logits, np.cumsum(sizes)[:-1])]

    def _is_sure(self, logits: np.ndarray, level: int) -> np.ndarray:
        if level == len(self.thresholds):
            return np.ones(len(logits), bool)
        least = self.thresholds[level]
        return np.zeros(len(logits), bool) if least is None else softmax(logits).max(1) >= least


def _counted(batches: Iterable[np.ndarray], sizes: list[int]) -> Iterator[np.ndarray]:
    for pixels in batches:
        sizes.append(len(pixels))
        yield pixels


def _packed(features: list[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Yield the features of images in batches of `size`; what was yielded is let go of."""
    features.reverse()
    held: list[np.ndarray] = []
    while features:
        held.append(features.pop())
        while sum(map(len, held)) >= size:
            together = np.concatenate(held)
            yield together[:size]
            held = [together[size:]]
    if rest := [part for part in held if len(part)]:
        yield np.concatenate(rest)
