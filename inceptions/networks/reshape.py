"""Networks made from networks: enters a `Network`, leaves a changed one. Nothing is changed in place.

The papers' comparisons are written with these: small images (1512.00567, Table 2), atrous convolution (1802.02611), widths,
normalisation, factorised kernels, residual scales. The stages' grids and channels are worked out anew where they change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from math import inf
from typing import Any

from inceptions.networks import spec
from inceptions.networks.spec import ActivationName, Convolution, Network, NetworkError, Node, Stage, pair
from inceptions.networks.trace import Shape, check_image, stage_shapes, stride_of, trace, trace_node

Change = Callable[[Node], Node]
"""What makes another node of a node, or leaves it; a chain, `()` of none, may take the place of one."""


def map_nodes(node: Node, change: Change) -> Node:
    """Return `node` with `change` applied to every node in it, innermost first; chains that it makes are spliced into theirs."""
    match node:
        case tuple():
            parts: list[Node] = []
            for part in node:
                changed = map_nodes(part, change)
                parts += changed if isinstance(changed, tuple) else (changed,)
            return change(tuple(parts))
        case spec.Parallel():
            return change(spec.Parallel(**{name: map_nodes(branch, change) for name, branch in node.branches}))
        case spec.Residual():
            return change(replace(node, body=map_nodes(node.body, change), shortcut=map_nodes(node.shortcut, change)))
        case _:
            return change(node)


def map_network(network: Network, change: Change) -> Network:
    """Return `network` with `change` applied to every node of its stages, head and auxiliary heads."""
    head = _as_tuple(map_nodes(network.head, change))
    aux = tuple(replace(side, layers=map_nodes(side.layers, change)) for side in network.aux)
    return map_stages(replace(network, head=head, aux=aux), change)


def map_stages(network: Network, change: Change, *, names: Collection[str] | None = None) -> Network:
    """Return `network` with `change` applied to every node of its stages, or of those called `names`."""
    chosen = [network.stage(name) for name in names] if names is not None else network.stages
    changed = (replace(stage, node=map_nodes(stage.node, change)) if stage in chosen else stage for stage in network.stages)
    return declare(replace(network, stages=tuple(changed)))


def declare(network: Network) -> Network:
    """Return `network` with every stage stating the grid and channels that it leaves."""
    stages = []
    for row in stage_shapes(network):
        channels, height, width = row.cost.output
        stages.append(Stage(row.name, row.node, height if height == width else (height, width), channels))
    return replace(network, stages=tuple(stages))


# ---- size of input and output


def with_classes(network: Network, classes: int) -> Network:
    """Return `network` with `classes` outputs; with 0 it ends in its embedding, or in the pooled features where it has none."""
    return replace(network, classes=classes)


def with_embedding(network: Network, channels: int) -> Network:
    """Return `network` with a bottleneck of `channels` in its head, the fully connected layer that its embedding comes from."""
    return replace(
        network, head=tuple(replace(node, channels=channels) if isinstance(node, spec.Linear) else node for node in network.head)
    )


def with_in_channels(network: Network, in_channels: int) -> Network:
    """Return `network` for images of `in_channels` channels: 1 for grey, 4 and more for multispectral."""
    return replace(network, in_channels=in_channels)


def with_drop_rate(network: Network, rate: float) -> Network:
    """Return `network` with dropout of `rate` before the classifier; auxiliary heads keep theirs."""
    head: list[Node] = [node for node in network.head if not isinstance(node, spec.Dropout)]
    pools = [index for index, node in enumerate(head) if isinstance(node, spec.AdaptiveAvgPool)]
    head.insert(pools[0] + 1 if pools else 0, spec.Dropout(rate))
    return replace(network, head=tuple(head))


def with_image_size(network: Network, image_size: int) -> Network:
    """Return `network` for square images of `image_size` pixels.

    Raises NetworkError that names the smallest size where that one is too small.
    """
    resized = replace(network, image_size=image_size)
    check_image(network, image_size, image_size)
    return declare(resized)


def without_aux(network: Network) -> Network:
    """Return `network` without auxiliary heads."""
    return replace(network, aux=())


def without_misfit_aux(network: Network, *, image_size: int) -> Network:
    """Return `network` without auxiliary heads if one of them doesn't fit on its grid at `image_size` pixels."""
    try:
        trace(network, image_size)
    except NetworkError:
        return without_aux(network)
    return network


