"""Averages of a network as it trains: enters its weights after each step, leaves a module of averages, or moves the weights to one.

"The running average of the parameters" of 1512.00567, section 8, and GoogLeNet's Polyak averaging (1409.4842, section 6). The statistics of
batch normalisation are averaged with the weights: those of the raw network belong to other weights, and measuring anew would take a pass
over the training images (which `torch.optim.swa_utils.update_bn` does). TF-slim averages them too (`variables_to_average`).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from inceptions.training.recipe import Average


def make_average(module: nn.Module, average: Average) -> AveragedModel:
    """Return torch's AveragedModel of `module`; call `update_parameters(module)` after each step."""

    def mix(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        if not averaged.is_floating_point():  # batch normalisation's count of batches
            return current
        return averaged.lerp(current, 1 - average.decay_after(int(count)))

    return AveragedModel(module, avg_fn=mix, use_buffers=True)


class Lookahead:
    """A slow copy of the weights that follows them, and that they go back to, every few steps (1907.08610).

    The slow copy keeps the more of itself the further training is: 0.95^5 (s/S)^3 of it after s of S steps, as 2404.00498 has it.
    """

    EVERY = 5

    def __init__(self, parameters: Iterable[nn.Parameter], *, steps: int) -> None:
        self.fast, self.steps = list(parameters), steps
        self.slow = [parameter.detach().clone() for parameter in self.fast]

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Call after each step, counted from 1."""
        if step % self.EVERY:
            return
        kept = 0.95**self.EVERY * (step / self.steps) ** 3
        for slow, fast in zip(self.slow, self.fast, strict=True):
            fast.copy_(slow.lerp_(fast, 1 - kept))

    def state_dict(self) -> list[Tensor]:
        """Return the slow weights."""
        return self.slow

    @torch.no_grad()
    def load_state_dict(self, state: list[Tensor]) -> None:
        """Go back to what `state_dict` gave."""
        for slow, saved in zip(self.slow, state, strict=True):
            slow.copy_(saved)
