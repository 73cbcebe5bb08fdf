"""Prepare an engine: enters a model folder, leaves what the engine loads, compared with torch in float32 on real pictures. Needs torch."""

from __future__ import annotations

import time
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from inceptions.data.bands import Bands, Picture
from inceptions.data.decode import convert_image
from inceptions.data.preprocess import Preprocess
from inceptions.files import whole_folder, write_whole
from inceptions.inference.engines.base import Answers, Engine, Precision
from inceptions.inference.engines.graph import Reader
from inceptions.inference.engines.prepared import RECORD, Comparison, Made, Prepared, checksum
from inceptions.inference.engines.torch import TorchEngine, read_part
from inceptions.versions import now
from inceptions.weights.card import ModelCard

PICTURES = 32
ALLOWED: dict[Precision, float] = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.1, "int8": 0.5}
"""How much of a probability may differ: rounding, of 24, 8, 11 bits. In int8 it is of the largest logit (`_spread`): what integers cost is
judged where they are made, on labelled images, and the photograph may be far outside of the ranges that were found on such.
"""


def prepare_engine(source: Path, card: ModelCard, made: Made, maker: Any, target: Path) -> Prepared:
    """Write what the engine of `maker`, a module of this folder, loads for the model folder `source`, as the folder `target`.

    Whether it agrees with torch stands in what is returned. Raises UserError where it can't be made or written.
    """
    reader, pixels = _read(source, card, made.part)
    reference = answer_all(TorchEngine(reader), pixels)
    with whole_folder(target) as folder:
        if made.engine != "torch":
            example = torch.from_numpy(pixels[:2].copy())
            reader.module.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
            maker.prepare(reader, example, folder, precision=made.precision, device=made.device, source=source)
    # where it stays, for OpenVINO knows what it compiled by its path; without its record it is not there
    engine = maker.load(target, precision=made.precision, device=made.device, source=source, part=made.part)
    comparison = compare(engine, pixels, reference, has_classes=bool(card.classes), allowed=ALLOWED[made.precision])
    files = {file.name: checksum(file) for file in target.iterdir()}
    found = Prepared(target, made, str(source.absolute()), card.network.name, comparison, now(), files)
    write_whole(target / RECORD, found.to_json())
    return found


def _read(source: Path, card: ModelCard, part: int | None) -> tuple[Reader, np.ndarray]:
    """Return what an engine is made of, and what it reads of real pictures: pixels, or the features of the parts before."""
    given = real_pixels(card.preprocess)
    for before in range(part or 0):
        given = answer_all(TorchEngine(read_part(source, before)), given).vectors
    return read_part(source, part), given


def compare(engine: Engine, pixels: np.ndarray, reference: Answers, *, has_classes: bool, allowed: float) -> Comparison:
    """Return how the engine's answers to the pixels (N, S, S, C) compare with those of the reference, and how fast they come."""
    answer_all(engine, pixels)  # the first time is slower
    began = time.perf_counter()
    found = answer_all(engine, pixels)
    rate = len(pixels) / (time.perf_counter() - began)
    if not has_classes:
        difference = float(np.abs(found.vectors - reference.vectors).max() / max(1e-12, np.abs(reference.vectors).max()))
        return Comparison(len(pixels), len(pixels), 0, difference, allowed, rate)
    ours, theirs = found.probabilities, reference.probabilities
    if engine.precision == "int8":
        ours, theirs = _spread(found.logits, reference.logits), _spread(reference.logits, reference.logits)
    best, wanted = ours.argmax(1), theirs.argmax(1)
    rows = np.arange(len(pixels))
    other = best != wanted
    ties = other & (theirs[rows, wanted] - theirs[rows, best] <= allowed)
    if engine.precision == "int8" and 2 * other.sum() > len(pixels):  # what has little to do with the picture
        ties[:] = False
    return Comparison(len(pixels), int((~other).sum()), int(ties.sum()), float(np.abs(ours - theirs).max()), allowed, rate)


def _spread(logits: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return logits (N, K) less their mean over the classes, which no probability depends on, in parts of the largest of the reference."""
    centred, wanted = (values - values.mean(1, keepdims=True) for values in (logits, reference))
    return centred / max(1e-12, np.abs(wanted).max())


def answer_all(engine: Engine, pixels: np.ndarray) -> Answers:
    """Return the engine's answers to the pixels (N, S, S, C), in batches of its size."""
    size = min(engine.batch_size, 16)
    batches = (pixels[start : start + size] for start in range(0, len(pixels), size))
    return Answers(*map(np.concatenate, zip(*engine.stream(batches), strict=True)))


def real_pixels(preprocess: Preprocess, count: int = PICTURES) -> np.ndarray:
    """Return views of a photograph as a network reads them, uint8 (count, S, S, C): parts of it, of many sizes, half of them mirrored."""
    photo = photograph()
    rng = np.random.default_rng(0)
    side = preprocess.image_size
    views = []
    for number in range(count):
        part = rng.uniform(0.3, 1.0)
        width, height = (max(8, int(part * length)) for length in photo.size)
        left, top = (int(rng.integers(0, whole - length + 1)) for whole, length in zip(photo.size, (width, height), strict=True))
        view = photo.crop((left, top, left + width, top + height))
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if number % 2 else view
        views.append(np.asarray(preprocess.crop(_with_channels(view, preprocess.channels))).reshape(side, side, preprocess.channels))
    return np.stack(views)


def photograph() -> Image.Image:
    """Return a photograph of 451x300 pixels that comes with the package: Chelsea, by Stéfan van der Walt, CC0."""
    with resources.files("inceptions.inference.engines").joinpath("cat.jpg").open("rb") as file, Image.open(file) as opened:
        return convert_image(opened)


def _with_channels(photo: Image.Image, channels: int) -> Picture:
    if channels in (1, 3):
        return photo if channels == 3 else photo.convert("L")
    grey = photo.convert("L")
    return Bands(tuple(photo.getchannel(band) if band < 3 else grey for band in range(channels)))
