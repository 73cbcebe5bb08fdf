"""Recipes as values: everything that decides how a network is trained but the network and the images."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from inceptions.data.augment import Augment
from inceptions.errors import UserError
from inceptions.networks.spec import BatchNorm, Conv, Linear, Network, Node, Parallel, Residual, SeparableConv


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train: stochastic gradient descent with Nesterov momentum and one cycle of the learning rate.

    lr: the peak; None means 0.05 for a batch of 64 with batch normalisation and 0.01 without, in proportion to the batch.
    warmup: the share of steps in which lr rises. weight_decay: on kernels alone. clip_norm: of all gradients together.
    label_smoothing: spread over all classes, the true one too (1512.00567, section 7).
    precision: "auto" is bfloat16 where the device has it, with the weights in float32.
    """

    name: str = "quick"
    epochs: int = 20
    batch_size: int = 64
    lr: float | None = None
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.2
    clip_norm: float = 2.0
    label_smoothing: float = 0.1
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0
    on_error: Literal["fail", "skip"] = "fail"
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        limits = (("epochs", 1, "at least 1"), ("batch_size", 2, "at least 2, for batch normalisation"), ("seed", 0, "0 or more"))
        for name, least, allowed in limits:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(f"{name} is {value!r}; it must be a whole number, {allowed}")
        if self.lr is not None and not 0 < self.lr < float("inf"):
            raise UserError(f"lr is {self.lr}; it must be above 0")

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe in YAML's own types."""
        return _plain(asdict(self))


QUICK = Recipe()
"""For today and for anybody: a small network on a small set in minutes on two cores. Of our own making; not from a paper.

Command: `inceptions train digits --model inception_small`; a test accuracy of about 0.99 is to be expected.
"""


def peak_lr(recipe: Recipe, network: Network) -> float:
    """Return the highest learning rate of a run."""
    if recipe.lr is not None:
        return recipe.lr
    return (0.05 if has_batch_norm(network) else 0.01) * recipe.batch_size / 64


def has_batch_norm(network: Network) -> bool:
    """Return whether any layer of the stages is batch-normalised."""
    return any(_has_norm(stage.node) for stage in network.stages)


def _has_norm(node: Node) -> bool:
    match node:
        case tuple():
            return any(map(_has_norm, node))
        case Parallel():
            return any(_has_norm(branch) for _, branch in node.branches)
        case Residual():
            return _has_norm(node.body) or _has_norm(node.shortcut)
        case Conv() | SeparableConv() | Linear():
            return node.norm
        case _:
            return isinstance(node, BatchNorm)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value
