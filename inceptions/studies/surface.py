"""The loss on planes through weights: enters the ends of runs and images, leaves losses on a grid (1712.09913, 1612.04010).

Two kinds of plane. Round an end, along two random directions of which each filter's part is as long as the filter (1712.09913, section 4).
Through the start and the ends of two runs from it (1612.04010), along directions at right angles, each as long as from start to first end.
Batch normalisation takes the statistics of the images at each point, as in training, and dropout is off. Differs from the code of
1712.09913, which keeps the running averages of the end: they are right at the end alone.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.splits import Sample
from inceptions.files import write_whole
from inceptions.json_text import to_json
from inceptions.networks.spec import Network
from inceptions.training.setup import Setup, make_module
from inceptions.weights.folder import load_model

GRID = 21  # points along each side of a plane
REACH = 1.0  # of a random plane to each side of the end, in lengths of a filter
MARGIN = 0.25  # of a plane through three points beyond them, in distances from start to first end
BETWEEN = 11  # points on the straight line from one end to the other
IMAGES, BATCH = 500, 250  # by which the loss is measured, and by how many of them statistics are taken

Weights = Mapping[str, Tensor]
Point = tuple[float, float]

log = logging.getLogger("inceptions")


@dataclass(frozen=True, slots=True)
class Plane:
    """The points `origin + x across + y up` at the coordinates `xs` and `ys`. points: those that are known, by name."""

    origin: Weights
    across: Weights
    up: Weights
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    points: Mapping[str, Point]

    def at(self, x: float, y: float) -> dict[str, Tensor]:
        """Return the weights at a point."""
        return {name: weight + x * self.across[name] + y * self.up[name] for name, weight in self.origin.items()}


@dataclass(frozen=True, slots=True)
class Surface:
    """The loss on a plane, in nats; infinite where it is no number.

    arms: whose ends are on it. losses: a row for each of `ys`. at_points: at the points that are known. between: along the straight line
    from one end to the other, ends included; nothing where there is one end. guessing: the loss of even chances.
    """

    arms: tuple[str, ...]
    seed: int
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    points: Mapping[str, Point]
    losses: tuple[tuple[float, ...], ...]
    at_points: Mapping[str, float]
    between: tuple[float, ...]
    guessing: float


def random_direction(weights: Weights, generator: torch.Generator) -> dict[str, Tensor]:
    """Return normal numbers, of each filter scaled to the filter's length; zeros for biases and batch normalisation (1712.09913)."""
    found = {}
    for name, weight in weights.items():
        drawn = torch.randn(weight.shape, generator=generator)
        if weight.ndim < 2:
            found[name] = torch.zeros_like(weight)
            continue
        lengths, wanted = (part.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.ndim - 1)) for part in (drawn, weight))
        found[name] = drawn * (wanted / lengths)
    return found


def plane_round(end: Weights, *, seed: int) -> Plane:
    """Return the plane along two random directions round an end."""
    generator = torch.Generator().manual_seed(seed)
    across, up = (random_direction(end, generator) for _ in range(2))
    side = _even(-REACH, REACH)
    return Plane(end, across, up, side, side, {"end": (0.0, 0.0)})


def plane_through(start: Weights, first: Weights, second: Weights) -> Plane | None:
    """Return the plane through a start and two ends; a point is one wide where it is as far as the first end from the start.

    None where the three lie on a line, as they do where an end is where it began.
    """
    across, other = ({name: end[name] - weight for name, weight in start.items()} for end in (first, second))
    square = _product(across, across)
    if not square:
        return None
    along = _product(across, other) / square
    rest = {name: part - along * across[name] for name, part in other.items()}
    high = math.sqrt(_product(rest, rest) / square)
    if high < 1e-6:
        return None
    up = {name: part / high for name, part in rest.items()}
    ends = {"start": (0.0, 0.0), "first": (1.0, 0.0), "second": (along, high)}
    xs, ys = zip(*ends.values(), strict=True)
    return Plane(start, across, up, _even(min(xs) - MARGIN, max(xs) + MARGIN), _even(min(ys) - MARGIN, max(ys) + MARGIN), ends)


