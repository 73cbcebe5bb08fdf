"""Networks that studies compare and no paper has: enters a `Network`, leaves one that differs in the thing that the study is about."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from inceptions.networks import reshape
from inceptions.networks.spec import (
    AdaptiveAvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Linear,
    Network,
    NetworkError,
    Node,
    Parallel,
    Residual,
    SeparableConv,
    Stage,
    pair,
)
from inceptions.networks.tables.inception_cifar import halve, inception
from inceptions.networks.trace import Shape, trace, trace_node

COST = 25_800_000  # multiply-adds of an image, which networks of 1, 2 and 5 modules a grid come within 2 % of


def with_fewer(network: Network, **counts: int) -> Network:
    """Return `network` with the first so many blocks of the stages of these names, which repeat one block."""
    shorter: dict[Stage, Stage] = {}
    for name, count in counts.items():
        stage = network.stage(name)
        if not isinstance(stage.node, tuple) or not 0 < count <= len(stage.node):
            raise NetworkError(f"{network.name}: stage {name!r} has no {count} blocks, one after another")
        shorter[stage] = replace(stage, node=stage.node[:count])
    return reshape.declare(replace(network, stages=tuple(shorter.get(stage, stage) for stage in network.stages)))


def with_norm_after(network: Network) -> Network:
    """Return `network` with batch normalisation after each activation and not before it."""

    def after(node: Node) -> Node:
        if isinstance(node, Conv) and node.norm and node.activation:
            return (replace(node, norm=False), BatchNorm())
        return node

    return reshape.map_stages(network, after)


def with_linear_reductions(network: Network) -> Network:
    """Return `network` without an activation after each 1x1 convolution that a larger one follows in its branch."""

    def linear(node: Node) -> Node:
        if not isinstance(node, tuple):
            return node
        return tuple(
            replace(part, activation=None) if isinstance(part, Conv) and pair(part.kernel) == (1, 1) and _is_spatial(after) else part
            for part, after in zip(node, (*node[1:], None), strict=True)
        )

    def within(node: Node) -> Node:
        return Parallel(**{name: linear(branch) for name, branch in node.branches}) if isinstance(node, Parallel) else node

    return reshape.map_stages(network, within)


def _is_spatial(node: Node | None) -> bool:
    return isinstance(node, Conv) and max(pair(node.kernel)) > 1


def with_plain_modules(network: Network) -> Network:
    """Return `network` without the sums of its residual modules, whose last convolution is then one like all others, and costs the same."""

    def plain(node: Node) -> Node:
        if not isinstance(node, Residual) or not isinstance(node.body, tuple):
            return node
        *before, last = node.body
        return (*before, Conv(last.channels, last.kernel)) if isinstance(last, Conv) else node

    return reshape.map_network(network, plain)


def with_one_reduction(network: Network, share: float) -> Network:
    """Return `network` with a 1x1 convolution before each module that reduces all that its branches read to that share, in whole eights."""
    shape, stages = Shape(network.in_channels, network.image_size, network.image_size), []
    for stage in network.stages:
        node = stage.node
        if isinstance(node, Parallel):
            node = (Conv(max(8, 8 * round(shape.channels * share / 8)), 1), node)
        stages.append(replace(stage, node=node))
        shape = trace_node(node, shape, network.numerics, f"stage '{stage.name}'").output
    return reshape.declare(replace(network, stages=tuple(stages)))


def pointwise_first(network: Network, *, names: Collection[str] | None = None) -> Network:
    """Return `network` with the two halves of each separable convolution in the other order, or of those in the stages called `names`."""

    def turned(node: Node) -> Node:
        if not isinstance(node, SeparableConv):
            return node
        pointwise = Conv(node.channels, 1, norm=False, bias=False, activation=None, init=node.init)
        settings = {"stride": node.stride, "padding": node.padding, "dilation": node.dilation, "groups": node.channels}
        depthwise = Conv(node.channels, node.kernel, **settings, norm=node.norm, bias=node.bias, activation=node.activation, init=node.init)
        return (pointwise, depthwise)

    return reshape.map_stages(network, turned, names=names)


def with_fully_connected(network: Network, channels: int, *, drop_rate: float) -> Network:
    """Return `network` with a fully connected layer of that many channels in place of the average of each, and dropout after it."""
    return replace(network, head=(Linear(channels, activation="relu"), Dropout(drop_rate)))


def with_bottleneck(network: Network, stage: str, channels: int) -> Network:
    """Return `network` with what `stage` gives brought to so few channels, and back to as many as it gave."""
    place = network.stage(stage)
    squeezed = replace(place, node=(place.node, Conv(channels, 1), Conv(place.channels, 1)))
    return replace(network, stages=tuple(squeezed if one == place else one for one in network.stages))


def of_shape(modules: int, *, cost: int = COST) -> Network:
    """Return a network with so many modules on each of three grids, as wide as comes nearest to `cost` multiply-adds."""
    widths = range(16, 1024, 8)
    return min((_of_width(modules, width) for width in widths), key=lambda network: abs(trace(network).total.multiply_adds - cost))


def _of_width(modules: int, width: int) -> Network:
    stages = [Stage("conv1", Conv(24, 2, padding="valid"), 31, 24)]
    for number, (grid, channels) in enumerate(((15, width // 2), (7, width), (3, width)), start=2):
        stages.append(Stage(f"{number}a", halve(channels), grid, channels))
        module = inception(channels // 4, channels // 2, channels // 4, channels // 4)
        stages.append(Stage(f"{number}b", (module,) * modules, grid, channels))
    return Network(
        name=f"{modules}_modules",
        title=f"{modules} {'module' if modules == 1 else 'modules'} of {width} channels on each of three grids",
        source="ours, after 1512.00567, section 2",
        image_size=32,
        stages=tuple(stages),
        head=(AdaptiveAvgPool(),),
        classes=10,
    )


def with_reductions(reduction: Callable[[int], Node]) -> Network:
    """Return a plain network that halves the grid twice by `reduction`, which doubles the channels to the number it is given."""
    return Network(
        name="reductions",
        title="Three grids with a reduction between",
        source="ours, after 1512.00567, section 5",
        image_size=32,
        stages=(
            Stage("conv1", Conv(40, 3, stride=2), 16, 40),
            Stage("block1", (Conv(40, 3), Conv(40, 3)), 16, 40),
            Stage("reduction1", reduction(80), 8, 80),
            Stage("block2", (Conv(80, 3), Conv(80, 3)), 8, 80),
            Stage("reduction2", reduction(160), 4, 160),
            Stage("block3", (Conv(160, 3), Conv(160, 3)), 4, 160),
        ),
        head=(AdaptiveAvgPool(),),
        classes=10,
    )


def wide_residuals(scale: float) -> Network:
    """Return a network of ten residual modules on 1,152 filters, above the 1,000 of the paper's warning."""
    branches = Parallel(conv1x1=Conv(32, 1), conv3x3=(Conv(32, 1), Conv(32, 3)))
    module = Residual((branches, Conv(1152, 1, norm=False, activation=None)), scale=scale, activation="relu")
    return Network(
        name="wide",
        title="Ten residual modules on 1,152 filters",
        source="ours, after 1602.07261, section 3.3",
        image_size=32,
        stages=(
            Stage("conv1", Conv(32, 3), 32, 32),
            Stage("reductions", tuple(Conv(channels, 3, stride=2) for channels in (64, 128, 256)), 4, 256),
            Stage("widening", Conv(1152, 1), 4, 1152),
            Stage("residuals", (module,) * 10, 4, 1152),
        ),
        head=(AdaptiveAvgPool(),),
        classes=10,
    )
