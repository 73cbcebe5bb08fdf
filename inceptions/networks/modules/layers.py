"""The few modules that torch has not: a named chain, a split, a sum, TensorFlow's padding, a length of one."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from inceptions.networks.trace import same_padding


class Chain(nn.Sequential):
    """Layers one after another, under names: (N, C, H, W) to (N, C', H', W')."""

    def __init__(self, **layers: nn.Module | None) -> None:
        super().__init__(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))


class Concat(nn.ModuleDict):
    """Branches on one input, concatenated along channels: (N, C, H, W) to (N, C1 + C2 + ..., H', W')."""

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate what the branches make of x."""
        branches = []
        for branch in self.values():  # no comprehension: torch.jit.script knows none over modules
            branches.append(branch(x))
        return torch.cat(branches, dim=1)


class Sum(nn.Module):
    """`shortcut(x) + scale * body(x)`, then the activation, if any; without a shortcut x itself is added."""

    def __init__(self, *, body: nn.Module, scale: float, shortcut: nn.Module | None, act: nn.Module | None) -> None:
        super().__init__()
        self.body = body
        self.shortcut = nn.Identity() if shortcut is None else shortcut
        self.act = nn.Identity() if act is None else act
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Add what the body makes of x to the shortcut."""
        return self.act(torch.add(self.shortcut(x), self.body(x), alpha=self.scale))

    def extra_repr(self) -> str:
        """Show the settings where torch prints the module."""
        return f"scale={self.scale}"


class SamePad(nn.Module):
    """Pad height and width as TensorFlow's SAME does for the size at hand; the odd row or column goes after."""

    def __init__(self, kernel: tuple[int, int], *, stride: int, dilation: int, value: float) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation, self.value = kernel, stride, dilation, value

    def forward(self, x: Tensor) -> Tensor:
        """Pad x (N, C, H, W) so that every stride begins a window."""
        top, bottom = same_padding(x.shape[-2], self.kernel[0], self.stride, self.dilation)
        left, right = same_padding(x.shape[-1], self.kernel[1], self.stride, self.dilation)
        return functional.pad(x, (left, right, top, bottom), value=self.value)

    def extra_repr(self) -> str:
        """Show the settings where torch prints the module."""
        return f"kernel={self.kernel}, stride={self.stride}, dilation={self.dilation}, value={self.value}"


class L2Normalize(nn.Module):
    """Divide each vector by its Euclidean length: (N, C) to (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Scale each row of x to length one."""
        return functional.normalize(x, dim=1)
