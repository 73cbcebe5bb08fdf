"""What a figure prints of a node: enters a node of the vocabulary, leaves its name, what is unusual about it, and its kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, assert_never

from inceptions.networks import spec
from inceptions.networks.drawing.svg import Kind
from inceptions.networks.spec import ActivationName, Convolution, Layer, Network, Node, Windowed, pair
from inceptions.networks.trace import Cost, Shape, stride_of

ACTIVATION: dict[ActivationName, str] = {"relu": "ReLU", "elu": "ELU", "sigmoid": "sigmoid"}


class Habit(NamedTuple):
    """What most convolutions of a network do, so that only the others are marked."""

    norm: bool
    bias: bool

    @property
    def sentence(self) -> str:
        """The habit in words, for the legend."""
        match self.norm, self.bias:
            case True, True:
                has = "a bias, batch normalisation and ReLU"
            case True, False:
                has = "batch normalisation and ReLU"
            case False, True:
                has = "a bias and ReLU"
            case _:
                has = "ReLU, but neither bias nor batch normalisation"
        return f"Unless marked, a convolution has {has}; linear: no ReLU. V: VALID padding, else SAME."


def habit_of(network: Network) -> Habit:
    """Return how most convolutions of `network` are normalised and biased."""
    layers = (layer for stage in network.stages for layer in layers_of(stage.node))
    habits = [Habit(layer.norm, layer.has_bias) for layer in layers if isinstance(layer, Convolution)]
    return max(habits, key=habits.count, default=Habit(norm=True, bias=False))


def flat(node: Node) -> tuple[Node, ...]:
    """Return the chain that `node` is, with the chains in it spliced in."""
    return tuple(inner for part in node for inner in flat(part)) if isinstance(node, tuple) else (node,)


def repeats(node: Node) -> list[tuple[tuple[Node, ...], int]]:
    """Return the chain as pieces and how often each comes in a row; a piece that repeats has a split in it."""
    parts, pieces, start = flat(node), [], 0
    while start < len(parts):
        piece, times = _repeated_at(parts, start)
        pieces.append((piece, times))
        start += len(piece) * times
    return pieces


def _repeated_at(parts: tuple[Node, ...], start: int) -> tuple[tuple[Node, ...], int]:
    for length in range(1, (len(parts) - start) // 2 + 1):
        piece, times = parts[start : start + length], 1
        if not any(isinstance(part, spec.Parallel | spec.Residual) for part in piece):
            continue
        while parts[start + times * length : start + (times + 1) * length] == piece:
            times += 1
        if times > 1:
            return piece, times
    return parts[start : start + 1], 1


def layers_of(node: Node) -> Iterator[Layer]:
    """Yield every layer in `node`, in the order written."""
    match node:
        case tuple():
            for part in node:
                yield from layers_of(part)
        case spec.Parallel():
            for _, branch in node.branches:
                yield from layers_of(branch)
        case spec.Residual():
            yield from layers_of(node.shortcut)
            yield from layers_of(node.body)
        case _:
            yield node


def kind_of(node: Node) -> Kind:
    """Return what a box for `node` stands for; a chain is a split in it, or what most of it is."""
    match node:
        case tuple():
            kinds: list[Kind] = [kind_of(part) for part in node]
            return max(kinds, key=lambda kind: (kind in ("concat", "sum"), kind != "norm", kinds.count(kind))) if kinds else "end"
        case _:
            return _KINDS[type(node)]


_KINDS: dict[type, Kind] = {
    **{spec.Conv: "conv", spec.SeparableConv: "separable", spec.Linear: "linear", spec.Parallel: "concat", spec.Residual: "sum"},
    **dict.fromkeys((spec.MaxPool, spec.AvgPool, spec.AdaptiveAvgPool), "pool"),
    **dict.fromkeys((spec.LocalResponseNorm, spec.BatchNorm, spec.Activation, spec.Dropout, spec.L2Normalize), "norm"),
}


def layer_name(layer: Layer) -> str:
    """Return kernel, kind and width of a layer as the figures print them: `3x3 conv (96)`."""
    match layer:
        case spec.Conv():
            return f"{_kernel(layer)} conv ({layer.channels})"
        case spec.SeparableConv():
            return f"{_kernel(layer)} separable conv ({layer.channels})"
        case spec.Linear():
            return f"fully connected ({layer.channels})"
        case spec.MaxPool():
            return f"{_kernel(layer)} max pool"
        case spec.AvgPool():
            return f"{_kernel(layer)} avg pool"
        case spec.AdaptiveAvgPool():
            return "global avg pool" if layer.grid == 1 else f"avg pool to {layer.grid}x{layer.grid}"
        case spec.LocalResponseNorm():
            return "local response norm"
        case spec.BatchNorm():
            return "BN" + (f", {ACTIVATION[layer.activation]}" if layer.activation else "")
        case spec.Activation():
            return ACTIVATION[layer.kind]
        case spec.Dropout():
            return f"dropout {layer.rate:g}"
        case spec.L2Normalize():
            return "L2 normalise"
        case _:
            assert_never(layer)


def _kernel(layer: Windowed) -> str:
    height, width = pair(layer.kernel)
    return f"{height}x{width}"


def layer_details(layer: Layer, habit: Habit) -> tuple[str, ...]:
    """Return what else a figure prints of a layer where it isn't the rule: stride, V, dilation, normalisation, `linear`."""
    details: list[str] = []
    if isinstance(layer, spec.SeparableConv):
        between = ["BN"] * layer.depthwise_norm + ([ACTIVATION[layer.depthwise_activation]] if layer.depthwise_activation else [])
        details += [f"multiplier {layer.multiplier}"] * (layer.multiplier > 1)
        details += [f"{' + '.join(between)} after depthwise"] * bool(between)
    if isinstance(layer, spec.Conv):
        details += [f"{layer.groups} groups"] * (layer.groups > 1)
    if isinstance(layer, Windowed):
        details += [f"stride {layer.stride}"] * (layer.stride > 1) + ["V"] * (layer.padding == "valid")
    if isinstance(layer, Convolution | spec.MaxPool):
        details += [f"dilation {layer.dilation}"] * (layer.dilation > 1)
    if isinstance(layer, Convolution):
        details += _unusual_norm(layer, habit) + ["linear"] * (layer.activation is None)
        details += [ACTIVATION[layer.activation]] if layer.activation not in (None, "relu") else []
    if isinstance(layer, spec.Linear):
        details += ["BN"] * layer.norm + ([ACTIVATION[layer.activation]] if layer.activation else [])
    return tuple(details)


