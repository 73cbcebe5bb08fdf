"""The learning rate range test (1506.01186, section 3.3): enters a `Setup`, takes real steps at rising rates, leaves the loss at each.

How the loss is smoothed, when the test stops and what is suggested is as in fastai's `lr_find`. Nothing that is learned is kept.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from inceptions.data.dataset import Batch
from inceptions.devices import memory_for
from inceptions.errors import UserError
from inceptions.files import write_whole
from inceptions.training.learner import Learner
from inceptions.training.loop import set_epoch, training_loader
from inceptions.training.processes import Processes, world_size
from inceptions.training.setup import Setup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100  # fastai's
KEPT = 0.98  # of the running mean of the loss, at each step
DIVERGED = 4  # times the lowest smoothed loss: the test stops there
LAST = 5  # steps that nothing is suggested by, and of the first the tenth part
LEAST_STEPS = 2 * LAST


@dataclass(frozen=True, slots=True)
class LrRange:
    """What a range test found: the learning rates, the losses at them in nats, and the smoothed losses, (N,) each.

    planned: how many steps there were to be, N at most. No suggestion (None) is made where the smoothed loss never fell.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    planned: int

    @property
    def has_diverged(self) -> bool:
        """Whether the loss rose so much, or was no number any more, that the test stopped."""
        return len(self.rates) < self.planned

    @property
    def steepest(self) -> float | None:
        """The rate at which the smoothed loss falls most steeply over the logarithm of the rate."""
        points = self._considered()
        slopes = [((after - loss) / math.log(higher / rate), rate) for (rate, loss), (higher, after) in pairwise(points)]
        slope, rate = min(slopes, default=(0.0, 0.0))
        return rate if slope < 0 else None

    @property
    def tenth_of_lowest(self) -> float | None:
        """A tenth of the rate at which the smoothed loss is lowest."""
        points = self._considered()
        rate, _ = min(points, key=lambda point: point[1], default=(0.0, 0.0))
        return rate / 10 if points and rate > points[0][0] else None

    @property
    def suggested(self) -> float | None:
        """The lower of these two: as the loss is smoothed over what came before, its lowest point comes late where it turns slowly."""
        return min((rate for rate in (self.steepest, self.tenth_of_lowest) if rate is not None), default=None)

    def _considered(self) -> list[tuple[float, float]]:
        """Return rates and smoothed losses without the first, when the mean is of few, and the last, when it diverges."""
        return list(zip(self.rates, self.smoothed, strict=True))[self.planned // 10 : -LAST]


def find_lr(
    setup: Setup,
    *,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
    workers: int | None = None,
    stepped: Callable[[int], object] | None = None,
) -> LrRange:
    """Return what the loss of the run that `setup` describes does as its learning rate rises evenly, in its logarithm, step by step.

    The steps are the run's own, on its training images in their order, varied as they are: batch, arithmetic, optimizer, loss, and rates
    of layers in their proportions. Image size and the parts that train are those of its last epoch, in which the most can go wrong.
    It stops once the smoothed loss is four times its lowest, or the loss is no number. workers: that read, as for `image_loader`.
    stepped: called with 1 after each step.

    Raises UserError: several processes, an asynchronous recipe, rates or steps that can't be, no image that can be read.
    """
    check_setup(setup)
    if not 0 < lowest < highest < math.inf:
        raise UserError(f"rates from {lowest:g} to {highest:g} can't be tried; both must be numbers above 0, and the second the higher")
    if steps < LEAST_STEPS:
        raise UserError(f"steps is {steps}; it must be a whole number of at least {LEAST_STEPS}")
    rates = [lowest * (highest / lowest) ** (step / (steps - 1)) for step in range(steps)]
    learner = _RisingLearner(setup, rates)
    losses: list[float] = []
    smoothed: list[float] = []
    mean = 0.0
    for batch in _batches(setup, workers):
        before = learner.step
        with memory_for(len(batch.labels), setup.device):
            done = learner.learn(batch)
        if done.images and not math.isfinite(done.loss):
            break
        if learner.step == before:  # nothing was learned: no image, or passed over in float16; the rate is tried with the next
            continue
        losses.append(done.loss)
        mean = KEPT * mean + (1 - KEPT) * done.loss
        smoothed.append(mean / (1 - KEPT ** len(losses)))  # the mean begins at 0
        if stepped is not None:
            stepped(1)
        if len(losses) == steps or smoothed[-1] > DIVERGED * min(smoothed):
            break
    return LrRange(tuple(rates[: len(losses)]), tuple(losses), tuple(smoothed), steps)


def check_setup(setup: Setup) -> None:
    """Raise UserError where the learning rate of such a run can't be looked for."""
    if setup.recipe.asynchronous:
        raise UserError(
            f"recipe {setup.recipe.name} trains asynchronously, and its learning rate can't be looked for; take another, or asynchronous=0"
        )
    if world_size() > 1:
        raise UserError("the learning rate is looked for by one process; start it without torchrun, with the batch size of all of them")


def write_range(found: LrRange, folder: Path) -> list[Path]:
    """Write `lr.csv` and, where matplotlib is installed and there was a step, `lr.png` into a folder; return their paths."""
    from inceptions.extras import missing_modules

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("lr", "loss", "smoothed_loss"))
    writer.writerows(tuple(f"{value:.6g}" for value in row) for row in zip(found.rates, found.losses, found.smoothed, strict=True))
    write_whole(folder / "lr.csv", text.getvalue())
    if missing_modules("matplotlib") or not found.rates:
        return [folder / "lr.csv"]
    from inceptions.evaluation.plots import save_figure

    save_figure(plot_range(found), folder / "lr.png")
    return [folder / "lr.png", folder / "lr.csv"]


