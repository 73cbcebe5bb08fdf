"""Measure whether explanations mean something: enters a model and labelled images, prints tables of deletion, insertion and sanity.

    python scripts/measure_explanations.py MODEL DATA FILE.jsonl [--images 200] [--sanity 20] [--seed 0]

Deletion and insertion: for the class that the model predicts, areas under the curves with 95 % intervals of the bootstrap over images, for
the four methods, a random map and one that looks at the middle. Sanity: rank correlation of maps with those of the trained network while it
is made random from the top, on `--sanity` of the images. Of the parts of DATA test is taken, else val; images are spread evenly over it.
FILE gets a line for each image as it is done, and what is there already is not made again.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captum.attr  # noqa: F401 - before the clock runs
import numpy as np
import torch

from inceptions.data.folders import load_splits
from inceptions.data.splits import Sample
from inceptions.explain.attribution import METHODS, attribute, grey_pixel, read_both
from inceptions.explain.checks import CELLS, area, centre_map, curves, interval, made_random, rank_correlation, to_cells
from inceptions.weights.folder import LoadedModel, load_model
from inceptions.weights.locate import find_model

LEVELS = 5  # of the cascade that are measured: the classifier, and so many parts of the stages


def choose(data: str, count: int) -> list[Sample]:
    """Return so many of the test images, or of the validation images, evenly spread."""
    splits = load_splits(data)
    samples = splits.test or splits.val
    return [samples[place] for place in np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)]


def read(model: LoadedModel, sample: Sample) -> torch.Tensor:
    """Return an image as the network reads it, (1, C, S, S)."""
    prep = model.card.preprocess
    return torch.from_numpy(prep(read_both(sample.path, channels=prep.channels)[1]))[None]


def measure_curves(model: LoadedModel, sample: Sample, seed: int) -> dict[str, Any]:
    """Return the areas of deletion and insertion by map, and the seconds of a processor that each method takes."""
    pixels, seconds = read(model, sample), {}
    number, grey = predicted(model, pixels), grey_pixel(model.card.preprocess)
    maps = {"random": np.random.default_rng(seed).random((CELLS, CELLS)), "centre": centre_map()}
    for method in METHODS:
        began = time.process_time()
        maps[method] = to_cells(attribute(model.module, pixels, number, grey=grey, method=method, seed=seed))
        seconds[method] = time.process_time() - began
    areas = {name: [area(curve) for curve in curves(model.module, pixels, heat, number, grey=grey)] for name, heat in maps.items()}
    return {"areas": areas, "seconds": seconds}


def measure_sanity(model: LoadedModel, sample: Sample, seed: int) -> dict[str, Any]:
    """Return the rank correlations with the trained network's maps, by the part down to which it is random and by method."""
    pixels = read(model, sample)
    number, grey = predicted(model, pixels), grey_pixel(model.card.preprocess)

    def maps(module: Any) -> dict[str, np.ndarray]:
        return {method: attribute(module, pixels, number, grey=grey, method=method, seed=seed) for method in METHODS}

    trained, stages = maps(model.module), len(model.module.stages)
    wanted = {0, *(round(stages * level / LEVELS) for level in range(1, LEVELS + 1))}
    found = {}
    for place, (name, module) in enumerate(made_random(model.module, seed=seed)):
        if place in wanted:
            found[name] = {method: rank_correlation(trained[method], heat) for method, heat in maps(module).items()}
    return {"sanity": found}


def predicted(model: LoadedModel, pixels: torch.Tensor) -> int:
    """Return the number of the likeliest class."""
    with torch.no_grad():
        return int(model.module(pixels).argmax())


def measure(kind: str, samples: list[Sample], file: Path, one: Callable[[Sample, int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what `one` finds of each sample by its place as the seed, from the file where it is there."""
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    there = {line["image"]: line for line in lines if kind in line}
    for place, sample in enumerate(samples):
        if str(sample.path) not in there:
            there[str(sample.path)] = {"image": str(sample.path), **one(sample, place)}
            with file.open("a") as out:
                out.write(json.dumps(there[str(sample.path)]) + "\n")
    return [there[str(sample.path)] for sample in samples]


def print_curves(found: list[dict[str, Any]]) -> None:
    """Print the areas as a table, with the difference to the random and the centre's map."""
    areas = {name: np.array([line["areas"][name] for line in found]) for name in found[0]["areas"]}
    seconds = {method: float(np.mean([line["seconds"][method] for line in found])) for method in METHODS}
    print(f"{len(found)} images\n")
    print("| map | deletion | against random | against centre | insertion | against random | against centre | CPU s an image |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, values in areas.items():
        cells = [name]
        for side in (0, 1):
            cells.append(in_words(values[:, side]))
            for base in ("random", "centre"):
                cells.append("" if name == base else in_words(values[:, side] - areas[base][:, side], sign="+"))
        print(f"| {' | '.join(cells)} | {f'{seconds[name]:.2f}' if name in seconds else ''} |")


def print_sanity(found: list[dict[str, Any]]) -> None:
    """Print the correlations as a table."""
    print(f"\n{len(found)} images\n\n| random down to | {' | '.join(METHODS)} |")
    print(f"|---|{'---:|' * len(METHODS)}")
    for name in found[0]["sanity"]:
        values = (np.array([line["sanity"][name][method] for line in found]) for method in METHODS)
        print(f"| {name} | {' | '.join(in_words(each, digits=2) for each in values)} |")


def in_words(values: np.ndarray, *, sign: str = "", digits: int = 3) -> str:
    """Return the mean with its interval."""
    low, high = interval(values)
    return f"{values.mean():{sign}.{digits}f} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("file", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--sanity", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    model = load_model(find_model(given.model))

    def seeded(one: Callable[[LoadedModel, Sample, int], dict[str, Any]]) -> Callable[[Sample, int], dict[str, Any]]:
        return lambda sample, place: one(model, sample, given.seed + place)

    print_curves(measure("areas", choose(given.data, given.images), given.file, seeded(measure_curves)))
    print_sanity(measure("sanity", choose(given.data, given.sanity), given.file, seeded(measure_sanity)))
    print(f"\n{torch.get_num_threads()} threads of {platform.processor() or platform.machine()}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
