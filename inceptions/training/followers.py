"""Copies of the weights that follow them: enters a network as it trains, leaves its running average, or the slow weights of lookahead."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from inceptions.training.optimizers import each
from inceptions.training.recipe import Average


class RunningAverage(AveragedModel):
    """torch's AveragedModel as the recipe's `average` has it, of the statistics of batch normalisation too.

    torch's own `update_parameters` goes through all modules at each step, and brings the count of steps to the device, twice, where the
    host waits for all that is queued there.
    """

    def __init__(self, module: nn.Module, average: Average) -> None:
        super().__init__(module, use_buffers=True)
        self.average = average
        pairs = [pair for pair in zip(_tensors(self.module), _tensors(module), strict=True)]
        self.values = _two_lists(pair for pair in pairs if pair[0].is_floating_point())
        self.counts = _two_lists(pair for pair in pairs if not pair[0].is_floating_point())  # batch normalisation's, of batches

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Call after each step, with the module that this is an average of: the first time it is copied."""
        steps = int(self.n_averaged)  # which lies on the host, whatever the device
        if steps:
            each._foreach_lerp_(*self.values, 1 - self.average.decay_after(steps))
        else:
            each._foreach_copy_(*self.values)
        if self.counts[0]:
            each._foreach_copy_(*self.counts)
        self.n_averaged += 1


def make_average(module: nn.Module, average: Average) -> RunningAverage:
    """Return the running average of `module`; call `update_parameters(module)` after each step."""
    return RunningAverage(module, average)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]


def _two_lists(pairs: Iterable[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    kept = list(pairs)
    return [first for first, _ in kept], [second for _, second in kept]


class Lookahead:
    """A slow copy of the weights that follows them, and that they go back to, every few steps (1907.08610).

    The slow copy keeps the more of itself the further training is: 0.95^5 (s/S)^3 of it after s of S steps, as 2404.00498 has it, and no
    more of it in steps beyond.
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
        kept = 0.95**self.EVERY * min(1.0, step / self.steps) ** 3
        each._foreach_lerp_(self.slow, self.fast, 1 - kept)
        each._foreach_copy_(self.fast, self.slow)

    def state_dict(self) -> list[Tensor]:
        """Return the slow weights."""
        return self.slow

    @torch.no_grad()
    def load_state_dict(self, state: list[Tensor]) -> None:
        """Go back to what `state_dict` gave."""
        for slow, saved in zip(self.slow, state, strict=True):
            slow.copy_(saved)
