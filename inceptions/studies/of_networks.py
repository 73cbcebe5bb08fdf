"""Studies of networks: what differs between arms is the network, and all of a study train with one recipe, `BASE` mostly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from inceptions.networks import reshape
from inceptions.networks.spec import Conv, MaxPool, Node, Parallel
from inceptions.studies import variants
from inceptions.studies.base import BASE, compare_networks, shrink, shrink_googlenet, with_sides
from inceptions.studies.study import Arm, Claim, Study


def of_googlenet() -> Iterator[Study]:
    """Yield the studies of GoogLeNet's modules and what became of them."""
    normed, naive = shrink_googlenet(), shrink_googlenet("googlenet_naive")
    yield Study(
        "modules",
        "Naive modules, ones that reduce before 3x3 and 5x5, and ones that reduce all that they read",
        "1x1 reductions before 3x3 and 5x5 keep the accuracy at a fraction of the cost; at equal cost, to reduce all at once is worse",
        "1409.4842, section 4, Figure 2",
        compare_networks({"naive": naive, "reduced": normed, "reduced at once": variants.with_one_reduction(naive, 0.27)}),
        (Claim("reduced", "naive"), Claim("reduced", "reduced at once", by="accuracy")),
        "cost",
    )
    linear, relu = (reshape.factorize_5x5(normed, between=between) for between in (None, "relu"))
    yield Study(
        "five",
        "5x5 against two 3x3, linear or ReLU between",
        "two 3x3 are as accurate as a 5x5, and more with a ReLU between them than without",
        "1512.00567, section 3.1, Figure 2",
        compare_networks({"5x5": normed, "two 3x3, linear": linear, "two 3x3, ReLU": relu}),
        (Claim("two 3x3, ReLU", "5x5", no_worse=True), Claim("two 3x3, ReLU", "two 3x3, linear")),
    )
    early, late = ("conv1", "conv2"), ("3a", "3b", "4a", "4d", "5b")
    strips = {name: reshape.factorize_square(normed, stages=stages) for name, stages in {"early": early, "late": late}.items()}
    yield Study(
        "asymmetric",
        "n x n against 1 x n and n x 1, early and late",
        "1 x n and n x 1 do not work well on early layers, here on grids of 32 and 16, and do on later ones, here of 8 and 4",
        "1512.00567, section 3.2",
        compare_networks({"n x n": normed, **strips}),
        (Claim("late", "n x n", no_worse=True), Claim("n x n", "early"), Claim("late", "early")),
    )


def of_inception_v3() -> Iterator[Study]:
    """Yield the studies of Inception-v3's reductions and auxiliary heads."""
    normed = shrink_googlenet()
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
        compare_networks({name: variants.with_reductions(reduction) for name, reduction in reductions.items()}),
        (
            Claim("side by side", "pool, then widen"),
            Claim("side by side", "widen, then pool", by="cost"),
            Claim("side by side", "stride alone"),
        ),
    )
    both = {name: with_sides(normed, "3b", "4d", norm=norm) for name, norm in {"plain": False, "batch normalised": True}.items()}
    yield Study(
        "aux",
        "Auxiliary heads: none, plain, with batch normalisation",
        "auxiliary heads help the end of training, and more with batch normalisation; its beginning is as fast without",
        "1512.00567, section 4",
        compare_networks({"none": normed, **both}),
        (
            Claim("plain", "none"),
            Claim("batch normalised", "none"),
            Claim("batch normalised", "plain"),
            Claim("none", "batch normalised", no_worse=True, by="steps"),
        ),
    )


def of_residuals() -> Iterator[Study]:
    """Yield the studies of residual connections and their scale."""
    scaled = variants.with_fewer(shrink("inception_resnet_v1", width=0.3125, steps=2), block35=2, block17=3, block8=2)
    yield Study(
        "residual",
        "Modules without residual connections, with them, and with scaled ones",
        "residual connections speed training up, and are not necessary for the accuracy in the end; scaling them does no harm",
        "1602.07261, sections 2, 3.3 and 5",
        compare_networks(
            {"plain": variants.with_plain_modules(scaled), "residual": reshape.with_residual_scale(scaled, 1.0), "scaled": scaled}
        ),
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
        compare_networks(
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
        compare_networks({f"{scale:g}": variants.wide_residuals(scale) for scale in (0.1, 0.2, 0.3, 0.5, 1.0)}),
        (Claim("0.1", "1", by="deaths"), *(Claim(f"{scale:g}", "1") for scale in (0.1, 0.2, 0.3))),
    )


def of_separable() -> Iterator[Study]:
    """Yield the studies of Xception."""
    xception = reshape.without_stages(shrink("xception", width=0.25, steps=1), *(f"block{number}" for number in range(8, 13)))
    relu, elu = (reshape.with_depthwise_activation(xception, kind) for kind in ("relu", "elu"))
    yield Study(
        "depthwise-activation",
        "An activation between depthwise and pointwise convolution",
        "without an activation between them Xception learns faster and ends better than with ReLU or ELU",
        "1610.02357, section 4.7, Figure 10",
        compare_networks({"none": xception, "ReLU": relu, "ELU": elu}),
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
        compare_networks({"without": reshape.without_residuals(xception), "with": xception}),
        (Claim("with", "without"), Claim("with", "without", by="steps")),
    )
    yield Study(
        "separable-order",
        "Depthwise before pointwise convolution, or after it",
        "the order of the two halves of a separable convolution hardly matters where many are stacked",
        "1610.02357, section 1.2",
        compare_networks(
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


def of_principles() -> Iterator[Study]:
    """Yield the studies of design principles: heads, bottlenecks, width and depth, activations."""
    normed = shrink_googlenet()
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
        compare_networks({"none": normed, **squeezed}),
        (Claim("none", "early"), Claim("late", "early")),
    )
    shapes = {"1 wide module": 1, "2 modules": 2, "5 narrow modules": 5}
    yield Study(
        "width-depth",
        "Width against depth at equal cost",
        "width and depth in balance are better than either alone, at equal cost",
        "1512.00567, section 2, principle 4",
        compare_networks({name: variants.of_shape(count) for name, count in shapes.items()}),
        (Claim("2 modules", "1 wide module"), Claim("2 modules", "5 narrow modules")),
    )
    sides = {"lower": ("3b",), "upper": ("4d",), "both": ("3b", "4d")}
    yield Study(
        "aux-where",
        "Auxiliary heads on 3b, on 4d, on both",
        "the lower of the two auxiliary heads can go without harm",
        "1512.00567, section 4",
        compare_networks({"none": normed, **{name: with_sides(normed, *after, norm=True) for name, after in sides.items()}}),
        (Claim("upper", "both", no_worse=True), Claim("upper", "none")),
    )
    yield Study(
        "activation-after-pointwise",
        "An activation after the 1x1 reductions, or none",
        "where a convolution that reads all channels follows a 1x1, an activation between them helps",
        "1610.02357, section 4.7, of Inception modules",
        compare_networks({"ReLU": normed, "none": variants.with_linear_reductions(normed)}),
        (Claim("ReLU", "none"),),
    )
