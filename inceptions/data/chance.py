"""Chance for those who ask torch for it: enters a generator of numpy's, leaves a context in which torch's numbers follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode


class ChanceFrom(TorchFunctionMode):
    """While it is entered, `torch.rand` and `torch.randint`, asked in this thread with no generator named, draw what `rng` decides.

    torchvision's transforms name none. torch's global generator is left alone, for another thread may be at dropout, which draws from it.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(int(rng.integers(2**63)))

    def __torch_function__(self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Call what was called, with the generator where it is one of the two."""
        named = {"generator": self.generator} if func in (torch.rand, torch.randint) else {}
        return func(*args, **{**named, **(kwargs or {})})
