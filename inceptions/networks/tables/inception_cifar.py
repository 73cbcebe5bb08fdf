"""An Inception for images of 32 pixels that spends its multiply-adds late; ours, in no paper.

Its grids, first widths and first convolution are those of "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498, section 3.1
and listing 4; in place of the second convolution of each of its blocks stands an Inception module. The first
convolution isn't normalised, for the recipe `cifar10` has it whiten the images: nothing in front of stage 2a then has a backward pass.
"""

from inceptions.networks.spec import AdaptiveAvgPool, BatchNorm, Conv, MaxPool, Network, Node, Parallel, Stage


def halve(channels: int) -> Node:
    """A 3x3 and a pool that halves the grid before anything is normalised, so that there is a quarter to do."""
    conv = Conv(channels, 3, norm=False, bias=False, activation=None)
    return (conv, MaxPool(2, stride=2, padding="valid"), BatchNorm(activation="relu"))


def inception(conv1x1: int, conv3x3: int, reduce_double: int, double3x3: int) -> Parallel:
    """1x1 beside 3x3, which has half of the channels, and a reduced 3x3."""
    return Parallel(
        conv1x1=Conv(conv1x1, 1),
        conv3x3=Conv(conv3x3, 3),
        double3x3=(Conv(reduce_double, 1), Conv(double3x3, 3)),
    )


INCEPTION_CIFAR = Network(
    name="inception_cifar",
    title="Inception for images of 32 pixels: a whitening 2x2, and pools before the modules",
    source="ours, after arXiv:2404.00498, section 3.1",
    image_size=32,
    stages=(
        #     name   node                        grid  channels
        Stage("conv1", Conv(24, 2, padding="valid", norm=False, bias=False), 31, 24),
        Stage("2a", halve(64), 15, 64),
        #                      1x1  3x3  red  3x3
        Stage("2b", inception(16, 32, 16, 16), 15, 64),
        Stage("3a", halve(256), 7, 256),
        Stage("3b", inception(64, 128, 64, 64), 7, 256),
        Stage("4a", halve(512), 3, 512),
        Stage("4b", inception(128, 256, 128, 128), 3, 512),
    ),
    head=(AdaptiveAvgPool(),),
    classes=10,
    features=("conv1", "2b", "3b", "4b"),
)
