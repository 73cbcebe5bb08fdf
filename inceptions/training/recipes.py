"""The recipes: the papers' own, and four of ours for today. Numbers are cited in `source`; what a source leaves out is said beside it.

`inceptions train DATA --recipe NAME --set field=value` changes one; none of the papers' fits a small machine as it stands.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import assert_never

from inceptions.data.augment import Augment
from inceptions.errors import UserError
from inceptions.networks.spec import BatchNorm, Conv, Linear, Network, Node, Parallel, Residual, SeparableConv
from inceptions.training.recipe import Adam, AdamW, Average, Finetune, Muon, Recipe, RMSProp, Sgd
from inceptions.training.schedules import Exponential, Steps

ALL_FOUR = ("bilinear", "area", "nearest", "bicubic")
PAPER_CROPS = Augment(area=(0.08, 1.0), aspect=(3 / 4, 4 / 3), interpolations=ALL_FOUR)  # 1409.4842, section 6
SLIM_CROPS = Augment(area=(0.05, 1.0), aspect=(3 / 4, 4 / 3), interpolations=ALL_FOUR)  # inception_preprocessing.py
HOWARD = replace(PAPER_CROPS, colour="howard")  # 1409.4842, section 6, names Howard's distortions
MILD = replace(PAPER_CROPS, colour="mild")  # 1502.03167, section 4.2.1
SLIM = replace(SLIM_CROPS, colour="slim")
FACES = Augment(area=(1.0, 1.0), aspect=(1.0, 1.0))  # mirrored, never cropped: facenet's wiki on VGGFace2, "Data augmentation"
BY_EIGHT = Exponential(factor=0.96, every_epochs=8)  # 1409.4842, section 6
BY_TWO = Exponential(factor=0.94, every_epochs=2)  # 1512.00567, section 8

QUICK = Recipe(
    name="quick",
    source="ours: for anybody's first run; SGD with one cycle of the learning rate (1708.07120)",
    cost="20 epochs; with 8, `make demo` trains on digits in about a minute on two cores",
    expect="about 98 % on digits after 8 epochs (`make demo`)",
)

FINETUNE = Recipe(
    name="finetune",
    source="ours: a new head alone for two epochs, then all of the network at rates that fall towards the stem (1801.06146)",
    cost="10 epochs; ants and bees at 224 pixels, 8 epochs, in 7 minutes on two busy cores",
    expect="85.0 % on the 153 validation images of hymenoptera from a middling body (docs/results.md), 78.4 % with the head alone",
    model="inception_v3",
    epochs=10,
    batch_size=32,
    lr=0.01,
    weight_decay=1e-4,
    finetune=Finetune(freeze_epochs=2, layer_decay=0.8),
)

HEAD = Recipe(
    name="head",
    source="ours: a new head on a body that stays as it is, and on pictures that nothing varies, so that the body sees each of them once",
    cost="about as long as `evaluate` takes for the same images, whatever the epochs",
    expect="79.1 % on the 153 validation images of hymenoptera from a middling body (docs/results.md)",
    model="inception_v3",
    epochs=60,
    batch_size=32,
    lr=0.1,
    weight_decay=1e-4,
    augment=None,
    finetune=Finetune(head_only=True),
)

CIFAR10 = Recipe(
    name="cifar10",
    source="ours, after 2404.00498: its start (whiten), biases' stride, lookahead, smoothing, moves and turns of mirroring, by a cosine "
    "and not in straight lines; kernels by Muon (K. Jordan et al., 2024); no validation part, so nothing is chosen by it",
    cost="16 epochs of 0.14 G multiply-adds an image, forward",
    expect="90.3 % of JPEG copies' test images with one view, 91.2 % with two, means of three seeds, in half an hour on two cores "
    "(docs/results.md)",
    model="inception_cifar",
    epochs=16,
    batch_size=512,
    lr=0.08,
    optimizer=Muon(momentum=0.6, rest_momentum=0.85, rest_lr=9.4),
    weight_decay=1.3e-3,
    bias_lr=64.0,
    whiten=True,
    lookahead=True,
    clip_norm=None,
    label_smoothing=0.2,
    augment=Augment(area=(1.0, 1.0), aspect=(1.0, 1.0), move=2, alternate=True, cutout=8),
    train_on_val=True,
)

GOOGLENET_2014 = Recipe(
    name="googlenet_2014",
    source="1409.4842, sections 5 and 6; base rate, batch, weight decay and length of BVLC Caffe's solver, for the paper gives none; "
    "decay of the average ours",
    cost="ImageNet: about a week on a few high-end GPUs, the paper's estimate; 4 workers is our choice",
    expect="ImageNet: 89.9 % of top-5, one network, one crop (Table 3: error 10.07 %)",
    model="googlenet",
    epochs=250,
    batch_size=32,
    lr=0.01,
    optimizer=Sgd(momentum=0.9),
    schedule=BY_EIGHT,
    weight_decay=2e-4,
    clip_norm=None,
    label_smoothing=0.0,
    aux_weight=0.3,
    average=Average(),
    augment=HOWARD,
    asynchronous=4,
)

BN_INCEPTION_X5 = Recipe(
    name="bn_inception_x5",
    source="1502.03167, section 4.2.1-2: rate .0075, x5 of Inception's, decaying six times faster (than x.96 in 8 epochs, "
    "our reading), L2 weight / 5, no dropout, milder distortion; momentum and L2 weight of BVLC's solver, 60 epochs ours",
    cost="ImageNet: 2.1 M steps of 32 to the accuracy of Inception (Figure 3)",
    expect="ImageNet: 73.0 % of top-1, one crop (Figure 3)",
    model="bn_inception",
    epochs=60,
    batch_size=32,
    lr=0.0075,
    optimizer=Sgd(momentum=0.9),
    schedule=Exponential(factor=0.96, every_epochs=8 / 6),
    weight_decay=2e-4 / 5,
    clip_norm=None,
    label_smoothing=0.0,
    drop_rate=0.0,
    augment=MILD,
)

BN_INCEPTION_X30 = replace(
    BN_INCEPTION_X5,
    name="bn_inception_x30",
    source=BN_INCEPTION_X5.source.replace(".0075, x5", ".045, x30").replace(", 60 epochs ours", ""),
    cost="ImageNet: 2.7 M steps of 32 to the accuracy of Inception, 6 M to its best (Figure 3)",
    expect="ImageNet: 74.8 % of top-1, one crop (Figure 3)",
    epochs=150,  # 6 M steps of 32
    lr=0.045,
)

INCEPTION_V3_2015 = Recipe(
    name="inception_v3_2015",
    source="1512.00567, section 8; RMSProp's momentum, weight decay, auxiliary weight, decays of BN and of the average of the code "
    "(tensorflow/models, research/inception), images as TF-slim varies them; BN's statistics begin faster than there (Recipe.bn_momentum)",
    cost="ImageNet: 100 epochs, 50 asynchronous replicas with a batch of 32 each; here in step",
    expect="ImageNet: 78.8 % of top-1, 94.4 % of top-5, one crop (Table 3)",
    model="inception_v3",
    epochs=100,
    batch_size=32,
    lr=0.045,
    optimizer=RMSProp(decay=0.9, momentum=0.9, epsilon=1.0),
    schedule=BY_TWO,
    weight_decay=4e-5,
    clip_norm=2.0,
    label_smoothing=0.1,
    aux_weight=0.4,
    bn_momentum=0.0003,
    average=Average(decay=0.9999),
    augment=SLIM,
)

INCEPTION_V4_2016 = replace(
    INCEPTION_V3_2015,
    name="inception_v4_2016",
    source="1602.07261, section 4; what is not stated there is as for Inception-v3: batch, momentum, weight decay, smoothing, auxiliary "
    "weight, clipping, decays of BN and of the average",
    cost="ImageNet: 20 replicas on Kepler GPUs; the length is not stated, 100 epochs as for Inception-v3",
    expect="ImageNet: 80.0 % of top-1, 95.0 % of top-5, one crop (Table 2)",
    model="inception_v4",
)

INCEPTION_RESNET_2016 = replace(
    INCEPTION_V4_2016,
    name="inception_resnet_2016",
    expect="ImageNet: Inception-ResNet-v2 80.1 % of top-1, 95.1 % of top-5, one crop (Table 2)",
    model="inception_resnet_v2",
)

XCEPTION_2016 = Recipe(
    name="xception_2016",
    source="1610.02357, section 4.2 to 4.4, the ImageNet column; batch, length and images are not given there and are as for Inception-v3, "
    "as is the decay of the average; BN decay of Keras, in which it was released",
    cost="ImageNet: 60 K80 GPUs in step, about 3 days",
    expect="ImageNet: 79.0 % of top-1, 94.5 % of top-5, one crop (Table 1)",
    model="xception",
    epochs=100,
    batch_size=32,
    lr=0.045,
    optimizer=Sgd(momentum=0.9),
    schedule=BY_TWO,
    weight_decay=1e-5,
    clip_norm=None,
    label_smoothing=0.0,
    drop_rate=0.5,
    bn_momentum=0.01,
    average=Average(decay=0.9999),
    augment=SLIM,
)

XCEPTION_2016_JFT = replace(
    XCEPTION_2016,
    name="xception_2016_jft",
    source="1610.02357, section 4.2 to 4.4, the JFT column: the rate falls every 3 M images, here 3 / 350 of an epoch of JFT; "
    "RMSProp's decay and epsilon are not given there and are those of 1512.00567",
    cost="JFT, 350 M images: 60 K80 GPUs, asynchronous, over a month, not to convergence",
    expect="FastEval14k: 6.70 MAP@100 without fully connected layers (Table 2)",
    epochs=1,
    lr=0.001,
    optimizer=RMSProp(decay=0.9, momentum=0.9, epsilon=1.0),
    schedule=Exponential(factor=0.9, every_epochs=3 / 350),
    drop_rate=0.0,
    asynchronous=4,
)

DEEPLAB_XCEPTION_2018 = Recipe(
    name="deeplab_xception_2018",
    source="1802.02611, section 4 (ImageNet pretraining); BN decay of the released code, whose weight decay leaves depthwise kernels out, "
    "where ours doesn't; images as TF-slim varies them",
    cost="ImageNet: 50 GPUs, asynchronous, 32 images each; here in step; the length is not given, 100 epochs are our choice",
    expect="ImageNet: Xception-65 79.81 % of top-1, 94.83 % of top-5",
    model="xception65",
    epochs=100,
    batch_size=32,
    lr=0.05,
    optimizer=Sgd(momentum=0.9, nesterov=True),
    schedule=BY_TWO,
    weight_decay=4e-5,
    clip_norm=None,
    label_smoothing=0.0,
    bn_momentum=0.0003,
    augment=SLIM,
)

FACENET_VGGFACE2 = Recipe(
    name="facenet_vggface2",
    source="davidsandberg/facenet: its schedule for VGGFace2, its wiki's command for the rest; an epoch there is 1,000 batches, and 276 of "
    "them are 8 of VGGFace2's 3.1 M faces, which are the middle 160 of 182 pixels there",
    cost="VGGFace2: 276,000 batches of 90 faces; 30 hours on a Titan X (Pascal), by the wiki",
    expect="LFW accuracy 0.9965",
    model="inception_resnet_v1_facenet",
    epochs=8,
    batch_size=90,
    lr=0.05,
    optimizer=Adam(epsilon=0.1),
    schedule=Steps(at=((2.9, 0.1), (5.8, 0.01))),  # 100 and 200 of its 276
    weight_decay=5e-4,
    clip_norm=None,
    label_smoothing=0.0,
    drop_rate=0.6,
    bn_momentum=0.005,
    average=Average(decay=0.9999),
    augment=FACES,
)

TPU_INCEPTION_V3 = replace(
    INCEPTION_V3_2015,
    name="tpu_inception_v3",
    source="tensorflow/tpu, models/experimental/inception: .165 per 256 images, x.94 every 3 epochs, with its optional warm-up: 2 epochs "
    "at a tenth of x.94^3, then up to that, evenly where the source goes by epochs and in the last a tenth too far; for its shifts of "
    "chroma, slim's of saturation",
    cost="ImageNet: 213,000 steps of 1,024 (170 epochs) on a TPU",
    expect="not stated in our sources",
    epochs=170,
    batch_size=1024,
    lr=0.165 * 1024 / 256,
    schedule=Exponential(factor=0.94, every_epochs=3, floor=1e-4, cold_epochs=2, cold=0.1, warmup_epochs=9),
    clip_norm=None,
    bn_momentum=0.004,
    average=Average(decay=0.995),
    augment=replace(SLIM_CROPS, interpolations=("bilinear",), colour="slim_fast"),
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        *(QUICK, FINETUNE, HEAD, CIFAR10),
        *(GOOGLENET_2014, BN_INCEPTION_X5, BN_INCEPTION_X30, INCEPTION_V3_2015, INCEPTION_V4_2016, INCEPTION_RESNET_2016),
        *(XCEPTION_2016, XCEPTION_2016_JFT, DEEPLAB_XCEPTION_2018, FACENET_VGGFACE2, TPU_INCEPTION_V3),
    )
}
"""Every recipe by name."""


def get_recipe(name: str) -> Recipe:
    """Return a recipe by name; UserError names the nearest."""
    if name in RECIPES:
        return RECIPES[name]
    close = difflib.get_close_matches(name, RECIPES, n=1)
    hint = f"did you mean {close[0]}?" if close else f"recipes are {', '.join(RECIPES)}"
    raise UserError(f"no recipe is called {name!r}; {hint}")


def peak_lr(recipe: Recipe, network: Network, *, batch_size: int) -> float:
    """Return the highest learning rate of a run: the recipe's, or else the optimizer's own for steps of `batch_size` images.

    SGD: 0.05 for 64 images with batch normalisation and 0.01 without. RMSProp: 0.045 for 32 (1512.00567, section 8), a fifth of it without.
    Both are in proportion to the images. Adam, AdamW: 0.001 (1412.6980, section 2), for their steps don't grow with the gradients; nor do
    those of Muon: 0.05, ours.
    """
    if recipe.lr is not None:
        return recipe.lr
    normalised = has_batch_norm(network)
    match recipe.optimizer:
        case Sgd():
            return (0.05 if normalised else 0.01) * batch_size / 64
        case RMSProp():
            return (0.045 if normalised else 0.009) * batch_size / 32
        case Adam() | AdamW():
            return 0.001
        case Muon():
            return 0.05
        case _:
            assert_never(recipe.optimizer)


def training_side(recipe: Recipe, *, epoch: int, image_size: int) -> int:
    """Return the side in pixels of the training images of `epoch`, counted from 1."""
    share = next((share for until, share in recipe.progressive if epoch <= round(until * recipe.epochs)), 1.0)
    return round(share * image_size)


def has_batch_norm(network: Network) -> bool:
    """Return whether any layer of the stages is batch-normalised."""
    return any(_has_norm(stage.node) for stage in network.stages)


def _has_norm(node: Node) -> bool:
    match node:
        case tuple():
            return any(map(_has_norm, node))
        case Parallel():
            return any(_has_norm(branch) for _, branch in node.branches)
        case Residual():
            return _has_norm(node.body) or _has_norm(node.shortcut)
        case Conv() | SeparableConv() | Linear():
            return node.norm
        case _:
            return isinstance(node, BatchNorm)
