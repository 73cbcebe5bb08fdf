"""Training steps of Inception-v3 against torchvision's plain loop: `python scripts/measure_training.py [ROUNDS] [BATCH]`.

299 pixels, 1,000 classes, SGD with momentum, one process, on the CPU; batches are made already. Ours is a step of the recipe `quick` as
`inceptions train` takes it: bfloat16 where the processor has it, channels last, fused. Theirs is torchvision's module with its auxiliary
head in float32, as its training loop has it. Steps are taken in turns. Prints images a second of both, the median of the rounds' ratios
with their quartiles, and what ours spends its time on, by torch's profiler.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from torchvision.models import inception_v3

from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.folders import load_splits
from inceptions.devices import prefer_speed, return_freed_memory
from inceptions.networks.registry import get_network
from inceptions.training.learner import Learner
from inceptions.training.processes import Processes
from inceptions.training.recipes import QUICK
from inceptions.training.setup import prepare

SIDE, CLASSES, WARM, PROFILED = 299, 1000, 2, 3


def ours(batch: int) -> Callable[[], object]:
    """Return a step of ours on one batch."""
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(2 * batch):
            file = Path(scratch, "train", f"c{number % 2}", f"{number}.jpg")
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(file)
        splits = load_splits(scratch)
        splits = replace(splits, classes=tuple(f"c{number:04}" for number in range(CLASSES)))
        setup = prepare(get_network("inception_v3"), splits, replace(QUICK, batch_size=batch), source=scratch, device="cpu")
        learner = Learner(setup, Processes(), steps_per_epoch=100)
        learner.begin_epoch(1)
        (first, *_) = image_loader(ImageDataset(setup.splits.train, setup.preprocess), batch_size=batch, shuffle=False, workers=0)
    return lambda: learner.learn(first)


def theirs(batch: int) -> Callable[[], object]:
    """Return a step of torchvision's on one batch."""
    model = inception_v3(weights=None, init_weights=False, num_classes=CLASSES).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    images, labels = torch.randn(batch, 3, SIDE, SIDE), torch.arange(batch) % 2

    def step() -> None:
        out = model(images)
        loss = functional.cross_entropy(out.logits, labels) + 0.4 * functional.cross_entropy(out.aux_logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def keep_memory(name: str) -> None:
    """Have this process keep freed memory for our steps, as our training does, and give it back for theirs, as processes do."""
    if name == "ours":
        prefer_speed(torch.device("cpu"))
    else:
        return_freed_memory()


def seconds(name: str, step: Callable[[], object]) -> float:
    """Return how long a step takes, after one that has the process's memory as it is among steps of its kind."""
    keep_memory(name)
    step()
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def main(rounds: int, batch: int) -> None:
    """Take the steps and print what came of them."""
    contenders = {"ours": ours(batch), "torchvision": theirs(batch)}
    for step in contenders.values():
        for _ in range(WARM):
            step()
    times = [{name: seconds(name, step) for name, step in contenders.items()} for _ in range(rounds)]
    for name in contenders:
        print(f"{name}: {batch / statistics.median(each[name] for each in times):.2f} images/s, median of {rounds} steps")
    low, middle, high = statistics.quantiles([each["torchvision"] / each["ours"] for each in times], n=4)
    print(f"ours is {middle:.2f} times as fast ({low:.2f} to {high:.2f}, quartiles)")
    keep_memory("ours")
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(PROFILED):
            contenders["ours"]()
    events = sorted(profiled.key_averages(), key=lambda event: -event.self_cpu_time_total)
    whole = sum(event.self_cpu_time_total for event in events)
    for event in events[:8]:
        print(f"{100 * event.self_cpu_time_total / whole:5.1f} %  {event.key}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15, int(sys.argv[2]) if len(sys.argv) > 2 else 16)
