"""The weighted layers of a network, in the order of its table: enters a `Network`, leaves a `Unit` for each.

What an adapter walks: a unit says where it stands, in the table's own terms, and which of our tensors it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from inceptions.networks.spec import BatchNorm, Conv, Linear, Network, Node, Parallel, Residual, SeparableConv, pair

Role = Literal["kernel", "bias", "gamma", "beta", "mean", "variance"]
NORM_ROLES: tuple[Role, ...] = ("gamma", "beta", "mean", "variance")
_NORM_TENSORS = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}


class Branch(NamedTuple):
    """A step into a branch of a `Parallel`: its name and its place, from 0."""

    name: str
    place: int


Step = int | str | Branch
"""A place in a chain, "body" or "shortcut" of a residual block, or a branch."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One layer with weights. `part` is a stage's name, "head", "classifier", or "aux STAGE"; `trail` leads to it from there.

    kind "norm" is batch normalisation that stands alone. tensors: role to key in our state dict.
    """

    part: str
    trail: tuple[Step, ...]
    kind: Literal["conv", "depthwise", "pointwise", "linear", "norm"]
    node: Conv | SeparableConv | Linear | BatchNorm
    tensors: dict[Role, str]

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the kernel; (1, 1) for linear and pointwise layers."""
        if self.kind in ("conv", "depthwise") and isinstance(self.node, Conv | SeparableConv):
            return pair(self.node.kernel)
        return 1, 1


def units(network: Network, *, aux: bool = False) -> Iterator[Unit]:
    """Yield the weighted layers of `network` in the order of its table: stages, head, classifier; with `aux`, the auxiliary heads."""
    for stage in network.stages:
        yield from _walk(stage.node, stage.name, (), f"stages.{stage.name}")
    yield from _walk(network.head, "head", (), "head")
    if network.classes:
        yield _classifier(network, "classifier", "classifier")
    for side in network.aux if aux else ():
        yield from _walk(side.layers, f"aux {side.after}", (), f"aux.{side.after}.layers")
        yield _classifier(network, f"aux {side.after}", f"aux.{side.after}.classifier")


def _classifier(network: Network, part: str, key: str) -> Unit:
    return Unit(part, ("classifier",), "linear", Linear(network.classes), {"kernel": f"{key}.weight", "bias": f"{key}.bias"})


def _walk(node: Node, part: str, trail: tuple[Step, ...], key: str) -> Iterator[Unit]:
    match node:
        case tuple():
            for place, inner in enumerate(node):
                yield from _walk(inner, part, (*trail, place), f"{key}.{place}")
        case Parallel():
            for place, (name, inner) in enumerate(node.branches):
                yield from _walk(inner, part, (*trail, Branch(name, place)), f"{key}.{name}")
        case Residual():
            yield from _walk(node.body, part, (*trail, "body"), f"{key}.body")
            yield from _walk(node.shortcut, part, (*trail, "shortcut"), f"{key}.shortcut")
        case Conv():
            yield Unit(part, trail, "conv", node, _tensors(f"{key}.conv", node.has_bias, f"{key}.bn" if node.norm else None))
        case SeparableConv():
            depthwise_norm = f"{key}.depthwise_bn" if node.depthwise_norm else None
            yield Unit(part, trail, "depthwise", node, _tensors(f"{key}.depthwise", False, depthwise_norm))
            yield Unit(part, trail, "pointwise", node, _tensors(f"{key}.pointwise", node.has_bias, f"{key}.bn" if node.norm else None))
        case Linear():
            yield Unit(part, trail, "linear", node, _tensors(f"{key}.linear", node.has_bias, f"{key}.bn" if node.norm else None))
        case BatchNorm():
            yield Unit(part, trail, "norm", node, _norm(f"{key}.bn"))
        case _:
            pass


def _tensors(layer: str, bias: bool, norm: str | None) -> dict[Role, str]:
    named: dict[Role, str] = {"kernel": f"{layer}.weight"}
    if bias:
        named["bias"] = f"{layer}.bias"
    return {**named, **_norm(norm)} if norm else named


def _norm(prefix: str) -> dict[Role, str]:
    return {role: f"{prefix}.{_NORM_TENSORS[role]}" for role in NORM_ROLES}
