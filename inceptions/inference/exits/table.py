"""From which confidence on auxiliary heads may answer, and what that costs: the form in which a model folder keeps it. Needs no torch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from inceptions.errors import ModelFolderError, UserError
from inceptions.evaluation.interval import Interval
from inceptions.networks.spec import Network
from inceptions.networks.trace import trace
from inceptions.weights.card import ModelCard

KEY = "exits"  # in a model's provenance
BUDGETS = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
_LEVELS, _TRIED = 41, 2_000  # quantiles of a head's confidence that are tried as its threshold; choices of thresholds at most, or so

Thresholds = tuple[float | None, ...]
"""Of each auxiliary head, the probability of its likeliest class from which on it answers; None: it never does."""


@dataclass(frozen=True, slots=True)
class ExitRow:
    """One choice of thresholds, and what it does on the images that it was judged on.

    most_lost: points of accuracy that might be lost where it was chosen; lost: that are lost where it was judged, less is better.
    leave: the share of images that each head answers; multiply_adds, images_per_second: in parts of the whole network's.
    """

    most_lost: float
    thresholds: Thresholds
    lost: Interval
    leave: tuple[float, ...]
    multiply_adds: float
    speed: Interval


@dataclass(frozen=True, slots=True)
class Exits:
    """All choices for a network, of auxiliary heads on the stages `heads`; how many images they were chosen and judged on, of which part.

    notes: what there is to say of these images.
    engine, precision, processor: what `speed` was measured with.
    """

    heads: tuple[str, ...]
    chosen_on: int
    judged_on: int
    judged_part: str
    notes: tuple[str, ...]
    engine: str
    precision: str
    processor: str
    date: str
    rows: tuple[ExitRow, ...]

    def row(self, most_lost: float) -> ExitRow:
        """Return the choice that may lose so many points at most; raises UserError for a number that is none, 0 to 100."""
        if not 0 <= most_lost <= 100:
            raise UserError(f"most_lost is {most_lost}; it must be points of accuracy, 0 to 100")
        return max((row for row in self.rows if row.most_lost <= most_lost), key=lambda row: row.most_lost)

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_card` takes, in JSON's types."""
        return asdict(self)

    @classmethod
    def from_card(cls, card: ModelCard) -> Self:
        """Return what the card keeps; raises UserError where that is nothing, or the network has no auxiliary heads."""
        require_heads(card.network)
        kept = card.provenance.get(KEY)
        if kept is None:
            raise UserError(
                "when auxiliary heads may answer is not known yet; inceptions exits MODEL --data DATA finds it and keeps it in the folder"
            )
        try:
            rows = tuple(_row(row, len(card.network.aux)) for row in kept["rows"])
            found = cls(**{**kept, "heads": tuple(kept["heads"]), "notes": tuple(kept["notes"]), "rows": rows})
            if not rows or rows[0].most_lost != 0 or found.heads != heads_of(card.network):
                raise ValueError("it is of another network, or lacks its first row")
        except (TypeError, KeyError, ValueError) as error:
            raise ModelFolderError(f"what the card keeps of early exits is damaged ({error}); inceptions exits makes it anew") from None
        return found


def _row(values: dict[str, Any], heads: int) -> ExitRow:
    thresholds = tuple(None if value is None else float(value) for value in values["thresholds"])
    if len(thresholds) != heads:
        raise ValueError(f"{len(thresholds)} thresholds for {heads} heads")
    spans = {name: Interval(**values[name]) for name in ("lost", "speed")}
    numbers = {name: float(values[name]) for name in ("most_lost", "multiply_adds")}
    return ExitRow(**{**values, **spans, **numbers, "thresholds": thresholds, "leave": tuple(values["leave"])})


def require_heads(network: Network) -> None:
    """Raise UserError where the network has no auxiliary heads."""
    if not network.aux:
        raise UserError(f"{network.name} has no auxiliary heads to leave by; train a network that has, such as googlenet or inception_v3")


def heads_of(network: Network) -> tuple[str, ...]:
    """Return the stages that auxiliary heads are on, from the first."""
    on = {head.after for head in network.aux}
    return tuple(stage.name for stage in network.stages if stage.name in on)


def path_costs(network: Network) -> np.ndarray:
    """Return what an image that leaves by each head takes, and one that goes through all, in parts of the multiply-adds without heads."""
    table = trace(network)
    side = {head.after: row.cost.multiply_adds for head, row in zip(network.aux, table.aux, strict=True)}
    found, passed = [], 0
    for row in table.rows:
        passed += row.cost.multiply_adds
        if row.name in side:
            passed += side[row.name]
            found.append(passed)
    return np.array([*found, passed]) / table.total.multiply_adds


def leave_by(confidence: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """Return by which head each of N images leaves, (N,), the number of heads where by none; confidence (H, N) is that of each head."""
    sure = np.stack([values >= (np.inf if least is None else least) for values, least in zip(confidence, thresholds, strict=True)])
    return np.where(sure.any(0), sure.argmax(0), len(confidence))


def choose(confidence: np.ndarray, right: np.ndarray, costs: np.ndarray, budgets: Sequence[float] = BUDGETS) -> list[Thresholds]:
    """Return for each budget, in points of accuracy, the thresholds by which images take the fewest multiply-adds.

    confidence: (H, N), of each head on each of N images. right: (H + 1, N), whether the heads, and the network, are right. costs: (H + 1,).
    """
    levels = np.linspace(0, 1, max(2, min(_LEVELS, int(_TRIED ** (1 / len(confidence))))))
    tried = [(None, *np.unique(np.quantile(values, levels)).tolist()) for values in confidence]
    options = list(itertools.product(*tried))
    places, count = np.arange(right.shape[1]), right.shape[1]
    found = []
    for thresholds in options:
        by = leave_by(confidence, thresholds)
        found.append((100 * (int(right[-1].sum()) - int(right[by, places].sum())), costs[by].mean()))
    lost, cost = np.array(found).T  # lost: points, times the number of images, which are whole
    return [options[int(np.where(lost <= budget * count + 1e-6, cost, np.inf).argmin())] for budget in budgets]
