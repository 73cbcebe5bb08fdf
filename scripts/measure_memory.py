"""What keeping freed memory saves a CPU: `python scripts/measure_memory.py [ROUNDS] [MODEL] [BATCH]`.

Steps of training, forward and backward, on a batch that is made already, with memory returned as glibc does by itself and kept as
`inceptions train` has it, in turns in one process; the first step of each turn is not counted. Prints milliseconds an image and pages that
the kernel gave a step, of both, and the median of the rounds' ratios with their quartiles.
"""

import resource
import statistics
import sys
import time
from contextlib import nullcontext

import torch
from torch.nn import functional

from inceptions.devices import pick_precision, prefer_speed, return_freed_memory
from inceptions.networks.modules.models import create_model
from inceptions.networks.registry import get_network
from inceptions.training.side_by_side import SideBySide, can_gain

CPU, COUNTED = torch.device("cpu"), 2


def main(rounds: int, name: str, batch: int) -> None:
    """Take the steps and print what came of them."""
    network = get_network(name)
    module = create_model(name).to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]
    images = torch.randn(batch, 3, network.image_size, network.image_size).contiguous(memory_format=torch.channels_last)
    labels, arithmetic = torch.arange(batch) % network.classes, pick_precision("auto", CPU)

    def step() -> None:
        with torch.autocast("cpu", arithmetic, enabled=arithmetic is not None):
            with SideBySide() if can_gain(CPU, arithmetic) else nullcontext():
                loss = functional.cross_entropy(module(images).float(), labels)
        module.zero_grad()
        loss.backward()

    ways = {"returned": return_freed_memory, "kept": lambda: prefer_speed(CPU)}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    pages: dict[str, list[int]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, prepare in ways.items():
            prepare()
            step()
            began, faults = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(COUNTED):
                step()
            seconds[way].append((time.perf_counter() - began) / COUNTED)
            pages[way].append((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) // COUNTED)
    for way in ways:
        print(f"{way}: {1000 * statistics.median(seconds[way]) / batch:.2f} ms an image, {statistics.median(pages[way]):,.0f} pages a step")
    low, middle, high = statistics.quantiles([kept / back for back, kept in zip(seconds["returned"], seconds["kept"], strict=True)], n=4)
    print(f"kept takes {middle:.2f} of the time ({low:.2f} to {high:.2f}, quartiles of {rounds} rounds)")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 15,
        sys.argv[2] if len(sys.argv) > 2 else "inception_cifar",
        int((sys.argv[3:] or [512])[0]),
    )
