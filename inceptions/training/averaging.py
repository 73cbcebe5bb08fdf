"""The running average of a network as it trains: enters its weights after each step, leaves a module of the averages.

"The running average of the parameters" of 1512.00567, section 8, and GoogLeNet's Polyak averaging (1409.4842, section 6). The statistics of
batch normalisation are averaged with the weights: those of the raw network belong to other weights, and measuring anew would take a pass
over the training images (which `torch.optim.swa_utils.update_bn` does). TF-slim averages them too (`variables_to_average`).
"""

from __future__ import annotations

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