def plot_range(found: LrRange) -> Figure:
    """Return the losses, as they were and smoothed, over the learning rate, with what is suggested."""
    from matplotlib.figure import Figure

    from inceptions.evaluation.plots import BLUE, GREY, ORANGE, tidy

    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    axis.plot(found.rates, found.losses, ".", color=GREY, alpha=0.4, label="each step")
    axis.plot(found.rates, found.smoothed, color=BLUE, label="smoothed")
    for name, rate in (("steepest", found.steepest), ("a tenth of the lowest", found.tenth_of_lowest)):
        if rate is not None:
            style, said = ("-", ", suggested") if rate == found.suggested else ("--", "")
            axis.axvline(rate, color=ORANGE, linestyle=style, label=f"{name}: {rate:.2g}{said}")
    axis.set(xscale="log", xlabel="learning rate", ylabel="training loss (nats)")
    axis.set_ylim(0.9 * min(found.losses), 2 * found.smoothed[0])  # where it diverges it would flatten all else
    tidy(axis)
    axis.legend(frameon=False)
    return figure


class _RisingLearner(Learner):
    """A learner whose schedule is a list of rates."""

    def __init__(self, setup: Setup, rates: list[float]) -> None:
        super().__init__(setup, Processes(), steps_per_epoch=setup.steps_per_epoch)
        self.rates = rates
        if self.lookahead is not None:  # as of a run that is no shorter than the test
            self.lookahead.steps = max(self.lookahead.steps, len(rates))
        self.begin_epoch(setup.recipe.epochs)

    def lr_factor(self) -> float:
        return self.rates[self.step] / self.setup.peak_lr


def _batches(setup: Setup, workers: int | None) -> Iterator[Batch]:
    """Yield batches of epoch after epoch; UserError where one has no batch of two images, which is the least that a step learns from."""
    with closing(training_loader(setup, workers=workers)) as loader:
        set_epoch(loader, setup, epoch=setup.recipe.epochs)
        for epoch in count(1):
            loader.order.dataset.epoch = epoch
            most = 0
            for batch in loader:
                most = max(most, len(batch.labels))
                yield batch
            if most < 2:
                raise UserError(
                    "no training image could be read; look at the files" if not most else "one training image is too few to learn from"
                )
