"""The order in which Keras lists the layers of a network, and in which its .h5 files are loaded: the farthest from the output first.

Enters a `Network`, leaves a rank for the layer and the batch normalisation of each weighted node. Layers as far as each other keep
the order of the table.
"""

from __future__ import annotations

from inceptions.networks.spec import Activation, AvgPool, Conv, Linear, MaxPool, Network, Node, Parallel, Residual, SeparableConv
from inceptions.weights.units import Branch, Step

Place = tuple[str, tuple[Step, ...]]


def layer_depths(network: Network) -> dict[Place, tuple[int, int]]:
    """Return, by part and trail, how many layers are behind the weighted layer and behind its batch normalisation."""
    depths: dict[Place, tuple[int, int]] = {("classifier", ("classifier",)): (0, 0)}
    behind = 2 if network.classes else 1  # the classifier and the global average
    for stage in reversed(network.stages):
        behind = _walk(stage.node, stage.name, (), behind, depths)
    return depths


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
