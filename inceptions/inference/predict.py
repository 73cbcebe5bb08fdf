"""Predictions on images, in one call: enters a model and pictures, leaves the likeliest classes of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inceptions.data.in_memory import Given, find_pictures
from inceptions.errors import UserError
from inceptions.inference.engines.base import Engine
from inceptions.inference.engines.choose import Tell, log, open_engine
from inceptions.inference.exits.engine import open_early_exit
from inceptions.inference.pipeline import OnError, iterate_predictions
from inceptions.inference.prediction import Prediction
from inceptions.inference.sources import iterate_pictures
from inceptions.weights.card import ModelCard, read_card
from inceptions.weights.locate import find_model

if TYPE_CHECKING:
    from inceptions.weights.folder import LoadedModel


def predict(
    model: LoadedModel | str | Path,
    images: Given | Iterable[Given],
    *,
    top_k: int = 5,
    on_error: OnError = "fail",
    batch_size: int | None = None,
    workers: int | None = None,
    engine: str | None = None,
    device: str | None = None,
    exit_early: bool = False,
    most_lost: float = 0.3,
) -> list[Prediction]:
    """Return a `Prediction` for each picture, in order.

    model: a folder, a tag, or what `load_model` returned, which torch runs.
    images: one or a sequence of a name, a picture of Pillow's, or an array of uint8, (H, W, 3); or an array (N, H, W, 3). A name is that of
        a file, a folder, or what else the command takes: a pattern, a table of paths, shards, hf:NAME.
    on_error: "skip" gives a `Prediction` that says why a picture can't be read.
    workers: threads that read; None lets the machine decide.
    engine: "torch", "compiled", "openvino" or "onnxruntime"; None is the fastest here, prepared once, as `open_engine` says.
    device: such as "cuda"; None is an accelerator, if there is one.
    exit_early: whether auxiliary heads answer what they are sure of, as `inceptions exits` found.
    most_lost: how many points of accuracy that might lose where it was found.

    Raises ImageError for what is no picture or can't be read; UserError when there is no such model or engine.
    """
    pictures = find_pictures(images, find=lambda name: iterate_pictures([name]))
    running, card = open_model(model, engine=engine, device=device, most_lost=most_lost if exit_early else None)
    batches = iterate_predictions(running, card, pictures, top_k=top_k, on_error=on_error, batch_size=batch_size, workers=workers)
    return [item for batch in batches for item in batch]


@dataclass(frozen=True, slots=True)
class EngineModel:
    """A model that an engine runs, as `evaluation.evaluate` takes it beside those that torch runs."""

    engine: Engine
    card: ModelCard

    @property
    def share_of_cost(self) -> float:
        """What its answers took so far, in parts of the multiply-adds of the whole network."""
        return self.engine.share_of_cost

    def answer(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the probabilities (N, K) of each batch of pixels, uint8 (N, S, S, C), in order."""
        return (answers.probabilities for answers in self.engine.stream(batches))


def open_model(
    model: LoadedModel | str | Path,
    *,
    engine: str | None = None,
    device: str | None = None,
    most_lost: float | None = None,
    tell: Tell = log.info,
) -> tuple[Engine, ModelCard]:
    """Return the engine that runs a model, as `open_engine` chooses it, and its card; raises UserError as that does.

    most_lost: of early exits, as `open_early_exit` takes it; None goes through the whole network.
    What `load_model` returned is run by torch, in float32, for nobody knows whether it is still what was loaded.
    """
    if isinstance(model, str | Path):
        folder = find_model(model)
        card = read_card(folder)
        if most_lost is not None:
            return open_early_exit(folder, card, most_lost=most_lost, engine=engine, device=device, tell=tell), card
        return open_engine(folder, card, engine=engine, device=device, tell=tell), card
    if engine not in (None, "auto", "torch") or most_lost is not None:
        what = "early exits are of" if most_lost is not None else f"the engine {engine!r} runs"
        raise UserError(f"{what} model folders; give the folder or the tag in place of what was loaded of it")
    from inceptions.devices import pick_device
    from inceptions.inference.engines.torch import TorchEngine, whole

    return TorchEngine(whole(model), device=pick_device(device)), model.card
