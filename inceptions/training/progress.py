"""How a run goes and what it tells meanwhile: the loop calls a `Reporter`; whoever shows it, a terminal or a notebook, brings one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inceptions.evaluation.report import HeatMap  # which import torch
    from inceptions.evaluation.score import Score
    from inceptions.weights.folder import LoadedModel


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a run writes checkpoints within an epoch, in minutes and in steps (0: never, only at its end).

    workers: processes that read images; None lets the machine decide. address: of a Ray cluster, for asynchronous recipes.
    explain: makes of the best model what the report shows heat maps of its mistakes with; None shows none.
    """

    minutes: float = 5.0
    steps: int = 0
    workers: int | None = None
    address: str | None = None
    explain: Callable[[LoadedModel], HeatMap] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What is about to be trained, before the first step; a resumed run goes on after `step` of `epoch`."""

    folder: Path
    network: str
    parameters: int
    image_size: int
    classes: int
    images: dict[str, int]
    notes: tuple[str, ...]
    device: str
    precision: str
    epochs: int
    steps_per_epoch: int
    epoch: int = 1
    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """A row of metrics.csv: losses in nats, accuracies 0 to 1, the last learning rate, training images per second, seconds in all.

    val_top5: the share of images whose class is among the five likeliest; nan where there are no more than five classes.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    val_top5: float = math.nan
    lr: float
    images_per_second: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """What came out: the run folder, every epoch, which was best, and how it does `on` the "test" or "validation" images.

    unreadable: how many files were left out.
    """

    folder: Path
    rows: tuple[EpochRow, ...]
    best_epoch: int
    on: str
    score: Score
    unreadable: int


def peak_memory(device: str) -> int | None:
    """Return how many bytes of an accelerator's memory torch has held here at the most; None where it doesn't count them."""
    import torch

    kind = torch.device(device).type
    if kind not in ("cuda", "xpu"):
        return None
    return getattr(torch, kind).max_memory_allocated(device)


class Reporter:
    """Told of everything, says nothing; override what you want to show."""

    def started(self, start: Start) -> None:
        """Training begins."""

    def stepped(self, epoch: int, step: int, loss: float, images_per_second: float, lr: float) -> None:
        """A step is done; `step` counts from 1 within the epoch, `loss` and learning rate are its own."""

    def finished_epoch(self, row: EpochRow, *, best: bool) -> None:
        """An epoch is trained, validated and saved."""

    def ended(self, result: Result | None) -> None:
        """The run is over: what came out, or None where it was stopped or failed."""


class Reporters(Reporter):
    """Several reporters, told one after another."""

    def __init__(self, *reporters: Reporter) -> None:
        for name in ("started", "stepped", "finished_epoch", "ended"):
            setattr(self, name, partial(_call_all, [getattr(reporter, name) for reporter in reporters]))


def _call_all(calls: Iterable[Callable[..., None]], *values: Any, **named: Any) -> None:
    for call in calls:
        call(*values, **named)
