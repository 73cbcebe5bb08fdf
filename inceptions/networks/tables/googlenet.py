"""GoogLeNet, "Going deeper with convolutions", arXiv:1409.4842, Table 1; and as torchvision and TF-slim released it."""

from dataclasses import replace
from functools import partial

from inceptions.networks.reshape import without_batch_norm
from inceptions.networks.spec import (
    AdaptiveAvgPool,
    AuxHead,
    AvgPool,
    Conv,
    Dropout,
    Linear,
    LocalResponseNorm,
    MaxPool,
    Network,
    Numerics,
    Parallel,
    Stage,
)


def inception(conv1x1: int, reduce3x3: int, conv3x3: int, reduce5x5: int, conv5x5: int, pool: int, *, five: int = 5) -> Parallel:
    """Figure 2(b): the module with dimension reductions; `five` is the kernel of the 5x5 branch."""
    return Parallel(
        conv1x1=Conv(conv1x1, 1),
        conv3x3=(Conv(reduce3x3, 1), Conv(conv3x3, 3)),
        conv5x5=(Conv(reduce5x5, 1), Conv(conv5x5, five)),
        pool=(MaxPool(3), Conv(pool, 1)),
    )


def inception_naive(conv1x1: int, conv3x3: int, conv5x5: int) -> Parallel:
    """Figure 2(a): the naive module, in which pooling hands on every channel and the width only grows."""
    return Parallel(conv1x1=Conv(conv1x1, 1), conv3x3=Conv(conv3x3, 3), conv5x5=Conv(conv5x5, 5), pool=MaxPool(3))


def aux_classifier(after: str, pool: AvgPool | AdaptiveAvgPool) -> AuxHead:
    """Section 5: average pooling, 128 1x1 filters, 1024 units, 70 % dropped; the loss counts 0.3 times."""
    return AuxHead(after, weight=0.3, layers=(pool, Conv(128, 1), Linear(1024, activation="relu"), Dropout(0.7)))


# Caffe pads convolutions alike on both sides and rounds pooled grids up; 224 gives the same windows as SAME but in conv1.
CAFFE = Numerics(conv_padding="symmetric", pool_padding="ceil", bn_epsilon=1e-5, avg_pool_counts_padding=True)

_STEM = (
    #     name            node                     grid  channels
    Stage("conv1", Conv(64, 7, stride=2), 112, 64),
    Stage("pool1", MaxPool(3, stride=2), 56, 64),
    Stage("norm1", LocalResponseNorm(), 56, 64),
    Stage("conv2_reduce", Conv(64, 1), 56, 64),
    Stage("conv2", Conv(192, 3), 56, 192),
    Stage("norm2", LocalResponseNorm(), 56, 192),
    Stage("pool2", MaxPool(3, stride=2), 28, 192),
)


def _modules(*, five: int, pool4: int) -> tuple[Stage, ...]:
    """The rows of Table 1 from 3a on; `five` is the kernel of the branch that the paper calls 5x5, `pool4` that of the fourth pool."""
    module = partial(inception, five=five)
    return (
        #                1x1  3x3 red  3x3  5x5 red  5x5  pool   grid  channels
        Stage("3a", module(64, 96, 128, 16, 32, 32), 28, 256),
        Stage("3b", module(128, 128, 192, 32, 96, 64), 28, 480),
        Stage("pool3", MaxPool(3, stride=2), 14, 480),
        Stage("4a", module(192, 96, 208, 16, 48, 64), 14, 512),
        Stage("4b", module(160, 112, 224, 24, 64, 64), 14, 512),
        Stage("4c", module(128, 128, 256, 24, 64, 64), 14, 512),
        Stage("4d", module(112, 144, 288, 32, 64, 64), 14, 528),
        Stage("4e", module(256, 160, 320, 32, 128, 128), 14, 832),
        Stage("pool4", MaxPool(pool4, stride=2), 7, 832),
        Stage("5a", module(256, 160, 320, 32, 128, 128), 7, 832),
        Stage("5b", module(384, 192, 384, 48, 128, 128), 7, 1024),
    )


GOOGLENET = without_batch_norm(
    Network(
        name="googlenet",
        title="GoogLeNet (Inception-v1) as printed: biases, LRN, 5x5",
        source="arXiv:1409.4842, Table 1; details as in BVLC Caffe's bvlc_googlenet",
        image_size=224,
        stages=(
            *_STEM,
            *_modules(five=5, pool4=3),
        ),
        head=(AdaptiveAvgPool(), Dropout(0.4)),
        aux=tuple(aux_classifier(after, AvgPool(5, stride=3, padding="valid")) for after in ("4a", "4d")),
        features=("conv1", "norm2", "3b", "4e", "5b"),
        init="caffe_xavier",
        bias_init=0.2,
        numerics=CAFFE,
        differs_from_paper=(
            "Table 1's '#3x3' of 4a (208) and '#5x5 reduce' of 5a (32) as printed; its cost columns fit 204 and 48",
            "initial weights are not given; Caffe's are used",
        ),
    )
)

GOOGLENET_NAIVE = without_batch_norm(
    replace(
        GOOGLENET,
        name="googlenet_naive",
        title="GoogLeNet with the naive modules of Figure 2(a)",
        source="arXiv:1409.4842, Figure 2(a) with the widths of Table 1",
        stages=(
            *_STEM,
            #                              1x1  3x3  5x5   grid  channels
            Stage("3a", inception_naive(64, 128, 32), 28, 416),
            Stage("3b", inception_naive(128, 192, 96), 28, 832),
            Stage("pool3", MaxPool(3, stride=2), 14, 832),
            Stage("4a", inception_naive(192, 208, 48), 14, 1280),
            Stage("4b", inception_naive(160, 224, 64), 14, 1728),
            Stage("4c", inception_naive(128, 256, 64), 14, 2176),
            Stage("4d", inception_naive(112, 288, 64), 14, 2640),
            Stage("4e", inception_naive(256, 320, 128), 14, 3344),
            Stage("pool4", MaxPool(3, stride=2), 7, 3344),
            Stage("5a", inception_naive(256, 320, 128), 7, 4048),
            Stage("5b", inception_naive(384, 384, 128), 7, 4944),
        ),
        differs_from_paper=("no such network was published; Figure 2(a) with the output widths of Table 1",),
    )
)


GOOGLENET_BN = Network(
    name="googlenet_bn",
    title="GoogLeNet with batch normalisation, as released by torchvision and TF-slim",
    source="torchvision googlenet and TF-slim inception_v1, after arXiv:1409.4842",
    image_size=224,
    stages=(
        Stage("conv1", Conv(64, 7, stride=2), 112, 64),
        Stage("pool1", MaxPool(3, stride=2), 56, 64),
        Stage("conv2_reduce", Conv(64, 1), 56, 64),
        Stage("conv2", Conv(192, 3), 56, 192),
        Stage("pool2", MaxPool(3, stride=2), 28, 192),
        *_modules(five=3, pool4=2),
    ),
    head=(AdaptiveAvgPool(), Dropout(0.2)),
    aux=tuple(aux_classifier(after, AdaptiveAvgPool(4)) for after in ("4a", "4d")),
    features=("conv1", "conv2", "3b", "4e", "5b"),
    init=0.01,
    numerics=Numerics(conv_padding="symmetric", pool_padding="ceil"),
    differs_from_paper=(
        "batch normalisation instead of biases and local response normalisation",
        "3x3 in the 5x5 branch",
        "fourth pool 2x2",
        "the auxiliary heads, which only torchvision has, pool adaptively to 4x4",
    ),
)
