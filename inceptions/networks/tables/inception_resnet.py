"""Inception-ResNet-v1 and v2, arXiv:1602.07261, Figures 10 to 19; the FaceNet and TF-slim releases."""

from dataclasses import replace

from inceptions.networks.spec import (
    AdaptiveAvgPool,
    AvgPool,
    Conv,
    Dropout,
    L2Normalize,
    Linear,
    MaxPool,
    Network,
    Node,
    Parallel,
    Residual,
    Stage,
)
from inceptions.networks.tables import inception_v3, inception_v4
from inceptions.networks.tables.inception_v4 import reduction_a


def residual(branches: Parallel, channels: int, scale: float, *, last: bool = False) -> Residual:
    """Figure 20: a linear 1x1 with a bias brings the branches to the width of the input; the sum is scaled (section 3.3).

    The last block of the released networks has scale 1 and no activation.
    """
    up = Conv(channels, 1, norm=False, activation=None)
    return Residual((branches, up), scale=1.0 if last else scale, activation=None if last else "relu")


def block35(channels: int, *, triple: tuple[int, int, int] = (32, 32, 32), scale: float = 0.17) -> Residual:
    """Inception-ResNet-A (Figures 10 and 16): 35x35."""
    a, b, c = triple
    return residual(
        Parallel(conv1x1=Conv(32, 1), conv3x3=(Conv(32, 1), Conv(32, 3)), double3x3=(Conv(a, 1), Conv(b, 3), Conv(c, 3))),
        channels,
        scale,
    )


def block17(channels: int, *, conv1x1: int, triple: tuple[int, int, int], scale: float = 0.10) -> Residual:
    """Inception-ResNet-B (Figures 11 and 17): 17x17."""
    a, b, c = triple
    return residual(Parallel(conv1x1=Conv(conv1x1, 1), conv7x7=(Conv(a, 1), Conv(b, (1, 7)), Conv(c, (7, 1)))), channels, scale)


def block8(channels: int, *, triple: tuple[int, int, int], scale: float = 0.20, last: bool = False) -> Residual:
    """Inception-ResNet-C (Figures 13 and 19): 8x8."""
    a, b, c = triple
    branches = Parallel(conv1x1=Conv(192, 1), conv3x3=(Conv(a, 1), Conv(b, (1, 3)), Conv(c, (3, 1))))
    return residual(branches, channels, scale, last=last)


def reduction_b(second: int, triple: tuple[int, int, int]) -> Parallel:
    """Figures 12 and 18: 17x17 to 8x8."""
    a, b, c = triple
    return Parallel(
        conv3x3a=(Conv(256, 1), Conv(384, 3, stride=2, padding="valid")),
        conv3x3b=(Conv(256, 1), Conv(second, 3, stride=2, padding="valid")),
        double3x3=(Conv(a, 1), Conv(b, 3), Conv(c, 3, stride=2, padding="valid")),
        pool=MaxPool(3, stride=2, padding="valid"),
    )


def mixed_5b() -> Parallel:
    """The module that TF-slim's Inception-ResNet-v2 has between stem and blocks, and the paper has not."""
    return Parallel(
        conv1x1=Conv(96, 1),
        conv5x5=(Conv(48, 1), Conv(64, 5)),
        double3x3=(Conv(64, 1), Conv(96, 3), Conv(96, 3)),
        pool=(AvgPool(3), Conv(64, 1)),
    )


def _repeat(block: Node, times: int) -> tuple[Node, ...]:
    return (block,) * times


INCEPTION_RESNET_V1 = Network(
    name="inception_resnet_v1",
    title="Inception-ResNet-v1 as printed",
    source="arXiv:1602.07261, Figures 10 to 14",
    image_size=299,
    stages=(
        *inception_v3.STEM,
        #     name     node                                        grid  channels
        Stage("4b", Conv(256, 3, stride=2, padding="valid"), 35, 256),
        Stage("block35", _repeat(block35(256), 5), 35, 256),
        Stage("6a", reduction_a(k=192, l=192, m=256, n=384), 17, 896),
        Stage("block17", _repeat(block17(896, conv1x1=128, triple=(128, 128, 128)), 10), 17, 896),
        Stage("7a", reduction_b(256, (256, 256, 256)), 8, 1792),
        Stage("block8", _repeat(block8(1792, triple=(192, 192, 192)), 5), 8, 1792),
    ),
    features=("2b", "4a", "block35", "block17", "block8"),
    differs_from_paper=("residual scales 0.17, 0.10, 0.20 as in TF-slim; the paper gives the range 0.1 to 0.3",),
)

