"""A network that is left early: enters the engines of its parts and thresholds, leaves an engine. Needs no torch.

Images that no head was sure of are packed together for the next part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inceptions.errors import UserError
from inceptions.inference.engines.base import Answers, Engine, softmax
from inceptions.inference.engines.choose import Tell, log, open_parts
from inceptions.inference.exits.table import Exits, Thresholds, heads_of, path_costs
from inceptions.networks.spec import Network
from inceptions.weights.card import ModelCard

_LEAST_TOGETHER = 64  # images in a batch, so that what goes on fills the next part's


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
    return EarlyExit(open_parts(folder, card, engine=engine, device=device, tell=tell), row.thresholds, card.network)


class EarlyExit(Engine):
    """The parts of a network, one after the other for images that none of the heads was sure of.

    left: how many images each head has answered so far, and the whole network. Each batch is answered by itself, whatever comes before and
    after. There are no vectors in its answers, (N, 0), for images that leave early have none.
    """

    def __init__(self, parts: Sequence[Engine], thresholds: Thresholds, network: Network) -> None:
        if len(parts) != len(thresholds) + 1:
            raise UserError(f"{len(parts)} parts and {len(thresholds)} thresholds; there is one part more than thresholds")
        self.name, self.precision = parts[0].name, parts[0].precision
        self.batch_size = max(_LEAST_TOGETHER, parts[0].batch_size)
        self.parts, self.thresholds, self.network = parts, thresholds, network
        self.left = np.zeros(len(parts), np.int64)

    def __str__(self) -> str:
        return f"{super().__str__()}, left early"

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its answers, beside the model, in JSON's types."""
        return {**super().settings, "exits": list(self.thresholds)}

    @property
    def conclusion(self) -> str:
        """How many of the images each of the heads has answered, in words."""
        shares = 100 * self.left / max(1, int(self.left.sum()))
        return ", ".join(f"{share:.0f} % left by {head}" for head, share in zip(heads_of(self.network), shares, strict=False))

    @property
    def share_of_cost(self) -> float:
        """What the images took so far, in parts of the multiply-adds of the whole network without its heads."""
        return float(self.left @ path_costs(self.network) / self.left.sum()) if self.left.any() else 1.0

    def run(self, pixels: np.ndarray) -> Answers:
        """Return the answers for N images."""
        logits = np.empty((len(pixels), self.network.classes), np.float32)
        waiting, given = np.arange(len(pixels)), pixels
        for level, part in enumerate(self.parts):
            going, features = [], []
            for here, answers in zip(_batches(waiting, part.batch_size), part.stream(_batches(given, part.batch_size)), strict=True):
                sure = self._is_sure(answers.logits, level)
                logits[here[sure]] = answers.logits[sure]
                going.append(here[~sure])
                features.append(answers.vectors[~sure])
                self.left[level] += int(sure.sum())
            waiting = np.concatenate(going)
            if not len(waiting):
                break
            given = np.concatenate(features)
        return Answers(logits, np.empty((len(pixels), 0), np.float32))

    def _is_sure(self, logits: np.ndarray, level: int) -> np.ndarray:
        if level == len(self.thresholds):
            return np.ones(len(logits), bool)
        least = self.thresholds[level]
        return np.zeros(len(logits), bool) if least is None else softmax(logits).max(1) >= least


def _batches(values: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (values[start : start + size] for start in range(0, len(values), size))
