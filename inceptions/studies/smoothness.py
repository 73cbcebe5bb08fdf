"""How smooth the loss is where a run goes: enters a learner before and after a step, leaves numbers of 1805.11604's Figures 3 and 4.

Along the gradient: loss and gradient at some lengths of step. Across layers: how much a layer's gradient, and the distribution of what it
reads, change when the layers below it have moved. All of it in float32 on a copy of the network, on the images of the step, with the
batch's statistics, dropout and noise falling the same each time, so that the loss is a function of the weights alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inceptions.data.dataset import Batch
from inceptions.files import write_whole
from inceptions.json_text import to_json
from inceptions.studies.noise import Noise
from inceptions.studies.study import BatchNoise
from inceptions.training.features import FeatureBatch
from inceptions.training.learner import Learner
from inceptions.training.look import Look
from inceptions.training.setup import Setup

LENGTHS = (0.5, 1.0, 2.0, 4.0)  # of the steps along the gradient, in multiples of the peak learning rate
LOOKS = 50  # of a run, evenly over its steps; a look computes as many gradients as there are lengths and layers, and one
LAYERS = 4  # whose inputs are followed, evenly over the depth

Evaluate = Callable[[Sequence[Tensor]], tuple[float, list[Tensor]]]
"""From weights to the loss and its gradient."""


@dataclass(frozen=True, slots=True)
class Along:
    """Loss and gradient's length at the weights; after steps of each length along it, the loss, and how far the gradient is from it (l2).

    smoothness: the largest such distance over the distance gone, 1805.11604's effective beta. What is no number is infinite.
    """

    loss: float
    gradient: float
    losses: tuple[float, ...]
    changes: tuple[float, ...]
    smoothness: float


@dataclass(frozen=True, slots=True)
class Shift:
    """What the step of the layers below does to a stage: its internal covariate shift (1805.11604, Definition 2.1).

    cosine, change: between its gradient before and after, and their l2 distance. relative: that distance over the length before.
    drift: of what it reads, the distance of its channels' means and standard deviations before and after, over the standard deviations.
    """

    stage: str
    cosine: float
    change: float
    relative: float
    drift: float


@dataclass(frozen=True, slots=True)
class StepLook:
    """What was seen at a step, counted from 0."""

    step: int
    along: Along
    shifts: tuple[Shift, ...]


def look_along(evaluate: Evaluate, weights: Sequence[Tensor], lengths: Sequence[float]) -> Along:
    """Return loss and gradient along the gradient at `weights`, after steps of each of the lengths times it, downhill."""
    loss, gradient = evaluate(weights)
    norm, losses, changes = _norm(gradient), [], []
    for length in lengths:
        value, there = evaluate([weight - length * part for weight, part in zip(weights, gradient, strict=True)])
        losses.append(_rough(value))
        changes.append(_rough(_distance(there, gradient)))
    gone = [length * norm for length in lengths]
    smoothness = max(change / far if far else math.inf for change, far in zip(changes, gone, strict=True))
    return Along(_rough(loss), _rough(norm), tuple(losses), tuple(changes), smoothness)


class Probe:
    """A copy of a learner's network, whose loss on one batch is a function of its weights alone; the learner stays as it is.

    moments: of what each stage that is followed read when it was last evaluated, channels' means and standard deviations (2, C).
    """

    def __init__(self, learner: Learner, noise: Noise | None, batch: Batch, *, seed: int) -> None:
        self.module, self.noise = deepcopy((learner.module, noise))  # together, so that the copy's layers ask the copy's noise
        self.names = tuple(name for name, parameter in self.module.named_parameters() if parameter.requires_grad)
        self.loss, self.device, self.seed = learner.gradients.loss, learner.setup.device, seed
        self.images, self.labels = batch.images(self.device), batch.labels.to(self.device)
        self.moments: dict[str, Tensor] = {}
        for name in followed_stages(self.module):
            self.module.stages.get_submodule(name).register_forward_pre_hook(partial(self._note, name))

    def _note(self, name: str, _: nn.Module, read: tuple[Tensor, ...]) -> None:
        self.moments[name] = _moments(read[0])

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those that train, in the order of `names`."""
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    def weights(self) -> list[Tensor]:
        """Return copies of the parameters."""
        return [parameter.detach().clone() for parameter in self.parameters]

    def evaluate(self, weights: Sequence[Tensor]) -> tuple[float, list[Tensor]]:
        """Return the loss at `weights` and its gradient."""
        cards = [self.device] if self.device.type == "cuda" else []
        with torch.no_grad():
            for parameter, weight in zip(self.parameters, weights, strict=True):
                parameter.copy_(weight)
        with torch.random.fork_rng(cards):
            torch.manual_seed(self.seed)
            loss = self.loss(self.module(self.images), self.labels)
        return float(loss.detach()), list(torch.autograd.grad(loss, self.parameters))