def _unusual_norm(layer: Convolution, habit: Habit) -> list[str]:
    own = Habit(layer.norm, layer.has_bias)
    if own == habit:
        return []
    details = ["BN" if own.norm else "no BN"] if own.norm != habit.norm else []
    # Without normalisation a bias is what one expects, and with it none is.
    return details + (["bias" if own.bias else "no bias"] if own.bias == own.norm else [])


def node_title(node: Node, habit: Habit) -> str:
    """Return a line on what a stage is: `3x3 conv (32), stride 2, V`, `module of 4 branches`, `residual block, x10`."""
    parts = flat(node)
    if not parts:
        return "identity"
    pieces = repeats(node)
    splits = [part for part in parts if isinstance(part, spec.Parallel | spec.Residual)]
    if len(pieces) == 1 and pieces[0][1] > 1:
        return f"{_split_title(splits[0])}, x{pieces[0][1]}"
    if len(splits) == 1:
        return _split_title(splits[0]) + (f", stride {stride}" if (stride := stride_of(node)) > 1 else "")
    first = parts[0]
    if len(parts) == 1 and not isinstance(first, spec.Parallel | spec.Residual | tuple):
        return ", ".join((layer_name(first), *layer_details(first, habit)))
    weighted = [layer for layer in layers_of(node) if isinstance(layer, Convolution | spec.Linear)]
    names = {spec.Conv: "convolutions", spec.SeparableConv: "separable convolutions", spec.Linear: "fully connected layers"}
    kinds = {type(layer) for layer in weighted}
    return f"{len(weighted)} {names[kinds.pop()]}" if len(kinds) == 1 else f"{len(parts)} layers"


def _split_title(split: spec.Parallel | spec.Residual) -> str:
    if isinstance(split, spec.Parallel):
        return f"module of {len(split.branches)} branches"
    inner = [part for part in flat(split.body) if isinstance(part, spec.Parallel)]
    return "residual block" + (f" of {len(inner[0].branches)} branches" if inner else "")


def shape_text(shape: Shape) -> str:
    """Return grid and channels as the figures print them: `35x35x192`, or the length of a vector."""
    return f"{shape.channels}" if shape.height == shape.width == 1 else f"{shape.grid}x{shape.channels}"


def names_text(names: Sequence[str]) -> str:
    """Return names of stages in a row: all, or from first to last where there are many."""
    return ", ".join(names) if len(names) <= 4 else f"{names[0]} to {names[-1]}"


def amount(count: int) -> str:
    """Return a count in three or so digits: `312 k`, `23.8 M`, `5.7 G`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {letter}" if count < 100 * size else f"{count / size:.0f} {letter}"
    return str(count)


def cost_text(costs: Sequence[Cost]) -> str:
    """Return parameters and multiply-adds of one module, or their least and most in several uses of it."""
    parameters, multiply_adds = (
        [amount(n) for n in sorted(counts)] for counts in ({c.parameters for c in costs}, {c.multiply_adds for c in costs})
    )
    spread = (f"{a[0]}" if a[0] == a[-1] else f"{a[0]} to {a[-1]}" for a in (parameters, multiply_adds))
    return "{} parameters, {} multiply-adds".format(*spread)
