"""Shapes and costs, worked out from the table alone: enters a `Network` and an image size, leaves a `Trace`.

Parameters are those that train (batch normalisation has gamma and beta); multiply-adds are those of convolutions and
linear layers, as the papers count. This is the one place that knows how a layer changes a shape; `build` asks here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, count
from math import prod
from operator import mul
from typing import Literal, NamedTuple, assert_never

from inceptions.networks import spec
from inceptions.networks.spec import Convolution, Network, NetworkError, Node, Numerics, Stage, Windowed, pair


class Shape(NamedTuple):
    """Channels, height and width of a feature map; a vector has height and width 1."""

    channels: int
    height: int
    width: int

    @property
    def grid(self) -> str:
        """Height x width, as the papers print it."""
        return f"{self.height}x{self.width}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a node leaves and what it takes; `norm_channels` are the channels that batch normalisation sees."""

    output: Shape
    parameters: int = 0
    multiply_adds: int = 0
    norm_channels: int = 0

    def then(self, nxt: Cost) -> Cost:
        """Return the cost of this node followed by the next."""
        return beside(nxt.output, self, nxt)


def beside(output: Shape, *costs: Cost) -> Cost:
    """Return the summed cost of nodes that together leave `output`."""
    return Cost(
        output,
        sum(c.parameters for c in costs),
        sum(c.multiply_adds for c in costs),
        sum(c.norm_channels for c in costs),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the described table: a stage, the head or an auxiliary head, what it reads, and what it leaves and costs."""

    name: str
    node: Node
    reads: Shape
    cost: Cost


@dataclass(frozen=True, slots=True)
class Trace:
    """The table with shapes and costs: stages, then head and classifier; auxiliary heads apart."""

    rows: tuple[Row, ...]
    aux: tuple[Row, ...]

    @property
    def stages(self) -> tuple[Row, ...]:
        """The stages alone."""
        return self.rows[:-1]

    @property
    def total(self) -> Cost:
        """The whole network without auxiliary heads."""
        return beside(self.rows[-1].cost.output, *(row.cost for row in self.rows))

    @property
    def total_with_aux(self) -> Cost:
        """The whole network as it trains."""
        return beside(self.rows[-1].cost.output, *(row.cost for row in (*self.rows, *self.aux)))


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Return TensorFlow's SAME padding (before, after) along one side; the odd pixel goes after.

    Arithmetic alone, without a branch on it: `size` may be what torch.jit or torch.fx puts in the place of a number.
    """
    reach = dilation * (kernel - 1)
    total = reach - (size - 1) % stride
    if reach < stride - 1:  # windows leave gaps, and the last one may end before the last pixel, which is no padding
        total = (total + abs(total)) // 2
    return total // 2, total - total // 2


Rule = Literal["valid", "tensorflow", "symmetric", "ceil", "floor"]
"""How a layer pads: VALID, or as `Numerics` says of SAME."""


def padding_rule(node: Windowed, numerics: Numerics) -> Rule:
    """Return how a layer pads; without a stride every SAME is the same."""
    if node.padding == "valid":
        return "valid"
    if node.stride == 1:
        return "tensorflow"
    return numerics.conv_padding if isinstance(node, Convolution) else numerics.pool_padding


def window_count(size: int, kernel: int, stride: int, dilation: int, rule: Rule) -> int:
    """Return how many windows fit along one side of `size` pixels; 0 where none does."""
    reach = dilation * (kernel - 1) + 1
    match rule:
        case "tensorflow":
            return -(-size // stride)
        case "symmetric":
            return (size + 2 * ((reach - 1) // 2) - reach) // stride + 1
        case "ceil":
            count = -(-(size - reach) // stride) + 1
            return count - 1 if (count - 1) * stride >= size else count
        case "valid" | "floor":
            return (size - reach) // stride + 1
        case _:
            assert_never(rule)


def _windows(node: Windowed, shape: Shape, numerics: Numerics, where: str) -> tuple[int, int]:
    rule = padding_rule(node, numerics)
    dilation = 1 if isinstance(node, spec.AvgPool) else node.dilation
    kernel_h, kernel_w = pair(node.kernel)
    height = window_count(shape.height, kernel_h, node.stride, dilation, rule)
    width = window_count(shape.width, kernel_w, node.stride, dilation, rule)
    if height < 1 or width < 1:
        kind = type(node).__name__
        raise NetworkError(f"{where}: a {kind} of {kernel_h}x{kernel_w} doesn't fit on a grid of {shape.grid}; give a larger image")
    return height, width


def trace_node(node: Node, shape: Shape, numerics: Numerics, where: str = "") -> Cost:
    """Return what `node` leaves and costs when it reads `shape`.

    Raises NetworkError, beginning with `where`, when branches or shortcuts do not fit or a window is larger than its grid.
    """
    match node:
        case tuple():
            cost = Cost(shape)
            for part in node:
                cost = cost.then(trace_node(part, cost.output, numerics, where))
            return cost
        case spec.Parallel():
            return _trace_parallel(node, shape, numerics, where)
        case spec.Residual():
            return _trace_residual(node, shape, numerics, where)
        case spec.Conv():
            kernel_h, kernel_w = pair(node.kernel)
            if shape.channels % node.groups or node.channels % node.groups:
                said = f"{shape.channels} channels and {node.channels} filters"
                raise NetworkError(f"{where}: {said} can't be parted into {node.groups} groups; give a divisor of both")
            weights = kernel_h * kernel_w * shape.channels // node.groups * node.channels
            output = Shape(node.channels, *_windows(node, shape, numerics, where))
            return _weighted(node, output, weights, weights * output.height * output.width)
        case spec.SeparableConv():
            return _trace_separable(node, shape, numerics, where)
        case spec.Linear():
            weights = prod(shape) * node.channels
            return _weighted(node, Shape(node.channels, 1, 1), weights, weights)
        case spec.MaxPool() | spec.AvgPool():
            return Cost(Shape(shape.channels, *_windows(node, shape, numerics, where)))
        case spec.AdaptiveAvgPool():
            return Cost(Shape(shape.channels, node.grid, node.grid))
        case spec.BatchNorm():
            return Cost(shape, parameters=2 * shape.channels, norm_channels=shape.channels)
        case spec.LocalResponseNorm() | spec.Activation() | spec.Dropout() | spec.L2Normalize():
            return Cost(shape)
        case _:
            assert_never(node)


def _weighted(node: Convolution | spec.Linear, output: Shape, weights: int, multiply_adds: int) -> Cost:
    norm_channels = node.channels if node.norm else 0
    bias = node.channels if node.has_bias else 0
    return Cost(output, weights + bias + 2 * norm_channels, multiply_adds, norm_channels)


def _trace_separable(node: spec.SeparableConv, shape: Shape, numerics: Numerics, where: str) -> Cost:
    kernel_h, kernel_w = pair(node.kernel)
    middle = shape.channels * node.multiplier
    height, width = _windows(node, shape, numerics, where)
    depthwise, pointwise = kernel_h * kernel_w * middle, middle * node.channels
    cost = _weighted(node, Shape(node.channels, height, width), depthwise + pointwise, (depthwise + pointwise) * height * width)
    extra = middle if node.depthwise_norm else 0
    return replace(cost, parameters=cost.parameters + 2 * extra, norm_channels=cost.norm_channels + extra)


def _trace_parallel(node: spec.Parallel, shape: Shape, numerics: Numerics, where: str) -> Cost:
    costs = {name: trace_node(branch, shape, numerics, f"{where}, branch '{name}'") for name, branch in node.branches}
    if len({(c.output.height, c.output.width) for c in costs.values()}) > 1:
        grids = ", ".join(f"{name} {cost.output.grid}" for name, cost in costs.items())
        raise NetworkError(f"{where}: branches end on different grids: {grids}; check stride or padding")
    first = next(iter(costs.values())).output
    channels = sum(cost.output.channels for cost in costs.values())
    return beside(Shape(channels, first.height, first.width), *costs.values())


def _trace_residual(node: spec.Residual, shape: Shape, numerics: Numerics, where: str) -> Cost:
    body = trace_node(node.body, shape, numerics, f"{where}, body")
    shortcut = trace_node(node.shortcut, shape, numerics, f"{where}, shortcut")
    if body.output != shortcut.output:
        raise NetworkError(
            f"{where}: body leaves {body.output.channels} channels on {body.output.grid}, "
            f"shortcut {shortcut.output.channels} on {shortcut.output.grid}; they must be alike to be added"
        )
    return beside(body.output, body, shortcut)


def stated_shape(stage: Stage) -> Shape:
    """Return the channels and grid that the row of a stage states."""
    return Shape(stage.channels, *pair(stage.grid))


def stage_shapes(network: Network, image_size: int | tuple[int, int] | None = None) -> Iterator[Row]:
    """Yield the stages with what they leave and cost, for an image of `image_size` pixels (height and width, or one number for both)."""
    shape = Shape(network.in_channels, *pair(network.image_size if image_size is None else image_size))
    for stage in network.stages:
        cost = trace_node(stage.node, shape, network.numerics, f"stage '{stage.name}'")
        yield Row(stage.name, stage.node, shape, cost)
        shape = cost.output


def trace(network: Network, image_size: int | None = None) -> Trace:
    """Return the table of `network` with shapes and costs at `image_size` pixels (its own size when not given).

    Raises NetworkError where a layer does not fit.
    """
    stages = tuple(stage_shapes(network, image_size))
    tail: Node = (*network.head, spec.Linear(network.classes)) if network.classes else (*network.head, network.embedding)
    outputs = {row.name: row.cost.output for row in stages}

    def row(name: str, node: Node, reads: Shape, where: str) -> Row:
        return Row(name, node, reads, trace_node(node, reads, network.numerics, where))

    head = row("head", tail, stages[-1].cost.output, "head")
    last = spec.Linear(max(network.classes, 1))
    aux = [row(f"aux {s.after}", (s.layers, last), outputs[s.after], f"auxiliary head on '{s.after}'") for s in network.aux]
    return Trace((*stages, head), tuple(aux))


def check_table(network: Network) -> None:
    """Check that every stage leaves the grid and channels that its row states.

    Raises NetworkError naming the stage, what it states and what it leaves.
    """
    for stage, row in zip(network.stages, stage_shapes(network), strict=True):
        stated, left = stated_shape(stage), row.cost.output
        if stated != left:
            raise NetworkError(
                f"{network.name}: stage '{stage.name}' states {stated.channels} channels on {stated.grid}, "
                f"but leaves {left.channels} on {left.grid}; mend the row or its node"
            )


def reduction(network: Network) -> int:
    """Return how many image pixels one cell of the last grid stands for, along one side (32 for most)."""
    return next(reversed(list(reductions(network).values())))


def reductions(network: Network) -> dict[str, int]:
    """Return, for every stage, how many image pixels one cell of its grid stands for along one side."""
    factors = accumulate((stride_of(stage.node) for stage in network.stages), mul)
    return dict(zip((stage.name for stage in network.stages), factors, strict=True))


def stride_of(node: Node) -> int:
    """Return by how much a node divides the grid."""
    match node:
        case tuple():
            return prod(map(stride_of, node))
        case spec.Parallel():
            return max(stride_of(branch) for _, branch in node.branches)
        case spec.Residual():
            return stride_of(node.body)
        case spec.Conv() | spec.SeparableConv() | spec.MaxPool() | spec.AvgPool():
            return node.stride
        case _:
            return 1


def check_image(network: Network, height: int, width: int) -> None:
    """Check that images of `height` x `width` pixels go through every stage.

    Raises NetworkError that says what does not fit and which square image is the smallest.
    """
    cell = reduction(network)
    try:
        if min(height, width) < cell:
            raise NetworkError(f"one cell of the last grid stands for {cell}x{cell} pixels")
        list(stage_shapes(network, (height, width)))
    except NetworkError as reason:
        least = smallest_image(network)
        advice = f"the smallest square image is {least}x{least}"
        if min(height, width) >= least:  # odd grids on which branches round differently
            below = next(size for size in range(min(height, width), 0, -1) if _fits(network, size))
            above = next(size for size in count(min(height, width)) if _fits(network, size))
            advice = f"{below}x{below} and {above}x{above} are the nearest squares that fit"
        raise NetworkError(f"{network.name} can't take images of {height}x{width} pixels ({reason}); {advice}") from None


def _fits(network: Network, size: int) -> bool:
    try:
        list(stage_shapes(network, size))
    except NetworkError:
        return False
    return True


def smallest_image(network: Network) -> int:
    """Return the side, in pixels, of the smallest square image on which every window fits and the last grid has a whole cell."""
    return next(size for size in count(reduction(network)) if _fits(network, size))