def small_stem(network: Network, *, image_size: int, steps: int = 1) -> Network:
    """Return `network` for small images: its first `steps` layers that halve the grid keep it (1512.00567, Table 2).

    A convolution gets stride 1 and a pool goes. With Inception-v3, one step is the paper's row for 151 pixels, two that for 79.
    """
    stages, left = [], steps
    for stage in network.stages:
        if left and stride_of(stage.node) > 1:
            left -= 1
            stage = replace(stage, node=_unstride(stage.node))
        if stage.node != () or stage.name in network.features:
            stages.append(stage)
    if left:
        raise NetworkError(f"{network.name}: steps is {steps}, but only {steps - left} layers halve the grid")
    smaller = replace(network, stages=tuple(stages), image_size=image_size)
    check_image(smaller, image_size, image_size)
    return declare(smaller)


def _unstride(node: Node, *, pool_goes: bool = True) -> Node:
    match node:
        case tuple():
            parts = (_unstride(part, pool_goes=pool_goes) for part in node)
            return tuple(part for part in parts if part != ())
        case spec.Parallel():  # a pool beside convolutions stays, or its channels would be lost
            return spec.Parallel(**{name: _unstride(branch, pool_goes=False) for name, branch in node.branches})
        case spec.Residual():
            return replace(node, body=_unstride(node.body, pool_goes=pool_goes), shortcut=_unstride(node.shortcut))
        case spec.Conv() | spec.SeparableConv():
            return replace(node, stride=1)
        case spec.MaxPool() | spec.AvgPool() if node.stride > 1:
            return () if pool_goes else replace(node, stride=1)
        case _:
            return node


def scale_width(network: Network, factor: float) -> Network:
    """Return `network` with every layer of its stages and auxiliary heads `factor` times as wide, in whole eights.

    The body of an identity shortcut ends in as many channels as it reads.
    """
    if not 0 < factor < inf:
        raise NetworkError(f"{network.name}: the width factor is {factor}; it must be a number above 0")
    shape, stages = Shape(network.in_channels, network.image_size, network.image_size), []
    for stage in network.stages:
        node = _scaled(stage.node, shape, factor, network)
        stages.append(replace(stage, node=node))
        shape = trace_node(node, shape, network.numerics, f"stage '{stage.name}'").output
    aux = tuple(replace(side, layers=map_nodes(side.layers, lambda node: _wider(node, factor))) for side in network.aux)
    return declare(replace(network, stages=tuple(stages), aux=aux))


def _wider(node: Node, factor: float) -> Node:
    if isinstance(node, Convolution | spec.Linear):
        channels = max(8, 8 * round(node.channels * factor / 8))
        if isinstance(node, spec.Conv) and node.groups == node.channels > 1:  # depthwise, as it stays
            return replace(node, channels=channels, groups=channels)
        return replace(node, channels=channels)
    return node


def _scaled(node: Node, shape: Shape, factor: float, network: Network) -> Node:
    match node:
        case tuple():
            parts = []
            for part in node:
                parts.append(_scaled(part, shape, factor, network))
                shape = trace_node(parts[-1], shape, network.numerics, network.name).output
            return tuple(parts)
        case spec.Parallel():
            return spec.Parallel(**{name: _scaled(branch, shape, factor, network) for name, branch in node.branches})
        case spec.Residual():
            body = _scaled(node.body, shape, factor, network)
            if node.shortcut == ():
                body = _ending_in(body, shape.channels)
            return replace(node, body=body, shortcut=_scaled(node.shortcut, shape, factor, network))
        case _:
            return _wider(node, factor)


