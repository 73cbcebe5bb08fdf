"""A model's speed on this machine in all that people wait for: enters a model folder, leaves a `Benchmark`, and a page of it.

Contenders have the same weights, and their answers are compared with ours before anything is timed.
"""

from __future__ import annotations

import csv
import io
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inceptions.data.folders import find_images
from inceptions.data.preprocess import Preprocess
from inceptions.data.splits import list_names
from inceptions.errors import UserError
from inceptions.inference.benchmark.by_hand import contender
from inceptions.inference.benchmark.measure import (
    Process,
    Rates,
    cold_starts,
    engine_run,
    latencies,
    take_turns,
)
from inceptions.inference.engines.base import softmax
from inceptions.inference.engines.choose import find_device, open_engine
from inceptions.inference.engines.openvino import INT8
from inceptions.inference.engines.prepare import photograph, real_pixels
from inceptions.inference.engines.prepared import processor
from inceptions.inference.pipeline import read_batches
from inceptions.versions import now, versions
from inceptions.weights.card import read_card
from inceptions.weights.folder import load_model

Tell = Callable[[str], None]
log = logging.getLogger(__name__)

OURS = "inceptions"
PHOTO_PX = (500, 375)
PLAIN_IMAGES = 64


@dataclass(frozen=True, slots=True)
class Folder:
    """From files on the disk to a CSV file: seconds of ours, for `images` of them, and of plain loops by their contender's name, in turns.

    Plain loops take the first `plain_images` alone, for they are slow.
    """

    images: int
    plain_images: int
    seconds: dict[str, tuple[float, ...]]

    def rate(self, name: str) -> float:
        """Images per second, the median over turns."""
        return (self.images if name == OURS else self.plain_images) / float(np.median(self.seconds[name]))


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What was measured, on `processor`: of engine and precision; rates by batch size, with each contender; latencies (ms) of one image.

    differences: the largest of a probability between ours and a contender's. folder, cold: None where they weren't asked for.
    """

    model: str
    network: str
    image_size: int
    engine: str
    precision: str
    processor: str
    versions: dict[str, str]
    date: str
    rates: tuple[Rates, ...]
    latency: dict[str, dict[str, float]]
    differences: dict[str, float]
    folder: Folder | None
    cold: Process | None


def run_benchmark(
    folder: Path,
    *,
    against: Sequence[str] = (),
    engine: str | None = None,
    device: str | None = None,
    batch_sizes: Sequence[int] = (1, 4, 16, 32),
    rounds: int = 5,
    seconds: float = 2.0,
    images: str | None = None,
    photos: int = 500,
    cold: int = 10,
    tell: Tell = lambda line: None,
) -> Benchmark:
    """Measure the model in `folder`, interleaved with the contenders `against`.

    images: pictures for the run from folder to file: a file, a folder or a pattern, of which those that can't be read are left out with a
    warning; None makes `photos` JPEGs of 500x375 pixels. rounds, seconds: of each batch size. cold: how many times a new process predicts
    one picture; 0: not at all.

    Raises UserError: no picture that can be read, no such engine or contender, a contender that can't hold these weights, or one that
    answers otherwise.
    """
    card = read_card(folder)
    found = _find_readable(images, card.preprocess, tell) if images else []
    ours = open_engine(folder, card, engine=engine, device=device, tell=tell)
    pixels = real_pixels(card.preprocess, max(batch_sizes))
    runs = {OURS: engine_run(ours)}
    hint = {"bfloat16": "bf16", "int8": "bf16"}.get(ours.precision, "f32")
    for name in against:
        tell(f"making {name}'s")
        runs[name] = contender(name, load_model(folder), precision=hint, int8=folder / INT8 if ours.precision == "int8" else None)
    differences = _compare(runs, pixels, ours.precision)
    rates = []
    for size in batch_sizes:
        tell(f"{size} at a time, {rounds} rounds of {len(runs)}")
        rates.append(take_turns(runs, pixels, batch_size=size, rounds=rounds, seconds=seconds))
    tell("one image at a time")
    latency = {name: latencies(run, pixels) for name, run in runs.items()}
    with tempfile.TemporaryDirectory(prefix="inceptions-benchmark-") as scratch:
        files = [str(path) for path in found] or _paint(Path(scratch) / "photos", max(1, photos))
        whole = None
        if photos or images:
            tell(f"{len(files)} photographs to a file, {len(runs)} ways")
            whole = _from_folder(folder, files, runs, Path(scratch), engine=engine, device=device)
        options = [*(["--engine", engine] if engine else []), *(["--device", device] if device else [])]
        if cold:
            tell(f"{cold} new processes")
        started = cold_starts(Path(files[0]), folder, times=cold, options=options) if cold else None
    libraries = {"inceptions", "python", "torch", *against, *({"openvino", "onnxruntime"} & {ours.name})}
    return Benchmark(
        str(folder),
        card.network.name,
        card.preprocess.image_size,
        ours.name,
        ours.precision,
        processor(find_device(device)),
        versions(sorted(libraries - {"inceptions", "python"})),
        now(),
        tuple(rates),
        latency,
        differences,
        whole,
        started,
    )


def _compare(runs: dict[str, Callable[[np.ndarray], np.ndarray]], pixels: np.ndarray, precision: str) -> dict[str, float]:
    """Return the largest difference of a probability between ours and each contender; UserError where it is no rounding."""
    mine = softmax(runs[OURS](pixels))
    found = {name: float(np.abs(softmax(run(pixels)) - mine).max()) for name, run in runs.items() if name != OURS}
    for name, difference in found.items():
        if not difference <= (1e-3 if precision == "float32" else 0.5):
            raise UserError(f"{name} gives other answers than ours, by {difference:.2g} of a probability; a comparison would mean nothing")
    return found


def _find_readable(images: str, preprocess: Preprocess, tell: Tell) -> list[Path]:
    """Return the pictures that can be read; the others, at which all that was measured would be lost, are told, as by `predict`."""
    found = find_images(images)
    tell(f"reading {len(found)} pictures")
    batches = read_batches(found, preprocess, batch_size=16, on_error="skip")
    unreadable = {item.picture: item.error for batch in batches for item in batch if item.pixels is None}
    if unreadable:
        told = list_names(f"{picture} ({error})" for picture, error in unreadable.items())
        if len(unreadable) == len(found):
            raise UserError(f"none of the images can be read: {told}; give others")
        log.warning("%d of %d files can't be read and are left out: %s", len(unreadable), len(found), told)
    return [path for path in found if path not in unreadable]


def _paint(folder: Path, count: int) -> list[str]:
    """Write `count` JPEGs of 500x375 pixels, parts of a photograph, as a camera would have them."""
    folder.mkdir()
    photo = photograph()
    rng = np.random.default_rng(0)
    files = []
    for number in range(count):
        width = int(rng.integers(photo.width // 2, photo.width))
        height = min(photo.height, width * 3 // 4)
        left, top = int(rng.integers(0, photo.width - width + 1)), int(rng.integers(0, photo.height - height + 1))
        part = photo.crop((left, top, left + width, top + height)).resize(PHOTO_PX, Image.Resampling.BICUBIC)
        path = folder / f"{number:06}.jpg"
        part.save(path, quality=90)
        files.append(str(path))
    return files


def _from_folder(
    folder: Path, files: list[str], runs: dict[str, Any], scratch: Path, *, engine: str | None, device: str | None, turns: int = 3
) -> Folder:
    """Time files to CSV in turns: ours as the command does it, in a process that has the engine already; others as a plain loop."""
    from inceptions.inference.pipeline import iterate_predictions
    from inceptions.inference.rows import open_rows

    card = read_card(folder)
    ours = open_engine(folder, card, engine=engine, device=device)
    taken: dict[str, list[float]] = {name: [] for name in runs if name in (OURS, "torchvision", "timm")}
    for turn in range(turns):
        for name in taken:
            began = time.perf_counter()
            if name == OURS:
                with open_rows(scratch / f"{turn}.csv", {}, top_k=5, batch_size=ours.batch_size) as rows:
                    for batch in iterate_predictions(ours, card, map(Path, files)):
                        rows.add(batch)
            else:
                plain_loop(runs[name], card, files[:PLAIN_IMAGES], scratch / f"{name}{turn}.csv")
            taken[name].append(time.perf_counter() - began)
    return Folder(len(files), min(PLAIN_IMAGES, len(files)), {name: tuple(seconds) for name, seconds in taken.items()})


def plain_loop(run: Callable[[np.ndarray], np.ndarray], card: Any, files: Sequence[str], output: Path, *, batch_size: int = 16) -> None:
    """Write the likeliest class of each file as a loop that most people would write: read and resize a batch, run it, write its rows."""
    rows = io.StringIO()
    writer = csv.writer(rows)
    for batch in read_batches(map(Path, files), card.preprocess, batch_size=batch_size, workers=0):
        probabilities = softmax(run(np.stack([item.pixels for item in batch if item.pixels is not None])))
        for item, values in zip(batch, probabilities, strict=True):
            best = int(values.argmax())
            writer.writerow([item.picture, card.classes[best] if card.classes else "", f"{values[best]:.6f}"])
    output.write_text(rows.getvalue(), encoding="utf-8", errors="surrogateescape")  # names as the disk has them


def as_plain(found: Benchmark) -> dict[str, Any]:
    """Return the benchmark in JSON's types, with the ratios of ours to each contender."""
    values = asdict(found)
    values["ratios"] = [
        {"batch_size": rates.batch_size, "to": name, **asdict(rates.ratio(OURS, name))}
        for rates in found.rates
        for name in rates.rounds
        if name != OURS
    ]
    return values
