"""Xception, arXiv:1610.02357, Figure 5, with padding and epsilon as Keras released it."""

from inceptions.networks.spec import (
    Activation,
    AdaptiveAvgPool,
    Conv,
    Dropout,
    MaxPool,
    Network,
    Node,
    Residual,
    SeparableConv,
    Stage,
)


def separable(channels: int) -> SeparableConv:
    """Depthwise 3x3, pointwise 1x1, batch normalisation; no activation, for ReLU stands before it in Figure 5."""
    return SeparableConv(channels, 3, activation=None)


def entry(channels: int, *, first: tuple[Node, ...] = (Activation(),)) -> Residual:
    """Two separable convolutions and a pool beside a 1x1 of stride 2; `first` is the ReLU that block 2 lacks."""
    return downsample(channels, channels, first=first)


def downsample(first_channels: int, channels: int, *, first: tuple[Node, ...] = (Activation(),)) -> Residual:
    """The block that halves the grid, in entry and exit flow."""
    return Residual(
        (*first, separable(first_channels), Activation(), separable(channels), MaxPool(3, stride=2)),
        shortcut=Conv(channels, 1, stride=2, activation=None),
    )


def middle() -> Residual:
    """Three times ReLU, separable convolution, batch normalisation, beside the identity."""
    return Residual((Activation(), separable(728)) * 3)


XCEPTION = Network(
    name="xception",
    title="Xception",
    source="arXiv:1610.02357, Figure 5; padding as released in Keras",
    image_size=299,
    stages=(
        #     name           node                                          grid  channels
        Stage("block1_conv1", Conv(32, 3, stride=2, padding="valid"), 149, 32),
        Stage("block1_conv2", Conv(64, 3, padding="valid"), 147, 64),
        Stage("block2", entry(128, first=()), 74, 128),
        Stage("block3", entry(256), 37, 256),
        Stage("block4", entry(728), 19, 728),
        *(Stage(f"block{n}", middle(), 19, 728) for n in range(5, 13)),
        Stage("block13", downsample(728, 1024), 10, 1024),
        Stage("block14_sepconv1", SeparableConv(1536, 3), 10, 1536),
        Stage("block14_sepconv2", SeparableConv(2048, 3), 10, 2048),
    ),
    head=(AdaptiveAvgPool(), Dropout(0.5)),
    features=("block1_conv2", "block2", "block3", "block12", "block14_sepconv2"),
    init="glorot_uniform",
)
