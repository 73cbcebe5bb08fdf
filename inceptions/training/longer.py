"""Runs of another number of epochs than they began with: enters a run folder's settings and checkpoint, leaves the settings to go on with.

What depends on the number of epochs is, for the steps to come, as it is in a run that has the new number from the first: the learning rate
of one cycle and of a cosine, lookahead, the size of progressive images. A cycle that was over is then in the middle again, where its rate
is higher. Where nothing depends on it, two runs of two epochs are one of four, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inceptions.errors import UserError
from inceptions.training.schedules import Cosine, OneCycle, lr_factor
from inceptions.training.setup import Setup

ENDED_AFTER = "ended_after"  # in resume.json: the epoch with which the run was finished, where it was; early_stop counts on from there


@dataclass(frozen=True, slots=True)
class EpochChange:
    """values: the settings, as `Setup.to_dict` has them, with the new number of epochs. before: the old one. step: steps done."""

    values: dict[str, Any]
    before: int
    step: int

    def note(self, setup: Setup) -> str:
        """Return what becomes of the run, in a sentence; `setup` is that of `values`."""
        recipe, steps = setup.recipe, setup.steps_per_epoch
        said = f"{recipe.epochs} epochs in all, in place of {self.before}"
        if recipe.epochs == self.before or not _depends_on_epochs(setup):
            return said
        said += f"; all that depends on their number is from here on as in a run of {recipe.epochs}"
        if not self.step or self.step >= steps * recipe.epochs or not isinstance(recipe.schedule, OneCycle | Cosine):
            return said
        last = lr_factor(recipe.schedule, self.step - 1, steps_per_epoch=steps, epochs=self.before)
        next_ = lr_factor(recipe.schedule, self.step, steps_per_epoch=steps, epochs=recipe.epochs)
        return f"{said}: the learning rate was {setup.peak_lr * last:.3g} and is {setup.peak_lr * next_:.3g} at the next step"


def change_epochs(folder: Path, values: dict[str, Any], state: dict[str, Any] | None, *, epochs: int, reopens: bool) -> EpochChange:
    """Return how the run in `folder` goes on to `epochs` in all.

    values, state: its settings and last checkpoint, as they are read from it. reopens: it is finished.
    Raises UserError: it has as many epochs already, or no checkpoint any more.
    """
    before = values["recipe"]["epochs"]
    if reopens and (state is None or not (folder / "best").is_dir()):
        raise UserError(f"{folder} can't go on: its last checkpoint, or its best model, is no longer in it; start a new run")
    at = {"epoch": 1, "step": 0, **(state or {}).get("counters", {})}
    done = at["epoch"] - 1
    least = done + (reopens or at["step"] > 0)  # the epoch that is under way
    if epochs < max(1, least):
        has = _count(done, "epoch") + (f" and {_count(at['step'], 'step')}" if at["step"] else "")
        raise UserError(f"{folder} has {has} already; epochs, how many there are to be in all, is {epochs}; give {max(1, least)} or more")
    changed = {**values, "recipe": {**values["recipe"], "epochs": epochs}}
    return EpochChange({**changed, ENDED_AFTER: done} if reopens else changed, before, (state or {}).get("step", 0))


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _depends_on_epochs(setup: Setup) -> bool:
    recipe = setup.recipe
    return isinstance(recipe.schedule, OneCycle | Cosine) or recipe.lookahead or bool(recipe.progressive)
