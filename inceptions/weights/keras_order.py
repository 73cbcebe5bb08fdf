"""The order in which Keras lists the layers of a network, and in which its .h5 files are loaded: the farthest from the output first.

Enters a network and its adapter, leaves a rank for each tensor, and names for the layers of files that have none. Layers as far as each
other keep the order of the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from inceptions.networks import reshape
from inceptions.networks.spec import Activation, AvgPool, Conv, Linear, MaxPool, Network, Node, Parallel, Residual, SeparableConv
from inceptions.weights.adapters.catalog import ADAPTERS, Adapter
from inceptions.weights.units import NORM_ROLES, Branch, Step

Place = tuple[str, tuple[Step, ...]]


def rank_tensors(network: Network, adapter: Adapter) -> dict[str, int]:
    """Return, by Keras' name of each tensor, how many layers are behind its own."""
    depths: dict[Place, tuple[int, int]] = {("classifier", ("classifier",)): (0, 0)}
    behind = 2 if network.classes else 1  # the classifier and the global average
    for stage in reversed(network.stages):
        behind = _walk(stage.node, stage.name, (), behind, depths)
    return {
        name: depths[unit.part, unit.trail][role in NORM_ROLES]
        for unit, names in adapter.units(network, aux=False)
        for role, name in names.items()
    }


def name_layers(counts: Mapping[str, int]) -> dict[str, list[str]] | None:
    """Return, by class, the names of the layers in that order; None when the counts are not those of a network that Keras has.

    Files of Keras 2.12 to 3.5 without names count layers class by class in it.
    """
    for adapter in ADAPTERS:
        if adapter.framework == "keras":
            ranks = rank_tensors(reshape.with_classes(adapter.network, 1), adapter)
            names = _by_class(sorted(ranks, key=lambda name: -ranks[name]))
            found = Counter({kind: len(layers) for kind, layers in names.items()})
            if found in (Counter(counts), Counter(counts) + Counter(dense=1)):
                return names
    return None


def _by_class(tensors: list[str]) -> dict[str, list[str]]:
    """Return the layers of the tensors, which come in order, by class."""
    weights: dict[str, set[str]] = {}
    for name in tensors:
        layer, _, weight = name.rpartition("/")
        weights.setdefault(layer, set()).add(weight)
    names: dict[str, list[str]] = {}
    for layer, has in weights.items():
        signs = {"moving_mean": "batch_normalization", "depthwise_kernel": "separable_conv2d"}
        kind = "dense" if layer == "predictions" else next((signs[sign] for sign in signs if sign in has), "conv2d")
        names.setdefault(kind, []).append(layer)
    return names


def _walk(node: Node, part: str, trail: tuple[Step, ...], behind: int, depths: dict[Place, tuple[int, int]]) -> int:
    """Note the depths within `node`, which has `behind` layers behind it; return how many there are behind what comes before it."""
    match node:
        case tuple():
            for place, inner in reversed(list(enumerate(node))):
                behind = _walk(inner, part, (*trail, place), behind, depths)
            return behind
        case Parallel():
            steps = [(Branch(name, place), branch) for place, (name, branch) in enumerate(node.branches)]
            return max(_walk(branch, part, (*trail, step), behind + 1, depths) for step, branch in steps)
        case Residual():
            behind += 2 if node.activation else 1
            body = _walk(node.body, part, (*trail, "body"), behind, depths)
            return max(body, _walk(node.shortcut, part, (*trail, "shortcut"), behind, depths))
        case Conv() | SeparableConv() | Linear():
            behind += node.activation is not None
            depths[part, trail] = (behind + node.norm, behind)
            return behind + node.norm + 1
        case Activation() | MaxPool() | AvgPool():
            return behind + 1
        case _:
            return behind