def fixed_batches(setup: Setup, samples: Sequence[Sample]) -> list[tuple[Tensor, Tensor]]:
    """Return samples as images (N, C, S, S), unvaried and mixed once for all, and labels (N,), in batches alike in size."""
    order = np.random.default_rng(0).permutation(len(samples))  # they come class by class, and statistics are to be of all classes
    dataset = ImageDataset([samples[place] for place in order], setup.preprocess, on_error="skip")
    read = list(image_loader(dataset, batch_size=BATCH, shuffle=False, workers=0))
    images, labels = torch.cat([batch.images() for batch in read]), torch.cat([batch.labels for batch in read])
    parts = max(1, -(-len(labels) // BATCH))
    placed = ((part.to(setup.device) for part in pair) for pair in zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True))
    return [(image.contiguous(memory_format=torch.channels_last), label) for image, label in placed]


class Ground:
    """A network and images, whose loss is a function of weights. The network is changed at will: give it one of its own."""

    def __init__(self, module: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.module, self.batches = module.train(), batches
        for layer in module.modules():
            if isinstance(layer, nn.Dropout):
                layer.eval()

    @torch.no_grad()
    def loss(self, weights: Weights) -> float:
        """Return the mean cross-entropy at the weights of that name, in nats; infinity where it is no number."""
        for name, parameter in self.module.named_parameters():
            parameter.copy_(weights[name])
        total = sum(float(functional.cross_entropy(self.module(images), labels, reduction="sum")) for images, labels in self.batches)
        mean = total / sum(len(labels) for _, labels in self.batches)
        return mean if math.isfinite(mean) else math.inf


def measure_surface(ground: Ground, plane: Plane, file: Path, *, arms: tuple[str, ...], seed: int, classes: int, known_by: Any) -> Surface:
    """Return the loss on a plane, row by row, each of which is kept in `file`; the rows that are there already are not measured again.

    known_by: what the plane and its images are known again by, in JSON's types; of others the file holds nothing of use.
    """
    head = {"known_by": known_by, "arms": list(arms), "seed": seed, "xs": list(plane.xs), "ys": list(plane.ys)}
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if any(known.get(name) != value for name, value in head.items()):
        known = {**head, "losses": []}
    rows = known["losses"]
    log.info("%s: the loss at %d points, of which %d rows are there already", file, len(plane.xs) * len(plane.ys), len(rows))
    for y in plane.ys[len(rows) :]:
        rows.append([ground.loss(plane.at(x, y)) for x in plane.xs])
        write_whole(file, to_json(known))
    if "at_points" not in known:
        known["at_points"] = {name: ground.loss(plane.at(*point)) for name, point in plane.points.items()}
        known["between"] = [ground.loss(plane.at(*point)) for point in _between(plane)]
        write_whole(file, to_json(known))
    return Surface(
        arms,
        seed,
        plane.xs,
        plane.ys,
        plane.points,
        tuple(tuple(map(_number, row)) for row in rows),
        {name: _number(value) for name, value in known["at_points"].items()},
        tuple(map(_number, known["between"])),
        math.log(classes),
    )


def as_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of a module's parameters by name, on the CPU."""
    return {name: parameter.detach().cpu().clone() for name, parameter in module.named_parameters()}


def start_of(setup: Setup) -> dict[str, Tensor]:
    """Return the weights that a run begins with: the same for all arms of a network and a seed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(setup.recipe.seed)
        return as_weights(make_module(setup))


@dataclass(frozen=True, slots=True)
class End:
    """A run that is through: of which arm and seed, what it was made of, its folder, and that beside which what is measured is kept."""

    arm: str
    seed: int
    setup: Setup
    folder: Path
    kept_by: Path


def survey(ends: Sequence[End], samples: Sequence[Sample]) -> tuple[Surface, ...]:
    """Return the surfaces of a study: of each network and seed a plane round the first arm's end, and one through start and two ends.

    What is measured is kept beside the first arm's place, a file for each plane.
    """
    groups: dict[tuple[int, Network], list[End]] = {}
    for end in ends:
        groups.setdefault((end.seed, end.setup.network), []).append(end)
    batches = fixed_batches(ends[0].setup, samples)
    return tuple(surface for group in groups.values() for surface in _survey(group[:2], batches))


def _survey(group: Sequence[End], batches: Sequence[tuple[Tensor, Tensor]]) -> Iterator[Surface]:
    """Yield the surfaces of one seed's runs of a network."""
    first, models = group[0], [load_model(end.folder / "best", calibrated=False) for end in group]
    weights, setup = [as_weights(model.module) for model in models], first.setup
    ground = Ground(models[0].module.to(setup.device).to(memory_format=torch.channels_last), batches)  # pyright: ignore[reportCallIssue]
    planes = {"round": (plane_round(weights[0], seed=first.seed), 1)}
    if len(group) > 1:
        plane = plane_through(start_of(setup), *weights)
        if plane is None:
            log.warning("seed %d of %s: start and ends lie on a line, and there is no plane through them", first.seed, first.arm)
        else:
            planes["through"] = (plane, 2)
    images = json.loads(json.dumps(setup.to_dict()["images"]))
    for kind, (plane, count) in planes.items():
        file = first.kept_by.with_name(f"{first.kept_by.name}.{kind}.json")
        known_by = {"models": [model.card.sha256 for model in models[:count]], "images": images, "of_them": IMAGES, "together": BATCH}
        names, classes = tuple(end.arm for end in group[:count]), len(setup.splits.classes)
        yield measure_surface(ground, plane, file, arms=names, seed=first.seed, classes=classes, known_by=known_by)


def as_values(surface: Surface) -> dict[str, Any]:
    """Return a surface in plain values, losses to five digits."""
    return {**asdict(surface), "losses": [[float(f"{value:.5g}") for value in row] for row in surface.losses]}


def _between(plane: Plane) -> Iterator[Point]:
    if "second" in plane.points:
        one, other = np.array(plane.points["first"]), np.array(plane.points["second"])
        for share in np.linspace(0, 1, BETWEEN):
            x, y = one + share * (other - one)
            yield float(x), float(y)


def _even(low: float, high: float) -> tuple[float, ...]:
    return tuple(float(value) for value in np.linspace(low, high, GRID))


def _product(one: Weights, other: Weights) -> float:
    return sum(float((part.double() * other[name].double()).sum()) for name, part in one.items())


def _number(value: float | None) -> float:
    return math.inf if value is None else value
