"""The models that come with the package, ready without a network: enters a name such as `inception_small.cifar10`, leaves its folder.

Their kernels are stored in bfloat16, half of the size, and read as float32. No torch.
"""

from __future__ import annotations

from pathlib import Path

from inceptions.weights.card import CARD_NAME

_FOLDER = Path(__file__).parent / "shipped"


def shipped_models() -> dict[str, Path]:
    """Return the model folders that come with the package, by name."""
    return {path.parent.name: path.parent for path in sorted(_FOLDER.glob(f"*/{CARD_NAME}"))}
