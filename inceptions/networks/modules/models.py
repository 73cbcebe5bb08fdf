"""Torch modules of whole networks: enters a `Network`, leaves a classifier, one with auxiliary heads, or a feature extractor.

The three share their keys, and each always returns the same type: a Tensor, `Outputs`, a list. Names and keywords follow timm.
"""

from __future__ import annotations

from collections import OrderedDict
from math import prod
from typing import Literal, NamedTuple, TypedDict, Unpack, overload

import torch
from torch import Tensor, fx, nn

from inceptions.networks import reshape
from inceptions.networks.modules.build import build, check_names, linear
from inceptions.networks.registry import get_network
from inceptions.networks.spec import Linear, Network, NetworkError
from inceptions.networks.trace import Shape, check_image, check_table, reductions, stage_shapes, stated_shape, trace_node


class Outputs(NamedTuple):
    """What training reads: logits (N, classes), and those of each auxiliary head in the order of the table."""

    logits: Tensor
    aux: tuple[Tensor, ...]


class FeatureLevel(NamedTuple):
    """One level of features: the stage, its channels, and the image pixels that one of its cells stands for along a side."""

    module: str
    num_chs: int
    reduction: int


def _is_symbolic(x: Tensor) -> bool:
    """Return whether somebody writes down what is done to x (torch.compile and export, torch.jit, torch.fx), so that no size is known."""
    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing() or isinstance(x, fx.Proxy)  # pyright: ignore[reportPrivateImportUsage]
    return recorded or any(isinstance(size, torch.SymInt) for size in x.shape)


