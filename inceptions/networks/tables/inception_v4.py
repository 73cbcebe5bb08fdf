"""Inception-v4, arXiv:1602.07261, Figures 3 to 9, with branches in the order of TF-slim's release."""

from inceptions.networks.spec import AvgPool, Conv, MaxPool, Network, Parallel, Stage
from inceptions.networks.tables.inception_v3 import aux_classifier


def stem_3a() -> Parallel:
    """Figure 3, first split."""
    return Parallel(pool=MaxPool(3, stride=2, padding="valid"), conv3x3=Conv(96, 3, stride=2, padding="valid"))


def stem_4a() -> Parallel:
    """Figure 3, second split."""
    return Parallel(
        conv3x3=(Conv(64, 1), Conv(96, 3, padding="valid")),
        conv7x7x3=(Conv(64, 1), Conv(64, (1, 7)), Conv(64, (7, 1)), Conv(96, 3, padding="valid")),
    )


def stem_5a() -> Parallel:
    """Figure 3, third split."""
    return Parallel(conv3x3=Conv(192, 3, stride=2, padding="valid"), pool=MaxPool(3, stride=2, padding="valid"))


def inception_a() -> Parallel:
    """Figure 4: 35x35."""
    return Parallel(
        conv1x1=Conv(96, 1),
        conv3x3=(Conv(64, 1), Conv(96, 3)),
        double3x3=(Conv(64, 1), Conv(96, 3), Conv(96, 3)),
        pool=(AvgPool(3), Conv(96, 1)),
    )


def inception_b() -> Parallel:
    """Figure 5: 17x17."""
    return Parallel(
        conv1x1=Conv(384, 1),
        conv7x7=(Conv(192, 1), Conv(224, (1, 7)), Conv(256, (7, 1))),
        double7x7=(Conv(192, 1), Conv(192, (7, 1)), Conv(224, (1, 7)), Conv(224, (7, 1)), Conv(256, (1, 7))),
        pool=(AvgPool(3), Conv(128, 1)),
    )


def inception_c() -> Parallel:
    """Figure 6: 8x8."""
    return Parallel(
        conv1x1=Conv(256, 1),
        conv3x3=(Conv(384, 1), Parallel(conv1x3=Conv(256, (1, 3)), conv3x1=Conv(256, (3, 1)))),
        double3x3=(
            Conv(384, 1),
            Conv(448, (3, 1)),
            Conv(512, (1, 3)),
            Parallel(conv1x3=Conv(256, (1, 3)), conv3x1=Conv(256, (3, 1))),
        ),
        pool=(AvgPool(3), Conv(256, 1)),
    )


def reduction_a(*, k: int, l: int, m: int, n: int) -> Parallel:  # noqa: E741 (the letters of the paper's Table 1)
    """Figure 7: 35x35 to 17x17, shared by the three networks of the paper with the k, l, m, n of Table 1."""
    return Parallel(
        conv3x3=Conv(n, 3, stride=2, padding="valid"),
        double3x3=(Conv(k, 1), Conv(l, 3), Conv(m, 3, stride=2, padding="valid")),
        pool=MaxPool(3, stride=2, padding="valid"),
    )


def reduction_b() -> Parallel:
    """Figure 8: 17x17 to 8x8."""
    return Parallel(
        conv3x3=(Conv(192, 1), Conv(192, 3, stride=2, padding="valid")),
        conv7x7x3=(Conv(256, 1), Conv(256, (1, 7)), Conv(320, (7, 1)), Conv(320, 3, stride=2, padding="valid")),
        pool=MaxPool(3, stride=2, padding="valid"),
    )


STEM = (
    #     name  node                                        grid  channels
    Stage("1a", Conv(32, 3, stride=2, padding="valid"), 149, 32),
    Stage("2a", Conv(32, 3, padding="valid"), 147, 32),
    Stage("2b", Conv(64, 3), 147, 64),
    Stage("3a", stem_3a(), 73, 160),
    Stage("4a", stem_4a(), 71, 192),
    Stage("5a", stem_5a(), 35, 384),
)

INCEPTION_V4 = Network(
    name="inception_v4",
    title="Inception-v4 as released",
    source="arXiv:1602.07261, Figures 3 to 9, as released in TF-slim",
    image_size=299,
    stages=(
        *STEM,
        *(Stage(name, inception_a(), 35, 384) for name in ("5b", "5c", "5d", "5e")),
        Stage("6a", reduction_a(k=192, l=224, m=256, n=384), 17, 1024),
        *(Stage(name, inception_b(), 17, 1024) for name in ("6b", "6c", "6d", "6e", "6f", "6g", "6h")),
        Stage("7a", reduction_b(), 8, 1536),
        *(Stage(name, inception_c(), 8, 1536) for name in ("7b", "7c", "7d")),
    ),
    aux=(aux_classifier("6h"),),
    features=("2b", "4a", "5e", "6h", "7d"),
    differs_from_paper=(
        "order of the 1x7, 7x1 and 1x3, 3x1 convolutions in 4a and in modules B and C",
        "an auxiliary head, which the figures do not draw",
    ),
)
