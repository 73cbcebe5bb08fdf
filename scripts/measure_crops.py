"""Measure what many crops cost: enters a folder of photos, prints the rate of a 144-crop evaluation against that of as many forward passes.

    python scripts/measure_crops.py PHOTOS [COUNT]

Both run in turns in this process, `googlenet_bn` in float32 in batches of 64. Then the peak of memory over that before, with the photos as
they are and enlarged to four times their sides, each in a process of its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from PIL import Image

import inceptions
from inceptions.data.folders import find_images
from inceptions.data.preprocess import for_training
from inceptions.data.splits import Sample
from inceptions.evaluation.evaluate import evaluate
from inceptions.weights.card import ModelCard
from inceptions.weights.folder import LoadedModel

BATCH, CROPS, TURN = 64, 144, 5  # photos of a turn


def make_model() -> LoadedModel:
    """Return `googlenet_bn` with random weights and a thousand classes."""
    torch.manual_seed(0)
    module = inceptions.create_model("googlenet_bn").eval().to(memory_format=torch.channels_last)
    classes = tuple(f"class {number}" for number in range(module.network.classes))
    return LoadedModel(module, ModelCard(module.network, for_training(224), classes))


def forward_rate(model: LoadedModel, count: int) -> float:
    """Return images a second of `count` forward passes in batches."""
    images = torch.rand(BATCH, 3, 224, 224).to(memory_format=torch.channels_last)
    began = time.perf_counter()
    with torch.inference_mode():
        for start in range(0, count, BATCH):
            model.module(images[: count - start])
    return count / (time.perf_counter() - began)


def evaluation_rate(model: LoadedModel, photos: list[Path]) -> float:
    """Return crops a second of an evaluation, reading the photos included."""
    samples = [Sample(path, 0) for path in photos]
    began = time.perf_counter()
    evaluate({"googlenet_bn": model}, samples, model.card.classes[:1], crops=(CROPS,), batch_size=BATCH)
    return CROPS * len(photos) / (time.perf_counter() - began)


def peak_growth(photos: list[Path]) -> float:
    """Return by how many MiB the peak of memory of a process of its own grows over that of forward passes, when it evaluates `photos`."""
    command = [sys.executable, __file__, "--peak", *map(str, photos)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def enlarge(photos: list[Path], folder: Path, factor: int) -> list[Path]:
    """Return copies of `photos` in `folder`, enlarged."""
    paths = [folder / f"{number}.jpg" for number in range(len(photos))]
    for source, path in zip(photos, paths, strict=True):
        image = Image.open(source).convert("RGB")
        image.resize((factor * image.width, factor * image.height)).save(path, quality=90)
    return paths


def measure(photos: list[Path]) -> None:
    """Print rates and peaks."""
    model = make_model()
    forward_rate(model, 2 * BATCH)
    turns = [photos[start : start + TURN] for start in range(0, len(photos), TURN)]
    pairs = [(evaluation_rate(model, turn), forward_rate(model, CROPS * len(turn))) for turn in turns]
    evaluated, forward = (median(column) for column in zip(*pairs, strict=True))
    share = median(mine / other for mine, other in pairs)
    print(f"{len(photos)} photos, {CROPS} crops each: {evaluated:.1f} crops/s; forward passes alone {forward:.1f}/s; {100 * share:.0f} %")
    with tempfile.TemporaryDirectory() as scratch:
        few = photos[:TURN]
        print(f"peak memory above that of forward passes: {peak_growth(few):.0f} MiB; ", end="", flush=True)
        print(f"with photos of four times the sides {peak_growth(enlarge(few, Path(scratch), 4)):.0f} MiB")


def print_peak(photos: list[Path]) -> None:
    """Print by how many MiB an evaluation raises this process's peak of memory over that of forward passes."""
    model = make_model()
    forward_rate(model, 2 * BATCH)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    evaluation_rate(model, photos)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


if __name__ == "__main__":
    if sys.argv[1] == "--peak":
        print_peak([Path(name) for name in sys.argv[2:]])
    else:
        measure(find_images(sys.argv[1])[: int(sys.argv[2]) if len(sys.argv) > 2 else 50])