def _ending_in(node: Node, channels: int) -> Node:
    match node:
        case spec.Conv() | spec.SeparableConv():
            return replace(node, channels=channels)
        case tuple() if node:
            *before, last = node
            if isinstance(last, Convolution | tuple):
                return (*before, _ending_in(last, channels))
            return (*_as_tuple(_ending_in(tuple(before), channels)), last)
        case _:
            raise NetworkError(f"a residual body must end in a convolution to change its width; it ends in {type(node).__name__}")


def _as_tuple(node: Node) -> tuple[Node, ...]:
    return node if isinstance(node, tuple) else (node,)


def truncate(network: Network, last: str) -> Network:
    """Return the body of `network` up to and with the stage `last`: no head, no classifier."""
    network.stage(last)
    names = [stage.name for stage in network.stages]
    kept = network.stages[: names.index(last) + 1]
    features = tuple(name for name in network.features if name in names[: len(kept)])
    return replace(network, stages=kept, head=(), classes=0, embedding=(), aux=(), features=features)


def without_stages(network: Network, *names: str) -> Network:
    """Return `network` without the stages of these names, and without the auxiliary heads that stand after one of them."""
    gone = [network.stage(name) for name in names]
    return declare(
        replace(
            network,
            stages=tuple(stage for stage in network.stages if stage not in gone),
            aux=tuple(side for side in network.aux if side.after not in names),
            features=tuple(name for name in network.features if name not in names),
        )
    )


def dilate(network: Network, output_stride: int) -> Network:
    """Return `network` with a last grid of 1/`output_stride` of the image, by dilation in place of later strides.

    As in DeepLab (1802.02611): the layer that loses its stride keeps the rate so far, the layers after it get it times the stride.
    VALID becomes SAME from there on; average pools are not dilated. Parameters stay; auxiliary heads on changed grids go.
    """
    allowed = (4, 8, 16, 32)
    if output_stride not in allowed:
        raise NetworkError(f"{network.name}: output_stride is {output_stride}; allowed are {', '.join(map(str, allowed))}")
    stride, rate, stages, changed = 1, 1, [], set()
    for stage in network.stages:
        stride *= stride_of(stage.node)
        if stride > output_stride:
            node, rate = _dilated(stage.node, rate)
            stage = replace(stage, node=node)
            changed.add(stage.name)
        stages.append(stage)
    aux = tuple(side for side in network.aux if side.after not in changed)
    return declare(replace(network, stages=tuple(stages), aux=aux))


def _dilated(node: Node, rate: int) -> tuple[Node, int]:
    match node:
        case tuple():
            parts = []
            for part in node:
                part, rate = _dilated(part, rate)
                parts.append(part)
            return tuple(parts), rate
        case spec.Parallel():
            branches = {name: _dilated(branch, rate) for name, branch in node.branches}
            after = max(branch_rate for _, branch_rate in branches.values())
            return spec.Parallel(**{name: branch for name, (branch, _) in branches.items()}), after
        case spec.Residual():
            body, after = _dilated(node.body, rate)
            return replace(node, body=body, shortcut=_dilated(node.shortcut, rate)[0]), after
        case spec.Conv() | spec.SeparableConv() | spec.MaxPool():
            own = rate if max(pair(node.kernel)) > 1 else 1
            return replace(node, stride=1, padding="same", dilation=own), rate * node.stride
        case spec.AvgPool():
            return replace(node, stride=1, padding="same"), rate * node.stride
        case _:
            return node, rate


# ---- what the papers compare


def without_batch_norm(network: Network) -> Network:
    """Return `network` with biases in place of batch normalisation."""
    return map_network(network, lambda node: _with_norm(node, False))


