"""The studies: the papers' own comparisons on networks made small by `reshape`, minutes for each run of an arm on two cores.

Every arm trains with the recipe of its study, `BASE` where nothing else is said; what differs between arms is what the study is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cache

from inceptions.data.augment import Augment
from inceptions.errors import UserError
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.networks.spec import AdaptiveAvgPool, AuxHead, Conv, MaxPool, Network, Node, Parallel
from inceptions.studies import variants
from inceptions.studies.study import Arm, BatchNoise, Claim, Study
from inceptions.training.recipe import Adam, Recipe, RMSProp

BASE = Recipe(
    name="study",
    source="ours: SGD on images that are moved and mirrored in turns, for a few epochs",
    model="googlenet",
    epochs=5,
    batch_size=128,
    lr=0.2,
    weight_decay=5e-4,
    label_smoothing=0.0,
    clip_norm=None,
    drop_rate=0.0,
    augment=Augment(area=(1.0, 1.0), aspect=(1.0, 1.0), move=2, alternate=True),
)
PLAIN_LR = 0.02  # for networks without batch normalisation, and those that are compared with them


def small(name: str, *, width: float, steps: int) -> Network:
    """Return a network of the family for images of 32 pixels, narrower: its first `steps` layers that halve the grid keep it."""
    return reshape.without_aux(reshape.scale_width(reshape.small_stem(get_network(name), image_size=32, steps=steps), width))


def _normed(name: str = "googlenet") -> Network:
    """Return a small GoogLeNet of five modules with batch normalisation, the network of most studies.

    Half as wide, and without the rows that Table 1 repeats: 3a and 3b on a grid of 8, 4a, 4d and 5b on one of 4. A step takes half as long
    as with all nine modules at a quarter of the width on grids of 16, 8 and 4, for the work is in fewer and wider layers.
    """
    network = small(name, width=0.5, steps=1)
    return reshape.with_batch_norm(reshape.without_stages(network, "4b", "4c", "4e", "pool4", "5a"))


def _with_sides(network: Network, *after: str, norm: bool) -> Network:
    """Return `network` with auxiliary heads after the stages of these names."""
    layers = (AdaptiveAvgPool(4), Conv(32, 1, norm=norm))
    return replace(network, aux=tuple(AuxHead(name, weight=0.3, layers=layers) for name in after))


def _arms(networks: Mapping[str, Network]) -> tuple[Arm, ...]:
    return tuple(Arm(name, network, BASE) for name, network in networks.items())


def _recipes(recipes: Mapping[str, Recipe]) -> tuple[Arm, ...]:
    return tuple(Arm(name, _normed(), recipe) for name, recipe in recipes.items())


def _of_googlenet() -> Iterator[Study]:
    normed, naive = _normed(), _normed("googlenet_naive")
    yield Study(
        "modules",
        "Naive modules, ones that reduce before 3x3 and 5x5, and ones that reduce all that they read",
        "1x1 reductions before 3x3 and 5x5 keep the accuracy at a fraction of the cost; at equal cost, to reduce all at once is worse",
        "1409.4842, section 4, Figure 2",
        _arms({"naive": naive, "reduced": normed, "reduced at once": variants.with_one_reduction(naive, 0.27)}),
        (Claim("reduced", "naive"), Claim("reduced", "reduced at once", by="accuracy")),
        "cost",
    )
    linear, relu = (reshape.factorize_5x5(normed, between=between) for between in (None, "relu"))
    yield Study(
        "five",
        "5x5 against two 3x3, linear or ReLU between",
        "two 3x3 are as accurate as a 5x5, and more with a ReLU between them than without",
        "1512.00567, section 3.1, Figure 2",
        _arms({"5x5": normed, "two 3x3, linear": linear, "two 3x3, ReLU": relu}),
        (Claim("two 3x3, ReLU", "5x5", no_worse=True), Claim("two 3x3, ReLU", "two 3x3, linear")),
    )
    early, late = ("conv1", "conv2"), ("3a", "3b", "4a", "4d", "5b")
    strips = {name: reshape.factorize_square(normed, stages=stages) for name, stages in {"early": early, "late": late}.items()}
    yield Study(
        "asymmetric",
        "n x n against 1 x n and n x 1, early and late",
        "1 x n and n x 1 do not work well on early layers, here on grids of 32 and 16, and do on later ones, here of 8 and 4",
        "1512.00567, section 3.2",
        _arms({"n x n": normed, **strips}),
        (Claim("late", "n x n", no_worse=True), Claim("n x n", "early"), Claim("late", "early")),
    )


def _of_inception_v3() -> Iterator[Study]:
    normed = _normed()
    reductions: dict[str, Callable[[int], Node]] = {
        "pool, then widen": lambda channels: (MaxPool(3, stride=2), Conv(channels, 3)),
        "widen, then pool": lambda channels: (Conv(channels, 3), MaxPool(3, stride=2)),
        "side by side": lambda channels: Parallel(conv3x3=Conv(channels // 2, 3, stride=2), pool=MaxPool(3, stride=2)),
        "stride alone": lambda channels: Conv(channels, 3, stride=2),
    }
    yield Study(
        "reductions",
        "Four ways to halve the grid",
        "a stride and a pool side by side avoid the bottleneck of pooling first, for less than widening first costs, and lose less than "
        "a stride alone",
        "1512.00567, section 5, Figures 9 and 10",
        _arms({name: variants.with_reductions(reduction) for name, reduction in reductions.items()}),
        (
            Claim("side by side", "pool, then widen"),
            Claim("side by side", "widen, then pool", by="cost"),
            Claim("side by side", "stride alone"),
        ),
    )
    both = {name: _with_sides(normed, "3b", "4d", norm=norm) for name, norm in {"plain": False, "batch normalised": True}.items()}
    yield Study(
        "aux",
        "Auxiliary heads: none, plain, with batch normalisation",
        "auxiliary heads help the end of training, and more with batch normalisation; its beginning is as fast without",
        "1512.00567, section 4",
        _arms({"none": normed, **both}),
        (
            Claim("plain", "none"),
            Claim("batch normalised", "none"),
            Claim("batch normalised", "plain"),
            Claim("none", "batch normalised", no_worse=True, by="steps"),
        ),
    )


def _of_normalisation() -> Iterator[Study]:
    normed = _normed()
    plain = reshape.without_batch_norm(normed)
    rates = {f"x{times}": replace(BASE, lr=times * PLAIN_LR) for times in (1, 5, 30)}
    with_norm = (Arm(f"with, {name}", normed, recipe) for name, recipe in rates.items())
    yield Study(
        "batch-norm",
        "With and without batch normalisation, learning rates x1, x5, x30",
        "batch normalisation reaches the accuracy of the network without it in a fraction of the steps, and more so at higher rates, "
        "at which it ends higher, and which the network without it dies of",
        "1502.03167, section 4.2, Figures 2 and 3",
        (Arm("without, x1", plain, rates["x1"]), *with_norm, Arm("without, x5", plain, rates["x5"])),
        (
            Claim("with, x1", "without, x1"),
            Claim("with, x5", "with, x1"),
            Claim("with, x30", "without, x1", by="accuracy"),
            Claim("with, x5", "without, x5", by="deaths"),
        ),
        "steps",
    )
    yield Study(
        "bn-place",
        "Batch normalisation before or after the activation",
        "batch normalisation belongs before the activation",
        "1502.03167, section 3.2",
        _arms({"before": normed, "after": variants.with_norm_after(normed)}),
        (Claim("before", "after"),),
    )
    yield Study(
        "bn-batch",
        "Batch normalisation over 128, 32 and 4 images of each step's 128",
        "the fewer images batch normalisation takes its statistics of, the lower the accuracy",
        "1502.03167, section 3; 1702.03275, section 1",
        _recipes({"128": BASE, "32": replace(BASE, accumulate=4), "4": replace(BASE, accumulate=32)}),
        (Claim("128", "32"), Claim("32", "4")),
    )


def _of_recipes() -> Iterator[Study]:
    yield Study(
        "label-smoothing",
        "Label smoothing",
        "label smoothing of 0.1 makes errors fewer, by 0.2 % on ImageNet",
        "1512.00567, section 7",
        _recipes({"none": BASE, "0.1": replace(BASE, label_smoothing=0.1)}),
        (Claim("0.1", "none"),),
    )
    rates = {"none": BASE, "0.4": replace(BASE, drop_rate=None)}  # None: as the network has it
    plain = reshape.without_batch_norm(_normed())
    yield Study(
        "dropout",
        "Dropout before the classifier, with and without batch normalisation",
        "dropout before the classifier stays essential, but not with batch normalisation",
        "1409.4842, section 5; 1502.03167, section 4.2.1",
        (*_recipes(rates), *(Arm(f"{name}, not normalised", plain, replace(recipe, lr=PLAIN_LR)) for name, recipe in rates.items())),
        (Claim("0.4, not normalised", "none, not normalised"), Claim("none", "0.4", no_worse=True)),
    )
    paper = replace(BASE, optimizer=RMSProp(epsilon=1.0), lr=0.045)  # with this epsilon gradients are divided by hardly more than 1
    yield Study(
        "optimizer",
        "SGD with momentum against RMSProp, at the paper's rate and at SGD's",
        "the best models were achieved with RMSProp, not with momentum",
        "1512.00567, section 8",
        _recipes({"SGD": BASE, "RMSProp": paper, "RMSProp at SGD's rate": replace(paper, lr=BASE.lr)}),
        (Claim("RMSProp", "SGD"), Claim("RMSProp at SGD's rate", "SGD")),
    )
    yield Study(
        "asynchronous",
        "SGD in step against asynchronous",
        "in step, training reaches a better accuracy than with gradients that are computed on weights of some updates ago",
        "1604.00981",
        _recipes({"in step": BASE, **{f"{count} workers": replace(BASE, asynchronous=count) for count in (2, 4)}}),
        (Claim("in step", "2 workers"), Claim("in step", "4 workers")),
    )


def _of_residuals() -> Iterator[Study]:
    scaled = variants.with_fewer(small("inception_resnet_v1", width=0.3125, steps=2), block35=2, block17=3, block8=2)
    yield Study(
        "residual",
        "Modules without residual connections, with them, and with scaled ones",
        "residual connections speed training up, and are not necessary for the accuracy in the end; scaling them does no harm",
        "1602.07261, sections 2, 3.3 and 5",
        _arms({"plain": variants.with_plain_modules(scaled), "residual": reshape.with_residual_scale(scaled, 1.0), "scaled": scaled}),
        (
            Claim("residual", "plain", by="steps"),
            Claim("plain", "residual", no_worse=True),
            Claim("scaled", "residual", no_worse=True),
        ),
    )
    yield Study(
        "wide-residual",
        "Residual modules above 1,000 filters, with and without scaling",
        "above 1,000 filters training dies without scaling of the residuals, and is steady with scales of 0.1 to 0.3",
        "1602.07261, section 3.3",
        _arms(
            {name: variants.wide_residuals(scale) for name, scale in {"unscaled": 1.0, "scaled by 0.3": 0.3, "scaled by 0.1": 0.1}.items()}
        ),
        (
            Claim("scaled by 0.1", "unscaled", by="deaths"),
            Claim("scaled by 0.3", "unscaled"),
            Claim("scaled by 0.1", "unscaled"),
        ),
    )
    yield Study(
        "scaling",
        "Residuals scaled by 0.1 to 1",
        "scales of 0.1 to 0.3 steady the training of wide residual modules",
        "1602.07261, section 3.3",
        _arms({f"{scale:g}": variants.wide_residuals(scale) for scale in (0.1, 0.2, 0.3, 0.5, 1.0)}),
        (Claim("0.1", "1", by="deaths"), *(Claim(f"{scale:g}", "1") for scale in (0.1, 0.2, 0.3))),
    )


def _of_separable() -> Iterator[Study]:
    xception = reshape.without_stages(small("xception", width=0.25, steps=1), *(f"block{number}" for number in range(8, 13)))
    relu, elu = (reshape.with_depthwise_activation(xception, kind) for kind in ("relu", "elu"))
    yield Study(
        "depthwise-activation",
        "An activation between depthwise and pointwise convolution",
        "without an activation between them Xception learns faster and ends better than with ReLU or ELU",
        "1610.02357, section 4.7, Figure 10",
        _arms({"none": xception, "ReLU": relu, "ELU": elu}),
        (
            Claim("none", "ReLU"),
            Claim("none", "ELU"),
            Claim("none", "ReLU", by="steps"),
            Claim("none", "ELU", by="steps"),
        ),
    )
    yield Study(
        "xception-residual",
        "Xception with and without its residual connections",
        "residual connections are essential, both for speed and for the accuracy in the end",
        "1610.02357, section 4.6, Figure 9",
        _arms({"without": reshape.without_residuals(xception), "with": xception}),
        (Claim("with", "without"), Claim("with", "without", by="steps")),
    )
    yield Study(
        "separable-order",
        "Depthwise before pointwise convolution, or after it",
        "the order of the two halves of a separable convolution hardly matters where many are stacked",
        "1610.02357, section 1.2",
        _arms(
            {
                "depthwise first": xception,
                "pointwise first": variants.pointwise_first(xception),
                "pointwise first, middle": variants.pointwise_first(xception, names=("block5", "block6", "block7")),
            }
        ),
        tuple(
            Claim(*pair, no_worse=True)
            for other in ("pointwise first", "pointwise first, middle")
            for pair in ((other, "depthwise first"), ("depthwise first", other))
        ),
    )


def _of_averages() -> Iterator[Study]:
    yield Study(
        "averages",
        "More crops and more models averaged",
        "averaging softmax over more crops of an image, and over more models that differ in their seed alone, makes errors fewer",
        "1409.4842, section 7, Table 3",
        _arms({"model": _normed()}),
        (),
        "averages",
        seeds=7,
    )
    yield Study(
        "crops-budget",
        "Accuracy against multiply-adds, by crops",
        "errors grow fewer with more crops, and less so the more there are already",
        "1409.4842, section 7",
        _arms({"model": _normed()}),
        (),
        "averages",
        crops=(1, 10, 12, 144),
    )


def _of_principles() -> Iterator[Study]:
    normed = _normed()
    heads = {"average": normed, "fully connected": variants.with_fully_connected(normed, 256, drop_rate=0.4)}
    yield Study(
        "pooling-head",
        "Global average pooling against a fully connected layer",
        "an average of each channel in place of a fully connected layer makes accuracy higher, by 0.6 points on ImageNet",
        "1409.4842, section 5",
        tuple(Arm(name, network, replace(BASE, drop_rate=None)) for name, network in heads.items()),
        (Claim("average", "fully connected"),),
    )
    squeezed = {"early": variants.with_bottleneck(normed, "pool2", 16), "late": variants.with_bottleneck(normed, "4d", 44)}
    yield Study(
        "bottleneck",
        "A bottleneck of a sixth of the channels: none, early, late",
        "representational bottlenecks cost accuracy, and most of all early in the network",
        "1512.00567, section 2, principle 1",
        _arms({"none": normed, **squeezed}),
        (Claim("none", "early"), Claim("late", "early")),
    )
    shapes = {"1 wide module": 1, "2 modules": 2, "5 narrow modules": 5}
    yield Study(
        "width-depth",
        "Width against depth at equal cost",
        "width and depth in balance are better than either alone, at equal cost",
        "1512.00567, section 2, principle 4",
        _arms({name: variants.of_shape(count) for name, count in shapes.items()}),
        (Claim("2 modules", "1 wide module"), Claim("2 modules", "5 narrow modules")),
    )
    sides = {"lower": ("3b",), "upper": ("4d",), "both": ("3b", "4d")}
    yield Study(
        "aux-where",
        "Auxiliary heads on 3b, on 4d, on both",
        "the lower of the two auxiliary heads can go without harm",
        "1512.00567, section 4",
        _arms({"none": normed, **{name: _with_sides(normed, *after, norm=True) for name, after in sides.items()}}),
        (Claim("upper", "both", no_worse=True), Claim("upper", "none")),
    )
    yield Study(
        "activation-after-pointwise",
        "An activation after the 1x1 reductions, or none",
        "where a convolution that reads all channels follows a 1x1, an activation between them helps",
        "1610.02357, section 4.7, of Inception modules",
        _arms({"ReLU": normed, "none": variants.with_linear_reductions(normed)}),
        (Claim("ReLU", "none"),),
    )


def _of_landscapes() -> Iterator[Study]:
    normed = _normed()
    plain, slow = reshape.without_batch_norm(normed), replace(BASE, lr=PLAIN_LR)
    noises = {"with, noise": BatchNoise(), "with, less noise": BatchNoise(shift=0.1, scale=1.05, spread=0.02)}  # the paper's, and a fifth
    yield Study(
        "bn-smoothness",
        "The loss along the gradient, with and without batch normalisation, and with noise after it",
        "with batch normalisation, loss and gradient change less along the gradient; the step of the layers below changes "
        "a layer's gradient no less, and noise by which its input drifts does no harm: training stays faster than without",
        "1805.11604, sections 2 and 3, Figures 2, 3 and 4",
        (Arm("without", plain, slow), Arm("with", normed, slow), *(Arm(name, normed, slow, noise) for name, noise in noises.items())),
        (Claim("with", "without"), *(Claim(noisy, quiet) for noisy in noises for quiet in ("with", "without"))),
        "smoothness",
    )
    adam = replace(BASE, optimizer=Adam(), lr=0.001)
    kinds = {"with": normed, "without": plain}
    yield Study(
        "loss-surface",
        "The loss on planes through start and ends, with and without batch normalisation",
        "without batch normalisation the loss has plateaus between the start and where optimisers end, with it none",
        "1612.04010; 1712.09913",
        tuple(
            Arm(f"{kind}, {name}", network, recipe)
            for kind, network in kinds.items()
            for name, recipe in {"SGD": slow, "Adam": adam}.items()
        ),
        (Claim("with, SGD", "without, SGD"),),
        "surface",
    )


@cache
def list_studies() -> tuple[Study, ...]:
    """Return every study."""
    of_papers = (_of_googlenet, _of_inception_v3, _of_normalisation, _of_recipes, _of_residuals, _of_separable, _of_averages)
    groups = (*of_papers, _of_principles, _of_landscapes)
    return tuple(study for group in groups for study in group())


def get_study(name: str) -> Study:
    """Return the study called `name`; UserError names the nearest."""
    studies = {study.name: study for study in list_studies()}
    if name not in studies:
        near = get_close_matches(name, studies, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(studies)}"
        raise UserError(f"no study is called {name!r}; {hint}")
    return studies[name]
