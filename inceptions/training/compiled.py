"""The network through torch's compiler as it trains: enters a module, leaves one that computes the same in fewer and larger steps.

The compiled code is of the very parameters and buffers that the module has, so optimisers, averages, checkpoints and model folders, which
know the module alone, know nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from inceptions.devices import require_compiler
from inceptions.training.optimizers import each


class Compiled(nn.Module):
    """A network that takes images (N, C, S, S) and gives what it gave before, compiled at the first batch and anew for other sizes.

    mode: torch.compile's. fresh: layers of batch normalisation whose running statistics move by `share` of each batch. To the compiler
    a momentum is a constant, and one that changes at each step would have it begin anew each time; so theirs is 1, what comes out is the
    batch's own statistics, and these are mixed with the old ones here. A process's share of a batch may have no images: torch's compiler
    has no right way back for that, and the module takes it as it is.

    Raises UserError where there is no compiler for the compiler's code.
    """

    def __init__(self, module: nn.Module, mode: str, fresh: Sequence[_BatchNorm]) -> None:
        super().__init__()
        require_compiler("compile", instead="train with compile=none")
        self.module, self.compiled, self.share = module, torch.compile(module, mode=mode), 1.0
        # as data, for autograd has no part in them: it may keep them for the way back, and would find them changed
        self.statistics: list[Tensor] = [
            tensor.data for layer in fresh for tensor in (layer.running_mean, layer.running_var) if tensor is not None
        ]
        for layer in fresh:
            layer.momentum = 1.0

    def forward(self, images: Tensor) -> Tensor:
        """Give what the network gives: logits, or `Outputs`."""
        if not len(images):
            return self.module(images)
        before = [tensor.clone() for tensor in self.statistics]
        out = self.compiled(images)
        if before:
            each._foreach_lerp_(before, self.statistics, self.share)
            each._foreach_copy_(self.statistics, before)
        return out