def with_batch_norm(network: Network) -> Network:
    """Return `network` with batch normalisation in every convolution, and no response normalisation (1502.03167, section 4.2.1)."""
    return map_network(network, lambda node: () if isinstance(node, spec.LocalResponseNorm) else _with_norm(node, True))


def _with_norm(node: Node, norm: bool) -> Node:
    match node:
        case spec.Conv():
            return replace(node, norm=norm)
        case spec.SeparableConv():
            return replace(node, norm=norm, depthwise_norm=norm and node.depthwise_norm)
        case spec.Linear() if not norm:
            return replace(node, norm=False)
        case spec.BatchNorm() if not norm:
            return spec.Activation(node.activation) if node.activation else ()
        case _:
            return node


def with_conv_bias(network: Network) -> Network:
    """Return `network` with a bias in every convolution, normalised or not."""
    return map_network(network, lambda node: replace(node, bias=True) if isinstance(node, Convolution) else node)


def with_residual_scale(network: Network, scale: float) -> Network:
    """Return `network` with every residual branch multiplied by `scale` (1602.07261, section 3.3)."""
    return map_network(network, lambda node: replace(node, scale=scale) if isinstance(node, spec.Residual) else node)


def without_residuals(network: Network) -> Network:
    """Return `network` with the bodies of its residual blocks alone (1610.02357, section 4.6)."""

    def alone(node: Node) -> Node:
        if not isinstance(node, spec.Residual):
            return node
        return (*_as_tuple(node.body), spec.Activation(node.activation)) if node.activation else node.body

    return map_network(network, alone)


def with_depthwise_activation(network: Network, activation: ActivationName | None) -> Network:
    """Return `network` with `activation` between depthwise and pointwise convolutions (1610.02357, section 4.7)."""
    return map_network(network, lambda n: replace(n, depthwise_activation=activation) if isinstance(n, spec.SeparableConv) else n)


def factorize_5x5(network: Network, *, between: ActivationName | None = "relu") -> Network:
    """Return `network` with two 3x3 in place of each 5x5, and `between` them ReLU or nothing (1512.00567, section 3.1)."""

    def two(node: Node) -> Node:
        if isinstance(node, spec.Conv) and pair(node.kernel) == (5, 5) and node.padding == "same":
            return (replace(node, kernel=3, stride=1, activation=between), replace(node, kernel=3))
        return node

    return map_stages(network, two)


def factorize_square(network: Network, *, stages: Collection[str] | None = None) -> Network:
    """Return `network` with 1xn and nx1 in place of each unstrided SAME nxn, in all stages or the named ones (1512.00567, section 3.2)."""

    def split(node: Node) -> Node:
        if not isinstance(node, spec.Conv) or node.stride > 1 or node.padding == "valid":
            return node
        height, width = pair(node.kernel)
        return (replace(node, kernel=(1, width)), replace(node, kernel=(height, 1))) if height == width > 1 else node

    return map_stages(network, split, names=stages)


def merge_factorized(network: Network, *, stages: Collection[str] | None = None) -> Network:
    """Return `network` with one nxn in place of each 1xn and nx1 that follow each other; the second's width stays."""

    def merge(node: Node) -> Node:
        if not isinstance(node, tuple):
            return node
        parts: list[Node] = []
        for part in node:
            before = parts[-1] if parts else None
            if isinstance(before, spec.Conv) and isinstance(part, spec.Conv) and _are_factors(before, part):
                parts[-1] = replace(part, kernel=max(pair(part.kernel)))
            else:
                parts.append(part)
        return tuple(parts)

    return map_stages(network, merge, names=stages)


def _are_factors(first: spec.Conv, second: spec.Conv) -> bool:
    (height, width), other = pair(first.kernel), pair(second.kernel)
    return min(height, width) == 1 < max(height, width) and other == (width, height)


def with_numerics(network: Network, **changes: Any) -> Network:
    """Return `network` with other `Numerics`, by field name: those of a set of weights."""
    return declare(replace(network, numerics=replace(network.numerics, **changes)))
