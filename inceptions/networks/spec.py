"""The vocabulary: a network is a frozen value made of these nodes, and everything else is a function of it.

Enters: what a paper's table prints. Leaves: a `Network`. The first line of the note that the project implements names the
strategy, split-transform-merge: `Parallel` splits and merges by concatenation, `Residual` splits and merges by addition,
a tuple is a chain, and the other nodes transform. Input widths are inferred, never typed. Only the standard library is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from types import NoneType, UnionType
from typing import Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

Padding = Literal["same", "valid"]
"""Whether zeros are put around a grid, so that a stride alone makes it smaller; `Numerics` says on which side."""
ActivationName = Literal["relu", "elu", "sigmoid"]
"""What an activation may be."""
Initializer: TypeAlias = float | Literal["variance_scaling", "glorot_uniform", "caffe_xavier"]
"""A float is the standard deviation of a normal distribution truncated at two of them."""


class NetworkError(ValueError):
    """A network that cannot be: what was given, where, and what to do."""


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of a kernel written as one number or two."""
    return (size, size) if isinstance(size, int) else size


class _Checked:
    """A value whose fields are checked by their types: whole numbers are positive, and words are some of those that are allowed."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for name, allowed in _allowed(type(self)).items():
            value = getattr(self, name)
            if allowed and value not in allowed:
                raise NetworkError(f"{type(self).__name__}: {name} is {value!r}; allowed are {', '.join(map(repr, allowed))}")
            if not allowed:
                _check_positive(type(self).__name__, name, value)


@cache
def _allowed(kind: type) -> dict[str, tuple[object, ...]]:
    """Return the fields of `kind` that are chosen from some words, with these, and those that are whole numbers, with none."""
    found = {}
    for name, hint in get_type_hints(kind).items():
        options = get_args(hint) if isinstance(hint, UnionType) or get_origin(hint) is Union else (hint,)
        if int in options:
            found[name] = ()
        elif all(get_origin(option) is Literal or option is NoneType for option in options):
            found[name] = tuple(word for option in options for word in get_args(option) or (None,))
    return found


def _check_positive(kind: str, name: str, value: object) -> None:
    numbers = value if isinstance(value, tuple) else (value,)
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in numbers):
        raise NetworkError(f"{kind}: {name} is {value!r}; it must be a positive whole number")


class _Biased(_Checked):
    """A layer with weights. `bias=None` means: a bias where there is no batch normalisation."""

    __slots__ = ()
    norm: bool
    bias: bool | None

    @property
    def has_bias(self) -> bool:
        """Whether the layer, of a separable convolution its pointwise half, adds a bias."""
        return not self.norm if self.bias is None else self.bias


@dataclass(frozen=True, slots=True)
class Conv(_Biased):
    """Convolution, batch normalisation, activation. `bias=None` means: a bias where there is no batch normalisation.

    groups: parts of the channels, each read by as many filters as the others; with one for each channel the convolution is depthwise.
    """

    channels: int
    kernel: int | tuple[int, int]
    stride: int = 1
    padding: Padding = "same"
    dilation: int = 1
    groups: int = 1
    norm: bool = True
    bias: bool | None = None
    activation: ActivationName | None = "relu"
    init: Initializer | None = None


@dataclass(frozen=True, slots=True)
class SeparableConv(_Biased):
    """Depthwise convolution with `multiplier` outputs a channel, then a pointwise 1x1 (which has the bias, if any)."""

    channels: int
    kernel: int | tuple[int, int]
    stride: int = 1
    padding: Padding = "same"
    dilation: int = 1
    multiplier: int = 1
    depthwise_norm: bool = False
    depthwise_activation: ActivationName | None = None
    norm: bool = True
    bias: bool | None = None
    activation: ActivationName | None = "relu"
    init: Initializer | None = None


@dataclass(frozen=True, slots=True)
class Linear(_Biased):
    """Fully connected layer on the flattened input (in the order C, H, W), with optional batch normalisation."""

    channels: int
    norm: bool = False
    bias: bool | None = None
    activation: ActivationName | None = None
    init: Initializer | None = None


@dataclass(frozen=True, slots=True)
class MaxPool(_Checked):
    """Maximum over a window."""

    kernel: int
    stride: int = 1
    padding: Padding = "same"
    dilation: int = 1


@dataclass(frozen=True, slots=True)
class AvgPool(_Checked):
    """Mean over a window; whether padding counts is the `Numerics`' word."""

    kernel: int
    stride: int = 1
    padding: Padding = "same"


@dataclass(frozen=True, slots=True)
class AdaptiveAvgPool(_Checked):
    """Mean over as many windows as the wanted grid has cells; `grid=1` is the global average."""

    grid: int = 1


