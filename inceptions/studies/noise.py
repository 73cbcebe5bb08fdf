"""Noise after batch normalisation (1805.11604, Figure 2): enters a module, which from then on adds it while it trains."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from inceptions.studies.study import BatchNoise


class Noise:
    """The noise of a module's layers, drawn from (seed, step, layer): the same for every batch of a step, and in a run that goes on.

    steps: at which each layer of batch normalisation is, by name; whoever trains sets them.
    """

    def __init__(self, settings: BatchNoise, module: nn.Module, *, seed: int) -> None:
        self.settings, self.seed = settings, seed
        norms = {name: layer for name, layer in module.named_modules() if isinstance(layer, _BatchNorm)}
        self.steps = dict.fromkeys(norms, 0)
        for place, (name, layer) in enumerate(norms.items()):
            layer.register_forward_hook(partial(self._add, name, place))

    def set_step(self, step: int, *, below: tuple[str, ...] = ("",)) -> None:
        """Have the layers whose names begin with one of `below` draw the noise of `step`; all of them, where nothing else is said."""
        self.steps.update({name: step for name in self.steps if name.startswith(below)})

    def draw(self, step: int, place: int, images: int, channels: int) -> tuple[Tensor, Tensor]:
        """Return scales s / E[s] and shifts m, float32 (N, C), of the layer at `place`."""
        settings, rng = self.settings, np.random.default_rng((self.seed, step, place))
        mean = rng.uniform(-settings.shift, settings.shift, channels)
        scale = rng.uniform(1.0, settings.scale, channels)
        shifts = rng.uniform(mean - settings.spread, mean + settings.spread, (images, channels))
        scales = rng.normal(scale, settings.spread, (images, channels)) / ((1 + settings.scale) / 2)
        return torch.from_numpy(scales).float(), torch.from_numpy(shifts).float()

    def _add(self, name: str, place: int, layer: nn.Module, _: tuple[Tensor, ...], values: Tensor) -> Tensor:
        if not layer.training:
            return values
        drawn = self.draw(self.steps[name], place, len(values), values.shape[1])
        scales, shifts = (part.to(values).reshape(*part.shape, *[1] * (values.ndim - 2)) for part in drawn)
        return values * scales + shifts
