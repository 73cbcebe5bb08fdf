"""Measure whether explanations mean something: enters a model and labelled images, prints tables of deletion, insertion and sanity.

    python scripts/measure_explanations.py MODEL DATA [--images 200] [--sanity 20] [--seed 0] [--output FILE.json]

Deletion and insertion: for the class that the model predicts, areas under the curves with 95 % intervals of the bootstrap over images, for
the four methods, a random map and one that looks at the middle. Sanity: rank correlation of maps with those of the trained network while it
is made random from the top, on `--sanity` of the images. Of the parts of DATA test is taken, else val; images are spread evenly over it.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inceptions.data.folders import load_splits
from inceptions.data.splits import Sample
from inceptions.explain.attribution import METHODS, Method, attribute, read_both
from inceptions.explain.checks import CELLS, area, centre_map, curves, interval, made_random, rank_correlation, to_cells
from inceptions.weights.folder import LoadedModel, load_model
from inceptions.weights.locate import find_model

LEVELS = 5  # of the cascade that are measured: the classifier, and so many parts of the stages
Maps = dict[str, np.ndarray]


def choose(data: str, count: int) -> list[Sample]:
    """Return so many of the test images, or of the validation images, evenly spread."""
    splits = load_splits(data)
    samples = splits.test or splits.val
    return [samples[place] for place in np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)]


def read(model: LoadedModel, sample: Sample) -> torch.Tensor:
    """Return an image as the network reads it, (1, C, S, S)."""
    prep = model.card.preprocess
    return torch.from_numpy(prep(read_both(sample.path, channels=prep.channels)[1]))[None]


def measure_curves(model: LoadedModel, samples: list[Sample], seed: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return the areas (N, 2) of deletion and insertion by map, and the mean seconds that each method takes."""
    rng, areas, seconds = np.random.default_rng(seed), {}, dict.fromkeys(METHODS, 0.0)
    for sample in samples:
        pixels = read(model, sample)
        with torch.no_grad():
            number = int(model.module(pixels).argmax())
        maps: Maps = {"random": rng.random((CELLS, CELLS)), "centre": centre_map()}
        for method in METHODS:
            began = time.perf_counter()
            maps[method] = to_cells(attribute(model.module, pixels, number, method=method, seed=seed))
            seconds[method] += (time.perf_counter() - began) / len(samples)
        for name, heat in maps.items():
            areas.setdefault(name, []).append([area(curve) for curve in curves(model.module, pixels, heat, number)])
    return {name: np.array(values) for name, values in areas.items()}, seconds


def measure_sanity(model: LoadedModel, samples: list[Sample], seed: int) -> dict[str, dict[str, list[float]]]:
    """Return the rank correlations with the trained network's maps, by the part down to which it is random and by method."""
    inputs = [read(model, sample) for sample in samples]
    with torch.no_grad():
        numbers = [int(model.module(pixels).argmax()) for pixels in inputs]

    def maps(module: Any, method: Method) -> list[np.ndarray]:
        return [attribute(module, pixels, number, method=method, seed=seed) for pixels, number in zip(inputs, numbers, strict=True)]

    trained = {method: maps(model.module, method) for method in METHODS}
    stages = len(model.module.stages)
    wanted = {0, *(round(stages * level / LEVELS) for level in range(1, LEVELS + 1))}
    found = {}
    for place, (name, module) in enumerate(made_random(model.module, seed=seed)):
        if place in wanted:
            pairs = {method: zip(trained[method], maps(module, method), strict=True) for method in METHODS}
            found[name] = {method: [rank_correlation(*pair) for pair in both] for method, both in pairs.items()}
    return found


def print_curves(areas: dict[str, np.ndarray], seconds: dict[str, float]) -> None:
    """Print the areas as a table, with the difference to the random and the centre's map."""
    print("| map | deletion | against random | against centre | insertion | against random | against centre | s an image |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, values in areas.items():
        cells = [name]
        for side in (0, 1):
            cells.append(in_words(values[:, side]))
            for base in ("random", "centre"):
                cells.append("" if name == base else in_words(values[:, side] - areas[base][:, side], sign="+"))
        print(f"| {' | '.join(cells)} | {f'{seconds[name]:.2f}' if name in seconds else ''} |")


def print_sanity(found: dict[str, dict[str, list[float]]]) -> None:
    """Print the correlations as a table."""
    print(f"\n| random down to | {' | '.join(METHODS)} |")
    print(f"|---|{'---:|' * len(METHODS)}")
    for name, row in found.items():
        print(f"| {name} | {' | '.join(in_words(np.array(row[method]), digits=2) for method in METHODS)} |")


def in_words(values: np.ndarray, *, sign: str = "", digits: int = 3) -> str:
    """Return the mean with its interval."""
    low, high = interval(values)
    return f"{values.mean():{sign}.{digits}f} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--sanity", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    model = load_model(find_model(given.model))
    areas, seconds = measure_curves(model, choose(given.data, given.images), given.seed)
    print_curves(areas, seconds)
    sanity = measure_sanity(model, choose(given.data, given.sanity), given.seed)
    print_sanity(sanity)
    print(f"\n{torch.get_num_threads()} threads of {platform.processor() or platform.machine()}, torch {torch.__version__}")
    if given.output:
        plain = {"areas": {name: values.tolist() for name, values in areas.items()}, "seconds": seconds, "sanity": sanity}
        given.output.write_text(json.dumps(plain) + "\n")


if __name__ == "__main__":
    main()