INCEPTION_RESNET_V1_FACENET = replace(
    INCEPTION_RESNET_V1,
    name="inception_resnet_v1_facenet",
    title="Inception-ResNet-v1 of FaceNet: 512-dimensional embedding of a face",
    source="arXiv:1602.07261, as released in davidsandberg/facenet",
    image_size=160,
    stages=tuple(
        replace(stage, grid=grid)
        for stage, grid in zip(
            (*INCEPTION_RESNET_V1.stages, Stage("block8_last", block8(1792, triple=(192, 192, 192), last=True), 3, 1792)),
            # 1a  2a  2b  3a  3b  4a  4b  35  6a 17 7a 8  last
            (79, 77, 77, 38, 38, 36, 17, 17, 8, 8, 3, 3, 3),
            strict=True,
        )
    ),
    head=(AdaptiveAvgPool(), Dropout(0.2), Linear(512, norm=True)),
    classes=0,
    embedding=L2Normalize(),
    features=("2b", "4a", "block35", "block17", "block8_last"),
    differs_from_paper=(
        "one more 8x8 block, with scale 1 and no activation",
        "a bottleneck of 512 with batch normalisation and no bias, in place of the classifier",
        *INCEPTION_RESNET_V1.differs_from_paper,
    ),
)

INCEPTION_RESNET_V2 = Network(
    name="inception_resnet_v2",
    title="Inception-ResNet-v2 as released",
    source="arXiv:1602.07261, as released in TF-slim",
    image_size=299,
    stages=(
        *inception_v3.STEM,
        Stage("5a", MaxPool(3, stride=2, padding="valid"), 35, 192),
        Stage("5b", mixed_5b(), 35, 320),
        Stage("block35", _repeat(block35(320, triple=(32, 48, 64)), 10), 35, 320),
        Stage("6a", reduction_a(k=256, l=256, m=384, n=384), 17, 1088),
        Stage("block17", _repeat(block17(1088, conv1x1=192, triple=(128, 160, 192)), 20), 17, 1088),
        Stage("7a", reduction_b(288, (256, 288, 320)), 8, 2080),
        Stage("block8", _repeat(block8(2080, triple=(192, 224, 256)), 9), 8, 2080),
        Stage("block8_last", block8(2080, triple=(192, 224, 256), last=True), 8, 2080),
        Stage("7b", Conv(1536, 1), 8, 1536),
    ),
    aux=(inception_v3.aux_classifier("block17"),),
    features=("2b", "4a", "block35", "block17", "7b"),
    differs_from_paper=(
        "Inception-v3's stem and a module 5b, so 320, 1088 and 2080 channels where the figures have 384, 1152 and 2144",
        "10, 20 and 10 blocks where Figure 15 has 5, 10 and 5",
        "the last block has scale 1 and no activation; a 1x1 to 1536 channels follows",
        "an auxiliary head",
    ),
)

INCEPTION_RESNET_V2_PAPER = Network(
    name="inception_resnet_v2_paper",
    title="Inception-ResNet-v2 as printed",
    source="arXiv:1602.07261, Figures 3 and 15 to 19",
    image_size=299,
    stages=(
        *inception_v4.STEM,
        Stage("block35", _repeat(block35(384, triple=(32, 48, 64)), 5), 35, 384),
        Stage("6a", reduction_a(k=256, l=256, m=384, n=384), 17, 1152),
        Stage("block17", _repeat(block17(1152, conv1x1=192, triple=(128, 160, 192)), 10), 17, 1152),
        Stage("7a", reduction_b(288, (256, 288, 320)), 8, 2144),
        Stage("block8", _repeat(block8(2144, triple=(192, 224, 256)), 5), 8, 2144),
    ),
    features=("2b", "4a", "block35", "block17", "block8"),
    differs_from_paper=(
        "1152 and 2144 where Figures 17 and 19 print 1154 and 2048, which can't be added",
        "order of 1x7 and 7x1 in the stem as released",
        *INCEPTION_RESNET_V1.differs_from_paper,
    ),
)
