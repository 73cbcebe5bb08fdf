"""What a run says of itself: enters a `Setup`, leaves settings, hyperparameters, and the `Start` that a reporter shows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from inceptions.networks.trace import trace
from inceptions.training.progress import Start
from inceptions.training.recipes import peak_lr
from inceptions.training.setup import Setup


def settings_of(setup: Setup) -> dict[str, Any]:
    """Return everything that decides a run, in YAML's types."""
    return {
        "model": setup.network.name,
        "weights": setup.weights,
        "data": setup.source,
        "image_size": setup.network.image_size,
        "images": _counts(setup),
        "classes": list(setup.splits.classes),
        "device": str(setup.device),
        "arithmetic": _arithmetic(setup.autocast),
        "peak_lr": peak_lr(setup.recipe, setup.network),
        "auxiliary_heads": {side.after: side.weight for side in setup.network.aux},
        "recipe": setup.recipe.to_dict(),
    }


def hyperparameters_of(setup: Setup) -> dict[str, Any]:
    """Return the recipe, with the network that it trains and at what rate, as plain values by dotted names such as optimizer.momentum."""
    peak = peak_lr(setup.recipe, setup.network)
    return {**dict(_flat(setup.recipe.to_dict())), "model": setup.network.name, "image_size": setup.network.image_size, "peak_lr": peak}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, json.dumps(value) if isinstance(value, list) else value


def start_of(setup: Setup, folder: Path, steps: int, *, epoch: int, step: int) -> Start:
    """Return what a reporter shows before the first step; a resumed run begins after `step` of `epoch`."""
    return Start(
        folder=folder,
        network=setup.network.name,
        parameters=trace(setup.network).total.parameters,
        image_size=setup.network.image_size,
        classes=len(setup.splits.classes),
        images=_counts(setup),
        notes=(*setup.splits.notes, *setup.notes),
        device=str(setup.device),
        precision=_arithmetic(setup.autocast),
        epochs=setup.recipe.epochs,
        steps_per_epoch=steps,
        epoch=epoch,
        step=step,
    )


def _counts(setup: Setup) -> dict[str, int]:
    return {name: len(getattr(setup.splits, name)) for name in ("train", "val", "test")}


def _arithmetic(autocast: torch.dtype | None) -> str:
    return "float32" if autocast is None else str(autocast).removeprefix("torch.")
