"""Xception-41, 65 and 71 of DeepLabv3+, arXiv:1802.02611, Figure 4, as released; and timm's pre-activation forms."""

from dataclasses import replace

from inceptions.networks.spec import (
    Activation,
    AdaptiveAvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Network,
    Node,
    Numerics,
    Residual,
    SeparableConv,
    Stage,
)

Widths = tuple[int, int, int]


def module(widths: Widths, *, stride: int = 1, shortcut: bool = True) -> Residual:
    """Three times ReLU, 3x3 depthwise, BN, pointwise, BN; the third has the stride. The middle flow's shortcut is the identity."""
    body: list[Node] = []
    for channels, step in zip(widths, (1, 1, stride), strict=True):
        body += [Activation(), SeparableConv(channels, 3, stride=step, depthwise_norm=True, activation=None)]
    return Residual(tuple(body), shortcut=Conv(widths[2], 1, stride=stride, activation=None) if shortcut else ())


def last_module(widths: Widths) -> Node:
    """Exit flow, block 2: no shortcut, ReLU after each batch normalisation."""
    return tuple(SeparableConv(channels, 3, depthwise_norm=True, depthwise_activation="relu") for channels in widths)


def _entry(rows: tuple[tuple[int, int, int], ...]) -> tuple[Stage, ...]:
    return tuple(
        Stage(f"entry{n}", module((channels, channels, channels), stride=stride), grid, channels)
        for n, (channels, stride, grid) in enumerate(rows, start=1)
    )


_STEM = (
    Stage("conv1_1", Conv(32, 3, stride=2), 150, 32),
    Stage("conv1_2", Conv(64, 3), 150, 64),
)
#                channels  stride  grid
_ENTRY_41_65 = ((128, 2, 75), (256, 2, 38), (728, 2, 19))
_ENTRY_71 = ((128, 2, 75), (256, 1, 75), (256, 2, 38), (728, 1, 38), (728, 2, 19))


def _stages(entry: tuple[tuple[int, int, int], ...], middle_blocks: int) -> tuple[Stage, ...]:
    return (
        *_STEM,
        *_entry(entry),
        Stage("middle", (module((728, 728, 728), shortcut=False),) * middle_blocks, 19, 728),
        Stage("exit1", module((728, 1024, 1024), stride=2), 10, 1024),
        Stage("exit2", last_module((1536, 1536, 2048)), 10, 2048),
    )


XCEPTION41 = Network(
    name="xception41",
    title="Aligned Xception-41",
    source="arXiv:1802.02611, Figure 4, as released in DeepLab",
    image_size=299,
    stages=_stages(_ENTRY_41_65, middle_blocks=8),
    head=(AdaptiveAvgPool(), Dropout(0.5)),
    features=("conv1_2", "entry1", "entry2", "middle", "exit2"),
    init=0.09,
    numerics=Numerics(conv_padding="symmetric", pool_padding="symmetric"),
    differs_from_paper=("no ReLU after the depthwise convolution but in the last block, as the released code has it",),
)

XCEPTION65 = replace(XCEPTION41, name="xception65", title="Aligned Xception-65", stages=_stages(_ENTRY_41_65, middle_blocks=16))

XCEPTION71 = replace(
    XCEPTION41,
    name="xception71",
    title="Aligned Xception-71",
    stages=_stages(_ENTRY_71, middle_blocks=16),
    features=("conv1_2", "entry2", "entry4", "middle", "exit2"),
)


def preactivated(widths: Widths, *, stride: int = 1, residual: str | None = "conv") -> tuple[Node, ...]:
    """BN and ReLU before each separable convolution, and before the split, so the shortcut reads normalised values too."""
    plain = [
        SeparableConv(channels, 3, stride=step, norm=False, bias=False, activation=None)
        for channels, step in zip(widths, (1, 1, stride), strict=True)
    ]
    norm = BatchNorm(activation="relu")
    body = (plain[0], norm, plain[1], norm, plain[2])
    if residual is None:
        return (norm, *body)
    shortcut = Conv(widths[2], 1, stride=stride, norm=False, bias=False, activation=None) if residual == "conv" else ()
    return (norm, Residual(body, shortcut=shortcut))


def _preactivated_stages(middle_blocks: int) -> tuple[Stage, ...]:
    return (
        Stage("conv1_1", Conv(32, 3, stride=2), 150, 32),
        Stage("conv1_2", Conv(64, 3, norm=False, bias=False, activation=None), 150, 64),
        Stage("entry1", preactivated((128, 128, 128), stride=2), 75, 128),
        Stage("entry2", preactivated((256, 256, 256), stride=2), 38, 256),
        Stage("entry3", preactivated((728, 728, 728), stride=2), 19, 728),
        Stage("middle", (preactivated((728, 728, 728), residual="identity"),) * middle_blocks, 19, 728),
        Stage("exit1", preactivated((728, 1024, 1024), stride=2), 10, 1024),
        Stage("exit2", (*preactivated((1536, 1536, 2048), residual=None), Activation()), 10, 2048),
    )


XCEPTION41P = replace(
    XCEPTION41,
    name="xception41p",
    title="Aligned Xception-41, pre-activation form of timm",
    source="timm xception41p, after arXiv:1802.02611",
    stages=_preactivated_stages(middle_blocks=8),
    numerics=replace(XCEPTION41.numerics, bn_epsilon=1e-5),
    differs_from_paper=("batch normalisation and ReLU before the convolutions, none between depthwise and pointwise",),
)

XCEPTION65P = replace(
    XCEPTION41P,
    name="xception65p",
    title="Aligned Xception-65, pre-activation form of timm",
    source="timm xception65p, after arXiv:1802.02611",
    stages=_preactivated_stages(middle_blocks=16),
    numerics=XCEPTION41.numerics,
)
