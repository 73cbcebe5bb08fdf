"""The small Inception of "Understanding deep learning requires rethinking generalization", arXiv:1611.03530, Figure 3 (appendix A)."""

from inceptions.networks.spec import AdaptiveAvgPool, Conv, MaxPool, Network, Parallel, Stage


def inception(conv1x1: int, conv3x3: int) -> Parallel:
    """Inception module: 1x1 beside 3x3."""
    return Parallel(conv1x1=Conv(conv1x1, 1), conv3x3=Conv(conv3x3, 3))


def downsample(conv3x3: int) -> Parallel:
    """Downsample module: 3x3 of stride 2 beside a pool."""
    return Parallel(conv3x3=Conv(conv3x3, 3, stride=2), pool=MaxPool(3, stride=2))


INCEPTION_SMALL = Network(
    name="inception_small",
    title="Small Inception for images of 28 or 32 pixels",
    source="arXiv:1611.03530, Figure 3",
    image_size=28,
    stages=(
        #     name   node               grid  channels
        Stage("conv1", Conv(96, 3), 28, 96),
        Stage("2a", inception(32, 32), 28, 64),
        Stage("2b", inception(32, 48), 28, 80),
        Stage("2c", downsample(80), 14, 160),
        Stage("3a", inception(112, 48), 14, 160),
        Stage("3b", inception(96, 64), 14, 160),
        Stage("3c", inception(80, 80), 14, 160),
        Stage("3d", inception(48, 96), 14, 144),
        Stage("3e", downsample(96), 7, 240),
        Stage("4a", inception(176, 160), 7, 336),
        Stage("4b", inception(176, 160), 7, 336),
    ),
    head=(AdaptiveAvgPool(),),
    classes=10,
    features=("2b", "3d", "4b"),
)