class Body(nn.Module):
    """The stages of a network, and the check of what comes in."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        check_table(network)
        self.network = network
        self._sizes_seen: set[tuple[int, ...]] = set()
        shape, stages = Shape(network.in_channels, network.image_size, network.image_size), OrderedDict()
        check_names((stage.name for stage in network.stages), nn.Sequential(), f"{network.name}: stage")
        for stage in network.stages:
            stages[stage.name], shape = build(stage.node, shape, network, f"{network.name}: stage '{stage.name}'")
        self.stages = nn.Sequential(stages)

    def check(self, x: Tensor) -> None:
        """Check a batch; NetworkError says what was given and what is allowed. Sizes met before are not looked at again."""
        if _is_symbolic(x) or (x.ndim == 4 and tuple(x.shape[1:]) in self._sizes_seen and x.is_floating_point()):
            return
        name, channels = self.network.name, self.network.in_channels
        if x.ndim != 4 or x.shape[1] != channels:
            raise NetworkError(f"{name} reads batches of shape (N, {channels}, H, W); got {tuple(x.shape)}")
        if not x.is_floating_point():
            raise NetworkError(f"{name} reads floating-point pixels; got {x.dtype}; scale them as the model's preprocessing says")
        self.check_size(x.shape[2], x.shape[3])
        self._sizes_seen.add(tuple(x.shape[1:]))

    def check_size(self, height: int, width: int) -> None:
        """Check that images of `height` x `width` pixels go through; NetworkError says what does not fit."""
        check_image(self.network, height, width)


class Classifier(Body):
    """A network that maps images (N, C, H, W) to logits (N, classes), or to its embedding where it has no classes."""

    __jit_unused_properties__ = ("num_classes",)  # torch.jit.script would compile it

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.head, shape = build(network.head, stated_shape(network.stages[-1]), network, f"{network.name}: head")
        self.num_features = prod(shape)
        self.classifier = self._make_classifier()

    def _make_classifier(self) -> nn.Module:
        if self.network.classes:
            return linear(self.num_features, Linear(self.network.classes), self.network, bias_init=0.0)
        if self.network.embedding == ():
            return nn.Identity()
        return build(self.network.embedding, Shape(self.num_features, 1, 1), self.network, f"{self.network.name}: embedding")[0]

    @property
    def num_classes(self) -> int:
        """The number of classes; 0 when the network ends in an embedding or in pooled features."""
        return self.network.classes

    def get_classifier(self) -> nn.Module:
        """Return the last layer."""
        return self.classifier

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new last layer for `num_classes` classes in place of the old; 0 for none. The other weights stay."""
        like = next(self.parameters())
        self.network = reshape.with_classes(self.network, num_classes)
        self.classifier = self._make_classifier().to(device=like.device, dtype=like.dtype)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to the last stage's features (N, F, h, w)."""
        if not torch.jit.is_scripting():  # pyright: ignore[reportPrivateImportUsage]
            self.check(x)
        return self.stages(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map the last stage's features to logits (N, classes), or to the vectors (N, num_features) that the classifier reads."""
        x = self.head(x).flatten(1)
        return x if pre_logits else self.classifier(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, classes)."""
        return self.forward_head(self.forward_features(x))


class ClassifierWithAux(Classifier):
    """The same network as it trains, with its auxiliary heads: images (N, C, H, W) to `Outputs`."""

    def __init__(self, network: Network) -> None:
        if not network.aux:
            raise NetworkError(f"{network.name} has no auxiliary heads; build it without aux")
        _check_aux_classes(network, network.classes)
        super().__init__(network)
        self.aux = nn.ModuleDict()
        check_names((side.after for side in network.aux), self.aux, f"{network.name}: auxiliary head on")
        for side in network.aux:
            stated = stated_shape(network.stage(side.after))
            layers, shape = build(side.layers, stated, network, f"{network.name}: auxiliary head on '{side.after}'")
            last = linear(prod(shape), Linear(network.classes), network, bias_init=0.0)
            self.aux[side.after] = nn.Sequential(OrderedDict(layers=layers, flatten=nn.Flatten(), classifier=last))

    def reset_classifier(self, num_classes: int) -> None:
        """Put new last layers, of the main and the auxiliary heads, for `num_classes` classes in place of the old."""
        _check_aux_classes(self.network, num_classes)
        super().reset_classifier(num_classes)
        like = next(self.parameters())
        for side in self.aux.values():
            assert isinstance(side, nn.Sequential)
            old = side.get_submodule("classifier")
            assert isinstance(old, nn.Linear)
            new = linear(old.in_features, Linear(num_classes), self.network, bias_init=0.0)
            side.add_module("classifier", new.to(device=like.device, dtype=like.dtype))

    def check_size(self, height: int, width: int) -> None:
        """Check the stages, and that the auxiliary heads, whose linear layers fix the size of their grid, can read what these leave."""
        super().check_size(height, width)
        network = self.network
        shapes = {row.name: row.cost.output for row in stage_shapes(network, (height, width))}
        for side in network.aux:
            node, where = (side.layers, Linear(network.classes)), f"{network.name}: auxiliary head on '{side.after}'"
            made_for, given = (
                trace_node(node, shape, network.numerics, where).parameters
                for shape in (stated_shape(network.stage(side.after)), shapes[side.after])
            )
            if given != made_for:
                size = network.image_size
                raise NetworkError(
                    f"{where} is made for images of {size}x{size} pixels and can't read {height}x{width}; "
                    "create the model with the image_size that you have, or without aux"
                )

    def forward(self, x: Tensor) -> Outputs:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Map images (N, C, H, W) to the logits of the main head and of each auxiliary head, (N, classes) each."""
        self.check(x)
        aux = []
        for name, stage in self.stages.named_children():
            x = stage(x)
            if name in self.aux:
                aux.append(self.aux[name](x))
        return Outputs(self.forward_head(x), tuple(aux))


def _check_aux_classes(network: Network, classes: int) -> None:
    if not classes:
        raise NetworkError(f"{network.name}: auxiliary heads need classes; classes is 0; give a number, or build it without aux")


def training_module(network: Network) -> Classifier | ClassifierWithAux:
    """Return the module that trains `network`: with its auxiliary heads where the table has any, and fresh weights.

    Raises NetworkError where auxiliary heads have no classes.
    """
    return ClassifierWithAux(network) if network.aux else Classifier(network)


class FeatureExtractor(Body):
    """The stages up to the last wanted one: images (N, C, H, W) to a list of feature maps, the finest first."""

    def __init__(self, network: Network, names: tuple[str, ...]) -> None:
        super().__init__(reshape.truncate(network, names[-1]))
        stride = reductions(network)
        self.feature_info = tuple(FeatureLevel(name, network.stage(name).channels, stride[name]) for name in names)
        self._wanted = list(names)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (N, C, H, W) to the features of each wanted stage, (N, num_chs, H / reduction, W / reduction)."""
        if not torch.jit.is_scripting():  # pyright: ignore[reportPrivateImportUsage]
            self.check(x)
        features: list[Tensor] = []
        for name, stage in self.stages.named_children():
            x = stage(x)
            if name in self._wanted:
                features.append(x)
        return features


class _Settings(TypedDict, total=False):
    """The keywords of `create_model` that don't decide what it returns."""

    num_classes: int | None
    in_chans: int
    drop_rate: float | None
    output_stride: int | None
    image_size: int | None


_Levels = int | tuple[int, ...] | None


@overload
def create_model(
    name: str | Network, *, features_only: Literal[False] = False, aux: Literal[False] = False, **settings: Unpack[_Settings]
) -> Classifier: ...
@overload
def create_model(
    name: str | Network, *, features_only: Literal[False] = False, aux: Literal[True], **settings: Unpack[_Settings]
) -> ClassifierWithAux: ...
@overload
def create_model(
    name: str | Network,
    *,
    features_only: Literal[True],
    out_indices: _Levels = None,
    aux: Literal[False] = False,
    **settings: Unpack[_Settings],
) -> FeatureExtractor: ...
def create_model(
    name: str | Network,
    *,
    num_classes: int | None = None,
    in_chans: int = 3,
    drop_rate: float | None = None,
    features_only: bool = False,
    out_indices: int | tuple[int, ...] | None = None,
    output_stride: int | None = None,
    aux: bool = False,
    image_size: int | None = None,
) -> Classifier | ClassifierWithAux | FeatureExtractor:
    """Return a network by name (or from its table) with fresh weights, in training mode; keywords have timm's meanings.

    num_classes: 0 leaves the classifier out; not given, the network's own number. drop_rate: before the classifier.
    out_indices: which feature levels, from the finest, counted from 0 or, negative, from the end; one number n: the last n.
    output_stride: 8 or 16 (4 and 32 too) keep a finer last grid by dilation. image_size: pixels, where it is not the table's.

    Raises NetworkError: an unknown name, or settings that the network can't have.
    """
    network = get_network(name) if isinstance(name, str) else name
    if num_classes is not None:
        network = reshape.with_classes(network, num_classes)
    if drop_rate is not None:
        network = reshape.with_drop_rate(network, drop_rate)
    network = reshape.with_in_channels(network, in_chans) if in_chans != network.in_channels else network
    network = reshape.with_image_size(network, image_size) if image_size is not None else network
    network = reshape.dilate(network, output_stride) if output_stride is not None else network
    if features_only and aux:
        raise NetworkError(f"{network.name}: features_only and aux exclude each other; features come from the stages alone")
    if features_only:
        return FeatureExtractor(network, feature_names(network, out_indices))
    if out_indices is not None:
        raise NetworkError(f"{network.name}: out_indices is {out_indices!r}, which only features_only=True reads")
    return ClassifierWithAux(network) if aux else Classifier(network)


def feature_names(network: Network, out_indices: int | tuple[int, ...] | None = None) -> tuple[str, ...]:
    """Return the stages that `out_indices` means; NetworkError lists the levels when one is not there."""
    names = network.features
    if out_indices is None:
        return names
    wanted = tuple(range(-out_indices, 0)) if isinstance(out_indices, int) else tuple(out_indices)
    if not wanted or any(isinstance(i, bool) or not isinstance(i, int) or not -len(names) <= i < len(names) for i in wanted):
        levels = ", ".join(f"{i} {name}" for i, name in enumerate(names))
        raise NetworkError(f"{network.name}: out_indices is {out_indices!r}; the levels are {levels} (or -{len(names)} to -1)")
    return tuple(names[i] for i in sorted({i % len(names) for i in wanted}))
