"""Inception-v2 and v3, "Rethinking the Inception architecture", arXiv:1512.00567; the widths are those of TF-slim's release."""

from dataclasses import replace
from typing import Literal

from inceptions.networks.spec import AdaptiveAvgPool, AuxHead, AvgPool, Conv, MaxPool, Network, Node, Parallel, Stage


def inception_a(pool: int, *, five: int = 5) -> Parallel:
    """Figure 5 with the 5x5 as released; `five=3` is the branch as the figure draws it."""
    return Parallel(
        conv1x1=Conv(64, 1),
        conv5x5=(Conv(48, 1), Conv(64, five)),
        double3x3=(Conv(64, 1), Conv(96, 3), Conv(96, 3)),
        pool=(AvgPool(3), Conv(pool, 1)),
    )


def inception_b(width: int) -> Parallel:
    """Figure 6 with n = 7: factorised 7x7."""
    return Parallel(
        conv1x1=Conv(192, 1),
        conv7x7=(Conv(width, 1), Conv(width, (1, 7)), Conv(192, (7, 1))),
        double7x7=(
            Conv(width, 1),
            Conv(width, (7, 1)),
            Conv(width, (1, 7)),
            Conv(width, (7, 1)),
            Conv(192, (1, 7)),
        ),
        pool=(AvgPool(3), Conv(192, 1)),
    )


def inception_c(*, pooling: type[AvgPool | MaxPool] = AvgPool) -> Parallel:
    """Figure 7: expanded filter bank."""
    return Parallel(
        conv1x1=Conv(320, 1),
        conv3x3=(Conv(384, 1), Parallel(conv1x3=Conv(384, (1, 3)), conv3x1=Conv(384, (3, 1)))),
        double3x3=(Conv(448, 1), Conv(384, 3), Parallel(conv1x3=Conv(384, (1, 3)), conv3x1=Conv(384, (3, 1)))),
        pool=(pooling(3), Conv(192, 1)),
    )


def reduction_a() -> Parallel:
    """Figure 10: 35x35 to 17x17 by stride-2 convolutions and pooling in parallel."""
    return Parallel(
        conv3x3=Conv(384, 3, stride=2, padding="valid"),
        double3x3=(Conv(64, 1), Conv(96, 3), Conv(96, 3, stride=2, padding="valid")),
        pool=MaxPool(3, stride=2, padding="valid"),
    )


def reduction_b() -> Parallel:
    """Figure 10 with a factorised 7x7: 17x17 to 8x8."""
    return Parallel(
        conv3x3=(Conv(192, 1), Conv(320, 3, stride=2, padding="valid")),
        conv7x7x3=(Conv(192, 1), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, stride=2, padding="valid")),
        pool=MaxPool(3, stride=2, padding="valid"),
    )


def grid_reduction(channels: int, *, added: int, how: Literal["conv_then_pool", "pool_then_conv", "parallel"]) -> Node:
    """Section 5: three ways to halve a grid of `channels` and leave `channels + added`.

    Convolving first costs most (Figure 9, right), pooling first makes a bottleneck (Figure 9, left), in parallel is neither (Figure 10).
    """
    match how:
        case "conv_then_pool":
            return (Conv(channels + added, 3), MaxPool(3, stride=2))
        case "pool_then_conv":
            return (MaxPool(3, stride=2), Conv(channels + added, 3))
        case "parallel":
            return Parallel(conv3x3=Conv(added, 3, stride=2), pool=MaxPool(3, stride=2))


def aux_classifier(after: str) -> AuxHead:
    """Figure 8 as released: the batch-normalised side head, whose loss counts 0.4 times; the last mean is for larger images."""
    pool = AvgPool(5, stride=3, padding="valid")
    return AuxHead(after, weight=0.4, layers=(pool, Conv(128, 1), Conv(768, 5, padding="valid", init=0.01), AdaptiveAvgPool()))