@dataclass(frozen=True, slots=True)
class LocalResponseNorm:
    """Response normalisation across channels; alpha is divided by size, as Caffe and torch do and TensorFlow does not."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0


@dataclass(frozen=True, slots=True)
class BatchNorm(_Checked):
    """Batch normalisation that stands alone, as in pre-activation blocks, with an optional activation."""

    activation: ActivationName | None = None


@dataclass(frozen=True, slots=True)
class Activation(_Checked):
    """A nonlinearity that stands alone."""

    kind: ActivationName = "relu"


@dataclass(frozen=True, slots=True)
class Dropout:
    """Drop each value with probability `rate` while training (papers often print the probability to keep)."""

    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise NetworkError(f"Dropout: rate is {self.rate}; it must be at least 0 and below 1")


@dataclass(frozen=True, slots=True)
class L2Normalize:
    """Divide each vector by its Euclidean length."""


@dataclass(frozen=True, slots=True, init=False)
class Parallel:
    """Branches side by side on one input, concatenated along channels in the order written."""

    branches: tuple[tuple[str, Node], ...]

    def __init__(self, **branches: Node) -> None:
        if not branches:
            raise NetworkError("Parallel: no branches; give at least one, as name=node")
        object.__setattr__(self, "branches", tuple(branches.items()))


@dataclass(frozen=True, slots=True)
class Residual(_Checked):
    """`activation(shortcut(x) + scale * body(x))`; an empty shortcut is the identity."""

    body: Node
    scale: float = 1.0
    shortcut: Node = ()
    activation: ActivationName | None = None


Layer: TypeAlias = (
    Conv | SeparableConv | Linear | MaxPool | AvgPool | AdaptiveAvgPool | LocalResponseNorm | BatchNorm | Activation | Dropout | L2Normalize
)
"""What has no nodes in it."""
Convolution: TypeAlias = Conv | SeparableConv
"""Either kind of convolution."""
Windowed: TypeAlias = Convolution | MaxPool | AvgPool
"""What slides a window over the grid."""
Node: TypeAlias = "Layer | Parallel | Residual | tuple[Node, ...]"
"""A layer, a split, or a chain of nodes; the empty chain is the identity."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of a paper's table: what it is, and the grid (height = width) and channels that it leaves."""

    name: str
    node: Node
    grid: int | tuple[int, int]
    channels: int


@dataclass(frozen=True, slots=True)
class AuxHead:
    """A side classifier on the output of one stage, for training only; its loss counts `weight` times."""

    after: str
    weight: float
    layers: Node


@dataclass(frozen=True, slots=True)
class Numerics(_Checked):
    """What belongs to a set of weights and not to the table: two files for one architecture differ in these.

    conv_padding, where SAME meets a stride: "tensorflow" puts the odd pixel after, "symmetric" pads both sides alike.
    pool_padding: these two, or "ceil" (Caffe: no padding, the last window may stick out), or "floor" (no padding).
    bn_momentum is torch's: one minus the decay that TensorFlow prints.
    """

    bn_epsilon: float = 1e-3
    bn_momentum: float = 0.1
    conv_padding: Literal["tensorflow", "symmetric"] = "tensorflow"
    pool_padding: Literal["tensorflow", "symmetric", "ceil", "floor"] = "tensorflow"
    avg_pool_counts_padding: bool = False


@dataclass(frozen=True, slots=True)
class Network:
    """A whole network. `head` leads from the last stage to the vector that the classifier reads.

    classes: outputs of the classifier; 0 for none, and then `embedding` follows the head instead.
    features: the last stage before each halving of the grid, for `features_only`.
    numerics: those of the weights that the network was published with.
    """

    name: str
    title: str
    source: str
    image_size: int
    stages: tuple[Stage, ...]
    head: tuple[Node, ...] = (AdaptiveAvgPool(), Dropout(0.2))
    classes: int = 1000
    embedding: Node = ()
    aux: tuple[AuxHead, ...] = ()
    features: tuple[str, ...] = ()
    in_channels: int = 3
    init: Initializer = "variance_scaling"
    bias_init: float = 0.0
    numerics: Numerics = field(default_factory=Numerics)
    differs_from_paper: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_positive("Network", "image_size", self.image_size)
        _check_positive("Network", "in_channels", self.in_channels)
        names = [stage.name for stage in self.stages]
        if len(names) != len(set(names)) or not names:
            raise NetworkError(f"{self.name}: stage names must be there and differ from each other; got {', '.join(names) or 'none'}")
        for wanted in (*self.features, *(head.after for head in self.aux)):
            if wanted not in names:
                raise NetworkError(f"{self.name}: there is no stage {wanted!r}; stages are {', '.join(names)}")
        if self.classes < 0:
            raise NetworkError(f"{self.name}: classes is {self.classes}; it must be 0 (no classifier) or more")

    def stage(self, name: str) -> Stage:
        """Return the stage called `name`; NetworkError lists the names where there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise NetworkError(f"{self.name} has no stage {name!r}; stages are {', '.join(s.name for s in self.stages)}")
