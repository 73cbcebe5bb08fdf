"""Rates and latencies, taken in turns: enters functions that answer pixels, leaves images per second, with ratios and intervals.

Everything runs in one process, warm, one after the other in rounds; a ratio is of one round, so that what else the machine does
touches both sides. The interval of a ratio is the bootstrap's over rounds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inceptions.children import command_of
from inceptions.evaluation.interval import Interval
from inceptions.inference.engines.base import Engine

Run = Callable[[np.ndarray], np.ndarray]
_RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Rates:
    """images per second of each contender by its name, a number for each round; at so many images at a time."""

    batch_size: int
    rounds: dict[str, tuple[float, ...]]

    def median(self, name: str) -> float:
        """The median over rounds."""
        return float(np.median(self.rounds[name]))

    def ratio(self, name: str, to: str) -> Interval:
        """How many times as fast `name` is as `to`: the median of the rounds' ratios, with its interval."""
        return median_interval(np.array(self.rounds[name]) / np.array(self.rounds[to]))


def median_interval(values: np.ndarray, *, seed: int = 0) -> Interval:
    """Return the median with the 95 % interval of the bootstrap."""
    drawn = np.random.default_rng(seed).choice(values, (_RESAMPLES, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return Interval(float(np.median(values)), float(low), float(high))


def engine_run(engine: Engine) -> Run:
    """Return the function that has an engine answer pixels, divided among what it has on the way at a time."""

    def run(pixels: np.ndarray) -> np.ndarray:
        size = min(len(pixels), engine.batch_size)
        batches = (pixels[start : start + size] for start in range(0, len(pixels), size))
        return np.concatenate([answers.logits for answers in engine.stream(batches)])

    return run


def take_turns(contenders: Mapping[str, Run], pixels: np.ndarray, *, batch_size: int, rounds: int, seconds: float) -> Rates:
    """Return the rates of the contenders on the pixels (N, S, S, C), `batch_size` at a time, for at least `seconds` of each a round."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for name in contenders:
        contenders[name](pixels[:batch_size])  # warm
    for _ in range(rounds):
        for name, run in contenders.items():
            images, began = 0, time.perf_counter()
            while (passed := time.perf_counter() - began) < seconds:
                run(pixels[:batch_size])
                images += batch_size
            found[name].append(images / passed)
    return Rates(batch_size, {name: tuple(values) for name, values in found.items()})


def latencies(run: Run, pixels: np.ndarray, *, count: int = 100) -> dict[str, float]:
    """Return p50, p95 and p99 of the milliseconds that one image takes by itself."""
    run(pixels[:1])
    taken = []
    for number in range(count):
        began = time.perf_counter()
        run(pixels[number % len(pixels) :][:1])
        taken.append(1000 * (time.perf_counter() - began))
    return {f"p{share}": float(np.percentile(taken, share)) for share in (50, 95, 99)}


@dataclass(frozen=True, slots=True)
class Process:
    """A command from its start to its end: seconds and the largest resident memory, MiB, of each run."""

    seconds: tuple[float, ...]
    mebibytes: tuple[float, ...]


def cold_starts(picture: Path, model: Path, *, times: int = 10, options: Sequence[str] = ()) -> Process:
    """Return what `inceptions predict` of one picture takes, from a new process to its answer."""
    command = command_of("inceptions", "predict", str(picture), "--model", str(model), "--json", *options)
    return Process(*zip(*(run_process(command) for _ in range(times)), strict=True))


_LAUNCHER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([time.perf_counter() - began, usage.ru_maxrss, os.waitstatus_to_exitcode(status)]))
"""


def run_process(command: Sequence[str]) -> tuple[float, float]:
    """Return the seconds and MiB of a command; raises RuntimeError with what it said where it fails.

    A small process starts it and waits: one that is started by a large process counts that one's memory as its own.
    """
    done = subprocess.run([sys.executable, "-S", "-c", _LAUNCHER, *command], capture_output=True, text=True, check=True)
    seconds, largest, code = json.loads(done.stdout)
    if code:
        raise RuntimeError(done.stderr)
    return seconds, largest / (2**20 if sys.platform == "darwin" else 2**10)