STEM = (
    #     name  node                                        grid  channels
    Stage("1a", Conv(32, 3, stride=2, padding="valid"), 149, 32),
    Stage("2a", Conv(32, 3, padding="valid"), 147, 32),
    Stage("2b", Conv(64, 3), 147, 64),
    Stage("3a", MaxPool(3, stride=2, padding="valid"), 73, 64),
    Stage("3b", Conv(80, 1), 73, 80),
    Stage("4a", Conv(192, 3, padding="valid"), 71, 192),
)

INCEPTION_V3 = Network(
    name="inception_v3",
    title="Inception-v3 as released",
    source="arXiv:1512.00567, as released in TF-slim",
    image_size=299,
    stages=(
        *STEM,
        Stage("5a", MaxPool(3, stride=2, padding="valid"), 35, 192),
        Stage("5b", inception_a(pool=32), 35, 256),
        Stage("5c", inception_a(pool=64), 35, 288),
        Stage("5d", inception_a(pool=64), 35, 288),
        Stage("6a", reduction_a(), 17, 768),
        Stage("6b", inception_b(128), 17, 768),
        Stage("6c", inception_b(160), 17, 768),
        Stage("6d", inception_b(160), 17, 768),
        Stage("6e", inception_b(192), 17, 768),
        Stage("7a", reduction_b(), 8, 1280),
        Stage("7b", inception_c(), 8, 2048),
        Stage("7c", inception_c(), 8, 2048),
    ),
    aux=(aux_classifier("6e"),),
    features=("2b", "4a", "5d", "6e", "7c"),
    differs_from_paper=(
        "a 5x5 branch in the 35x35 modules",
        "stem ends in 1x1, 3x3 and a pool where Table 1 has three 3x3",
        "four 17x17 modules after the reduction where Table 1 counts five",
    ),
)

INCEPTION_V3_FID = replace(
    INCEPTION_V3,
    name="inception_v3_fid",
    title="Inception-v3 of the graph inception-2015-12-05, on which FID is defined",
    source="the frozen graph inception-2015-12-05, as ported by pytorch-fid",
    stages=(*INCEPTION_V3.stages[:-1], Stage("7c", inception_c(pooling=MaxPool), 8, 2048)),
    classes=1008,
    aux=(),
    differs_from_paper=(*INCEPTION_V3.differs_from_paper, "7c pools by maximum", "1008 outputs"),
)

INCEPTION_V2 = Network(
    name="inception_v2",
    title="Inception-v2 as printed in Table 1",
    source="arXiv:1512.00567, Table 1",
    image_size=299,
    stages=(
        #     name    node                                           grid  channels
        Stage("conv1", Conv(32, 3, stride=2, padding="valid"), 149, 32),
        Stage("conv2", Conv(32, 3, padding="valid"), 147, 32),
        Stage("conv3", Conv(64, 3), 147, 64),
        Stage("pool", MaxPool(3, stride=2, padding="valid"), 73, 64),
        Stage("conv4", Conv(80, 3, padding="valid"), 71, 80),
        Stage("conv5", Conv(192, 3, stride=2, padding="valid"), 35, 192),
        Stage("conv6", Conv(288, 3), 35, 288),
        Stage("5a", inception_a(pool=64, five=3), 35, 288),
        Stage("5b", inception_a(pool=64, five=3), 35, 288),
        Stage("5c", inception_a(pool=64, five=3), 35, 288),
        Stage("6_reduction", reduction_a(), 17, 768),
        Stage("6a", inception_b(128), 17, 768),
        Stage("6b", inception_b(160), 17, 768),
        Stage("6c", inception_b(160), 17, 768),
        Stage("6d", inception_b(160), 17, 768),
        Stage("6e", inception_b(192), 17, 768),
        Stage("7_reduction", reduction_b(), 8, 1280),
        Stage("7a", inception_c(), 8, 2048),
        Stage("7b", inception_c(), 8, 2048),
    ),
    features=("conv3", "conv4", "5c", "6e", "7b"),
    differs_from_paper=("widths inside modules are not printed; those of Inception-v3 are used",),
)