def shifts_of(probe: Probe, before: Sequence[Tensor], after: Sequence[Tensor], *, step: int) -> tuple[Shift, ...]:
    """Return the shift of some stages when the layers below them have gone from `before` to `after`, in the `step`.

    Where there is noise, that of the layers below becomes the next step's.
    """
    gradient, stages = probe.evaluate(before)[1], [name for name, _ in probe.module.stages.named_children()]
    moments, found = dict(probe.moments), []
    for stage in followed_stages(probe.module):
        below, own = tuple(f"stages.{name}." for name in stages[: stages.index(stage)]), f"stages.{stage}."
        mixed = [new if name.startswith(below) else old for name, old, new in zip(probe.names, before, after, strict=True)]
        if probe.noise is not None:
            probe.noise.set_step(step + 1, below=below)
        moved = probe.evaluate(mixed)[1]
        if probe.noise is not None:
            probe.noise.set_step(step)
        pairs = [(old, new) for name, old, new in zip(probe.names, gradient, moved, strict=True) if name.startswith(own)]
        found.append(_shift(stage, pairs, moments[stage], probe.moments[stage]))
    return tuple(found)


def followed_stages(module: nn.Module) -> tuple[str, ...]:
    """Return `LAYERS` stages with weights, evenly from the second such to the last; all of them where there are no more."""
    stages = module.get_submodule("stages").named_children()
    names = [name for name, stage in stages if any(parameter.requires_grad for parameter in stage.parameters())][1:]
    count = min(LAYERS, len(names))
    return tuple(names[round(place * (len(names) - 1) / max(1, count - 1))] for place in range(count))


class SmoothnessLook(Look):
    """Looks at some steps of a run and keeps what it sees in `file`, in which a run that goes on finds what was seen before.

    known_by: what tells this run's looks from those of another that was there.
    """

    def __init__(self, setup: Setup, noise: BatchNoise | None, file: Path, *, known_by: str) -> None:
        self.setup, self.settings, self.file, self.known_by = setup, noise, file, known_by
        self.seen = {look.step: look for look in read_looks(file, known_by=known_by)}
        self.every = -(-setup.steps_per_epoch * setup.recipe.epochs // LOOKS)
        self.noise: Noise | None = None
        self._probe: Probe | None = None
        self._along: Along | None = None

    def begin(self, learner: Learner) -> None:
        """Have the network add noise, where the arm has some."""
        if self.settings is not None:
            self.noise = Noise(self.settings, learner.module, seed=self.setup.recipe.seed)

    def before(self, learner: Learner, batch: Batch | FeatureBatch) -> None:
        """Look along the gradient."""
        if self.noise is not None:
            self.noise.set_step(learner.step)
        self._probe = None
        if learner.step % self.every or learner.step in self.seen or len(batch.labels) < 2:
            return
        assert isinstance(batch, Batch), "studies train networks from the start"
        self._probe = Probe(learner, self.noise, batch, seed=learner.step)
        lengths = [length * self.setup.peak_lr for length in LENGTHS]
        self._weights = self._probe.weights()
        self._along = look_along(self._probe.evaluate, self._weights, lengths)

    def after(self, learner: Learner, batch: Batch | FeatureBatch) -> None:
        """Look at the layers whose inputs have moved, and keep what was seen."""
        if self._probe is None or self._along is None:
            return
        step, moved = self._probe.seed, [parameter.detach() for parameter in learner.module.parameters() if parameter.requires_grad]
        self.seen[step] = StepLook(step, self._along, shifts_of(self._probe, self._weights, moved, step=step))
        self._probe = None
        write_whole(self.file, to_json({"run": self.known_by, "looks": [asdict(look) for look in self.seen.values()]}))


def read_looks(file: Path, *, known_by: str) -> tuple[StepLook, ...]:
    """Return what is in the file of a run's looks, by step; nothing where there is none, or they are another run's."""
    values = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    looks = values["looks"] if values.get("run") == known_by else []
    return tuple(sorted(map(_look, looks), key=lambda look: look.step))


def look_settings(noise: BatchNoise | None) -> dict[str, Any]:
    """Return what decides looks beside the run, in JSON's types."""
    return {"lengths": list(LENGTHS), "of_a_run": LOOKS, "layers": LAYERS, "noise": asdict(noise) if noise else None}


def _look(values: dict[str, Any]) -> StepLook:
    along: dict[str, Any] = {
        name: tuple(map(_number, value)) if isinstance(value, list) else _number(value) for name, value in values["along"].items()
    }
    shifts: list[dict[str, Any]] = [
        {name: value if name == "stage" else _number(value) for name, value in shift.items()} for shift in values["shifts"]
    ]
    return StepLook(values["step"], Along(**along), tuple(Shift(**shift) for shift in shifts))


def _number(value: float | None) -> float:
    return math.inf if value is None else value  # JSON has no word for it


def _rough(value: float) -> float:
    """Return what is measured, or infinity where it is no number, for then the loss is as rough as can be."""
    return value if math.isfinite(value) else math.inf


def _moments(read: Tensor) -> Tensor:
    values = read.detach().transpose(0, 1).flatten(1).double()
    return torch.stack([values.mean(1), values.std(1, correction=0)])


def _shift(stage: str, pairs: Sequence[tuple[Tensor, Tensor]], was: Tensor, now: Tensor) -> Shift:
    old, new = (torch.cat([pair[place].flatten().double() for pair in pairs]) for place in (0, 1))
    length, change = float(old.norm()), float((new - old).norm())
    product = length * float(new.norm())
    spread = float(was[1].norm())
    return Shift(
        stage,
        _rough(float(old @ new) / product if product else math.inf),
        _rough(change),
        _rough(change / length if length else math.inf),
        _rough(float((now - was).norm()) / spread if spread else math.inf),
    )


def _norm(parts: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float(part.double().square().sum()) for part in parts))


def _distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float((a.double() - b.double()).square().sum()) for a, b in zip(one, other, strict=True)))
