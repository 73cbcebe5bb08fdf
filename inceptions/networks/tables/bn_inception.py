"""BN-Inception, "Batch normalization", arXiv:1502.03167, table of the appendix; and its two released forms."""

from dataclasses import replace

from inceptions.networks.reshape import with_conv_bias
from inceptions.networks.spec import AdaptiveAvgPool, AvgPool, Conv, Dropout, MaxPool, Network, Parallel, SeparableConv, Stage
from inceptions.networks.tables.googlenet import CAFFE


def inception(
    conv1x1: int, reduce3x3: int, conv3x3: int, reduce_double: int, double3x3: int, pool: int, *, pooling: type[AvgPool | MaxPool] = AvgPool
) -> Parallel:
    """GoogLeNet's module with two 3x3 in place of the 5x5; pooling is an average, but a maximum in 5b."""
    return Parallel(
        conv1x1=Conv(conv1x1, 1),
        conv3x3=(Conv(reduce3x3, 1), Conv(conv3x3, 3)),
        double3x3=(Conv(reduce_double, 1), Conv(double3x3, 3), Conv(double3x3, 3)),
        pool=(pooling(3), Conv(pool, 1)),
    )


def inception_stride2(reduce3x3: int, conv3x3: int, reduce_double: int, double3x3: int) -> Parallel:
    """3c and 4e: the module that halves the grid, stride on the last convolution of each branch; pooling hands on its input."""
    return Parallel(
        conv3x3=(Conv(reduce3x3, 1), Conv(conv3x3, 3, stride=2)),
        double3x3=(Conv(reduce_double, 1), Conv(double3x3, 3), Conv(double3x3, 3, stride=2)),
        pool=MaxPool(3, stride=2),
    )


def _stages(first: Conv | SeparableConv, pool_4c_4d: int) -> tuple[Stage, ...]:
    wider = 2 * (pool_4c_4d - 96)  # 4c and 4d have 576 or 608 channels, 4e 1024 or 1056
    return (
        Stage("conv1", first, 112, 64),
        Stage("pool1", MaxPool(3, stride=2), 56, 64),
        Stage("conv2_reduce", Conv(64, 1), 56, 64),
        Stage("conv2", Conv(192, 3), 56, 192),
        Stage("pool2", MaxPool(3, stride=2), 28, 192),
        #                        1x1  3x3 red  3x3  d3x3 red  d3x3  pool   grid  channels
        Stage("3a", inception(64, 64, 64, 64, 96, 32), 28, 256),
        Stage("3b", inception(64, 64, 96, 64, 96, 64), 28, 320),
        Stage("3c", inception_stride2(128, 160, 64, 96), 14, 576),
        Stage("4a", inception(224, 64, 96, 96, 128, 128), 14, 576),
        Stage("4b", inception(192, 96, 128, 96, 128, 128), 14, 576),
        Stage("4c", inception(160, 128, 160, 128, 160, pool_4c_4d), 14, 576 + wider // 2),
        Stage("4d", inception(96, 128, 192, 160, 192, pool_4c_4d), 14, 576 + wider // 2),
        Stage("4e", inception_stride2(128, 192, 192, 256), 7, 1024 + wider // 2),
        Stage("5a", inception(352, 192, 320, 160, 224, 128), 7, 1024),
        Stage("5b", inception(352, 192, 320, 192, 224, 128, pooling=MaxPool), 7, 1024),
    )


BN_INCEPTION = Network(
    name="bn_inception",
    title="BN-Inception as printed: separable first convolution, 608 channels in 4c and 4d",
    source="arXiv:1502.03167, table of the appendix",
    image_size=224,
    stages=_stages(SeparableConv(64, 7, stride=2, multiplier=8), pool_4c_4d=128),
    head=(AdaptiveAvgPool(),),  # section 4.2.1: dropout removed
    features=("conv1", "conv2", "3b", "4d", "5b"),
    differs_from_paper=("output sizes of 4c, 4d and 4e follow from the printed branch widths (608, 608, 1056), not 576, 576, 1024",),
)

BN_INCEPTION_CAFFE = with_conv_bias(
    replace(
        BN_INCEPTION,
        name="bn_inception_caffe",
        title="BN-Inception as released for Caffe: plain 7x7 first, convolution biases",
        source="the Caffe model of arXiv:1502.03167, as ported by Cadene's bninception",
        stages=_stages(Conv(64, 7, stride=2), pool_4c_4d=128),
        init="caffe_xavier",
        numerics=CAFFE,
        differs_from_paper=("plain 7x7 first convolution", "biases before batch normalisation", *BN_INCEPTION.differs_from_paper),
    )
)

INCEPTION_V2_SLIM = replace(
    BN_INCEPTION,
    name="inception_v2_slim",
    title="BN-Inception as TF-slim's inception_v2: 576 channels, first convolution without BN",
    source="TF-slim inception_v2, after arXiv:1502.03167",
    stages=_stages(SeparableConv(64, 7, stride=2, multiplier=8, norm=False, init=1.0), pool_4c_4d=96),
    head=(AdaptiveAvgPool(), Dropout(0.2)),
    differs_from_paper=("first convolution has a bias and no batch normalisation", "pool projection of 4c and 4d has 96 filters"),
)

INCEPTION_V2_PLAIN = replace(
    INCEPTION_V2_SLIM,
    name="inception_v2_plain",
    title="TF-slim's inception_v2 with a plain first convolution; also the ONNX model zoo's inception-v2",
    source="TF-slim inception_v2 with use_separable_conv=False, after arXiv:1502.03167",
    stages=_stages(Conv(64, 7, stride=2), pool_4c_4d=96),
    differs_from_paper=("plain 7x7 first convolution", "pool projection of 4c and 4d has 96 filters"),
)
