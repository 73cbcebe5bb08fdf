"""What a study is: a frozen value with a question, what a paper says, and the arms that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

from inceptions.errors import UserError
from inceptions.networks.spec import Network
from inceptions.training.recipe import Recipe
from inceptions.training.settings import change

Measure = Literal["accuracy", "cost", "steps", "deaths", "averages", "smoothness", "surface"]
"""accuracy: on the held-out images. cost: multiply-adds, where the accuracy is no lower. steps: to reach the accuracy of the other arm.
deaths: runs whose loss was no number any more, or that say the same of all images.
averages: top-1 error of the one arm's models of all seeds, averaged over more and more crops and models.
smoothness: loss and gradient along the gradient, and what a layer reads, while the arms train; of an arm with noise, the steps it takes.
surface: the loss on planes round the end of a run, and through the start and the ends of the arms that share a network."""


SCORED: tuple[Measure, ...] = ("accuracy", "cost", "steps", "deaths")
"""What takes no more than a run's score in the end and after each epoch: a run that died has them too, those of guessing."""
SET_BY_STUDIES = {  # fields of recipes, and what to do instead of changing them
    "seed": "a study runs with the seeds 0, 1, 2…; --seeds says how many",
    "split_seed": "how the images are divided is what --split-seed says",
    "epochs": "how many epochs there are is what --epochs says",
    "model": "a study has networks of its own",
}


@dataclass(frozen=True, slots=True)
class BatchNoise:
    """Noise after batch normalisation, while a network trains: a channel's value a, in one image, becomes s a / E[s] + m.

    The algorithm is that of 1805.11604's appendix. At each step every channel draws a mean, from -shift to shift, and a scale, from 1 to
    `scale`; then every image draws its m, no farther than `spread` from that mean, and its s, normal round that scale, `spread` its
    standard deviation. Differs from the paper in E[s], by which s is divided, so that without noise the network reads in evaluation what
    it was trained on at the mean.
    """

    shift: float = 0.5
    scale: float = 1.25
    spread: float = 0.1


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of a comparison; noise: after each batch normalisation, in a study that measures smoothness."""

    name: str
    network: Network
    recipe: Recipe
    noise: BatchNoise | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """That `better` beats `worse`, both names of arms; no_worse: that it is no worse, in accuracy, or no slower at first, in steps.

    by: what it is judged by; None for what the study measures. A study that measures one of SCORED can have claims by the others.
    """

    better: str
    worse: str
    no_worse: bool = False
    by: Measure | None = None


@dataclass(frozen=True, slots=True)
class Study:
    """A comparison of arms that differ in one thing, with equal images, epochs and seeds.

    hypothesis: in words, as its source has it; claims: the same in arms; measure: what is compared.
    seeds: how many runs of each arm there are if nobody says otherwise. crops: of an image, where averages are what is compared.
    """

    name: str
    title: str
    hypothesis: str
    source: str
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...]
    measure: Measure = "accuracy"
    seeds: int = 3
    crops: tuple[int, ...] = (1, 10, 144)

    def __post_init__(self) -> None:
        names = {arm.name for arm in self.arms}
        if len(names) != len(self.arms) or any({claim.better, claim.worse} - names for claim in self.claims):
            raise ValueError(f"study {self.name}: arms are {sorted(names)}; each once, and claims of no others")
        for claim in self.claims:
            by = self.measure_of(claim)
            if by not in ("accuracy", "steps") and claim.no_worse:
                raise ValueError(f"study {self.name}: a claim is judged by {by}, and no_worse is of accuracy or steps")
            if by != self.measure and not {by, self.measure} <= {*SCORED}:
                raise ValueError(f"study {self.name}: it measures {self.measure}, of which no claim can be judged by {by}")
        if self.measure != "smoothness" and any(arm.noise for arm in self.arms):
            raise ValueError(f"study {self.name}: it measures {self.measure}, and arms have noise where it is smoothness")

    def measure_of(self, claim: Claim) -> Measure:
        """Return what a claim of the study is judged by."""
        return claim.by or self.measure


def change_recipes(study: Study, lines: Sequence[str]) -> Study:
    """Return the study with `field=value` lines applied to the recipe of every arm, as `change` takes them.

    Raises UserError as `change` does, of a field that a study sets itself, and where they change what the arms differ in, in which they
    would be alike.
    """
    for line in lines:
        field = line.partition("=")[0].strip().partition(".")[0]
        if field in SET_BY_STUDIES:
            raise UserError(f"{line!r}: {SET_BY_STUDIES[field]}")
    changed = replace(study, arms=tuple(replace(arm, recipe=change(arm.recipe, lines)) for arm in study.arms))
    for field in (field.name for field in fields(Recipe)):
        was, now = ([getattr(arm.recipe, field) for arm in each.arms] for each in (study, changed))
        if was != now and any(value != was[0] for value in was):
            raise UserError(f"{', '.join(lines)}: changes {field}, in which the arms of the study {study.name} differ; leave it out")
    return changed
