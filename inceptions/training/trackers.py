"""Experiment trackers, through accelerate's classes: enters what a `Reporter` hears, leaves TensorBoard's files, a run at wandb, and so on.

Everything is told by the number of steps since the run began: `step/…` ten times an epoch and more, `epoch/…` as in metrics.csv, and at
the end the test. A run that goes on after it was stopped or killed tells TensorBoard and wandb in the same place; the other trackers begin
one of their own there, at the same steps, unless they are told otherwise by their environment variables, such as MLFLOW_RUN_ID.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from inceptions.errors import UserError
from inceptions.training.progress import EpochRow, Reporter, Result, Start

PROJECT = "inceptions"
EVERY = 10  # steps, at the most; an epoch of fewer than a hundred is told ten times and more
KEEPING = ("tensorboard", "wandb")  # a run that goes on


class Trackers(Reporter):
    """Tells the trackers called `names`; in the first process of a run alone. hyperparameters: plain values by name."""

    def __init__(self, names: Sequence[str], hyperparameters: Mapping[str, Any]) -> None:
        self.names, self.hyperparameters = names, dict(hyperparameters)
        self.trackers: list[Any] = []
        self.number = 0  # of the last step, counted from 1

    def started(self, start: Start) -> None:
        """Open the trackers, and store the hyperparameters where they aren't yet."""
        from accelerate.state import PartialState

        PartialState()  # accelerate's trackers ask it which process this is
        self.steps = start.steps_per_epoch
        self.every = max(1, min(EVERY, self.steps // 10))
        self.number = (start.epoch - 1) * self.steps + start.step
        for name in self.names:
            tracker = _open(name, start.folder, first=self.number + 1)
            self.trackers.append(tracker)
            if not self.number or name not in KEEPING:
                tracker.store_init_configuration(self.hyperparameters)

    def stepped(self, epoch: int, step: int, loss: float, images_per_second: float, lr: float) -> None:
        """Log some of the steps."""
        self.number = (epoch - 1) * self.steps + step
        if self.number % self.every == 0:
            self._log({"step/loss": loss, "step/lr": lr, "step/images_per_second": images_per_second})

    def finished_epoch(self, row: EpochRow, *, best: bool) -> None:
        """Log the row of metrics.csv."""
        self.number = row.epoch * self.steps
        self._log({f"epoch/{name}": value for name, value in asdict(row).items()})

    def ended(self, result: Result | None) -> None:
        """Log how the best model did in the test, and close."""
        if result is not None:
            self._log({f"{result.on}/accuracy": result.score.accuracy, f"{result.on}/loss": result.score.loss})
        for tracker in self.trackers:
            tracker.finish()

    def _log(self, values: Mapping[str, float]) -> None:
        known = {name: value for name, value in values.items() if math.isfinite(value)}
        for tracker in self.trackers:
            tracker.log(known, step=self.number)


def check_trackers(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names, each once; UserError for one that accelerate doesn't know (the nearest is named), or that isn't installed."""
    if not names:
        return ()
    try:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
        from accelerate.utils import LoggerType
    except ImportError:
        raise UserError(f"tracker {names[0]}: accelerate isn't installed; pip install 'inceptions[trackers]'") from None
    missing = {*LoggerType.list()} - {str(kind) for kind in get_available_trackers()}
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            close = difflib.get_close_matches(name, LOGGER_TYPE_TO_CLASS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"trackers are {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}"
            raise UserError(f"{name} is no tracker; {hint}")
        if name in missing:
            package = "'inceptions[trackers]'" if name == "tensorboard" else name
            raise UserError(f"tracker {name}: {name} isn't installed; pip install {package}")
    return tuple(dict.fromkeys(names))


def _open(name: str, folder: Path, *, first: int) -> Any:
    """Return a tracker of the run in `folder`; what TensorBoard has of the step `first` and later is from a process that was killed."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind = LOGGER_TYPE_TO_CLASS[name]
    match name:
        case "tensorboard":
            tracker = kind(name, folder, purge_step=first)
        case "wandb":
            tracker = kind(PROJECT, name=folder.name, dir=folder, id=_name_run(folder), resume="allow")
        case "mlflow":
            tracker = kind(PROJECT, run_name=folder.name)
        case _:
            tracker = kind(PROJECT, folder) if kind.requires_logging_directory else kind(PROJECT)
    tracker.start()
    return tracker


def _name_run(folder: Path) -> str:
    """Return what tells this run from all others, also when it goes on: a hash of its settings, but for the epochs, and of its start."""
    settings = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    settings["recipe"].pop("epochs")
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
