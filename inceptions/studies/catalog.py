"""The studies: the papers' own comparisons on networks made small by `reshape`, a minute or a few for each run of an arm on two cores.

Every arm trains with the recipe of its study, `BASE` where nothing else is said; what differs between arms is what the study is about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches

from inceptions.errors import UserError
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.networks.spec import AdaptiveAvgPool, AuxHead, Conv, MaxPool, Network, Node, Parallel, Residual, Stage
from inceptions.studies.study import Arm, Claim, Study
from inceptions.training.recipe import Recipe, RMSProp

BASE = Recipe(
    name="study",
    source="ours: the quick recipe, for a few epochs",
    model="googlenet",
    epochs=10,
    batch_size=64,
    lr=0.1,
    weight_decay=5e-4,
    label_smoothing=0.0,
    clip_norm=None,
)


def small(name: str, *, width: float = 0.25, steps: int = 2, aux: bool = False) -> Network:
    """Return a network of the family for images of 32 pixels, narrower: its first `steps` layers that halve the grid keep it."""
    network = reshape.scale_width(reshape.small_stem(get_network(name), image_size=32, steps=steps), width)
    return network if aux else reshape.without_aux(network)


def _modules() -> Study:
    reduced, naive = (reshape.with_batch_norm(small(name)) for name in ("googlenet", "googlenet_naive"))
    return Study(
        "modules",
        "Naive modules against reduced ones",
        "1x1 reductions before 3x3 and 5x5 keep the accuracy at a fraction of the cost",
        "1409.4842, section 4, Figure 2",
        (Arm("naive", naive, BASE), Arm("reduced", reduced, BASE)),
        (Claim("reduced", "naive"),),
        "cost",
    )


def _five() -> Study:
    five = reshape.with_batch_norm(small("googlenet"))
    return Study(
        "five",
        "5x5 against two 3x3, linear or ReLU between",
        "two 3x3 are as accurate as a 5x5, and more with a ReLU between them than without",
        "1512.00567, section 3.1, Figure 2",
        (
            Arm("5x5", five, BASE),
            Arm("two 3x3, linear", reshape.factorize_5x5(five, between=None), BASE),
            Arm("two 3x3, ReLU", reshape.factorize_5x5(five, between="relu"), BASE),
        ),
        (Claim("two 3x3, ReLU", "two 3x3, linear"),),
    )


def _asymmetric() -> Study:
    square = reshape.with_batch_norm(small("googlenet"))
    early, late = ("3a", "3b"), ("4a", "4b", "4c", "4d", "4e", "5a", "5b")
    return Study(
        "asymmetric",
        "n x n against 1 x n and n x 1, early and late",
        "1 x n and n x 1 do not work well on early layers, and do on medium grids",
        "1512.00567, section 3.2",
        (
            Arm("n x n", square, BASE),
            Arm("early", reshape.factorize_square(square, stages=early), BASE),
            Arm("late", reshape.factorize_square(square, stages=late), BASE),
        ),
        (Claim("late", "early"),),
    )


def _with_reductions(reduction: Callable[[int], Node]) -> Network:
    """Return a plain network that halves the grid twice by `reduction`, which doubles the channels to the number it is given."""
    block = (Conv(32, 3), Conv(32, 3))
    return Network(
        name="reductions",
        title="Three grids with a reduction between",
        source="ours, after 1512.00567, section 5",
        image_size=32,
        stages=(
            Stage("conv1", Conv(32, 3), 32, 32),
            Stage("block1", block, 32, 32),
            Stage("reduction1", reduction(64), 16, 64),
            Stage("block2", (Conv(64, 3), Conv(64, 3)), 16, 64),
            Stage("reduction2", reduction(128), 8, 128),
            Stage("block3", (Conv(128, 3), Conv(128, 3)), 8, 128),
        ),
        head=(AdaptiveAvgPool(),),
        classes=10,
    )


def _reductions() -> Study:
    reductions: dict[str, Callable[[int], Node]] = {
        "pool, then widen": lambda channels: (MaxPool(3, stride=2), Conv(channels, 1)),
        "widen, then pool": lambda channels: (Conv(channels, 3), MaxPool(3, stride=2)),
        "side by side": lambda channels: Parallel(conv3x3=Conv(channels // 2, 3, stride=2), pool=MaxPool(3, stride=2)),
    }
    return Study(
        "reductions",
        "Three ways to halve the grid",
        "a stride and a pool side by side avoid the bottleneck of pooling first, for less than widening first costs",
        "1512.00567, section 5, Figures 9 and 10",
        tuple(Arm(name, _with_reductions(reduction), BASE) for name, reduction in reductions.items()),
        (Claim("side by side", "pool, then widen"),),
    )


def _batch_norm() -> Study:
    normed = reshape.with_batch_norm(small("googlenet"))
    plain = reshape.without_batch_norm(normed)
    rates = {"x1": 0.01, "x5": 0.05, "x30": 0.3}
    slow = replace(BASE, lr=0.01)
    arms = (Arm("without, x1", plain, slow), *(Arm(f"with, {name}", normed, replace(BASE, lr=rate)) for name, rate in rates.items()))
    return Study(
        "batch-norm",
        "With and without batch normalisation, learning rates x1, x5, x30",
        "batch normalisation reaches the accuracy of the network without it in a fraction of the steps, and more so at higher rates",
        "1502.03167, section 4.2, Figures 2 and 3",
        (*arms, Arm("without, x5", plain, replace(BASE, lr=0.05))),
        (Claim("with, x1", "without, x1"), Claim("with, x5", "with, x1")),
        "steps",
    )


def _aux() -> Study:
    bare = reshape.with_batch_norm(small("googlenet"))

    def side(norm: bool) -> Network:
        layers = (AdaptiveAvgPool(4), Conv(32, 1, norm=norm))
        return replace(bare, aux=tuple(AuxHead(after, weight=0.3, layers=layers) for after in ("4a", "4d")))

    return Study(
        "aux",
        "Auxiliary heads: none, plain, with batch normalisation",
        "auxiliary heads help the end of training, and more with batch normalisation",
        "1512.00567, section 4",
        (Arm("none", bare, BASE), Arm("plain", side(False), BASE), Arm("batch normalised", side(True), BASE)),
        (Claim("plain", "none"), Claim("batch normalised", "none")),
    )


def _recipes(name: str, title: str, hypothesis: str, source: str, arms: dict[str, Recipe], claim: Claim) -> Study:
    """Return a study of recipes on one network."""
    network = reshape.with_batch_norm(small("googlenet"))
    return Study(name, title, hypothesis, source, tuple(Arm(arm, network, recipe) for arm, recipe in arms.items()), (claim,))


def _label_smoothing() -> Study:
    arms = {"none": BASE, "0.1": replace(BASE, label_smoothing=0.1)}
    said = "label smoothing of 0.1 makes errors fewer, by 0.2 % on ImageNet"
    return _recipes("label-smoothing", "Label smoothing", said, "1512.00567, section 7", arms, Claim("0.1", "none"))


def _dropout() -> Study:
    arms = {"none": replace(BASE, drop_rate=0.0), "0.4": replace(BASE, drop_rate=0.4)}
    said = "dropout before the classifier stays essential"
    return _recipes("dropout", "Dropout before the classifier", said, "1409.4842, section 5", arms, Claim("0.4", "none"))


def _optimizer() -> Study:
    rmsprop = replace(BASE, optimizer=RMSProp(epsilon=1.0), lr=0.045, clip_norm=2.0)
    said = "the best models were achieved with RMSProp, not with momentum"
    arms = {"SGD": BASE, "RMSProp": rmsprop}
    return _recipes("optimizer", "SGD with momentum against RMSProp", said, "1512.00567, section 8", arms, Claim("RMSProp", "SGD"))


def _asynchronous() -> Study:
    said = "in step, training reaches a better accuracy than with gradients that are computed on weights of some updates ago"
    arms = {"in step": BASE, **{f"{count} workers": replace(BASE, asynchronous=count) for count in (2, 4)}}
    study = _recipes("asynchronous", "SGD in step against asynchronous", said, "1604.00981", arms, Claim("in step", "2 workers"))
    return replace(study, claims=(*study.claims, Claim("in step", "4 workers")))


def _averages() -> Study:
    return Study(
        "averages",
        "More crops and more models averaged",
        "averaging softmax over more crops of an image, and over more models that differ in their seed alone, makes errors fewer",
        "1409.4842, section 7, Tables 2 and 3",
        (Arm("model", reshape.with_batch_norm(small("googlenet")), BASE),),
        (),
        "averages",
        seeds=7,
    )


def _residual() -> Study:
    scaled = small("inception_resnet_v1")
    return Study(
        "residual",
        "Plain, residual and scaled residual modules",
        "residual connections speed training up; scaling them down steadies wide networks",
        "1602.07261, sections 3.3 and 6",
        (
            Arm("plain", reshape.without_residuals(scaled), BASE),
            Arm("residual", reshape.with_residual_scale(scaled, 1.0), BASE),
            Arm("scaled", scaled, BASE),
        ),
        (Claim("residual", "plain"), Claim("scaled", "residual")),
    )


def _wide(scale: float) -> Network:
    """Return a network of ten residual modules on 1,152 filters, above the 1,000 of the paper's warning."""
    branches = Parallel(conv1x1=Conv(32, 1), conv3x3=(Conv(32, 1), Conv(32, 3)))
    module = Residual((branches, Conv(1152, 1, norm=False, activation=None)), scale=scale, activation="relu")
    return Network(
        name="wide",
        title="Ten residual modules on 1,152 filters",
        source="ours, after 1602.07261, section 3.3",
        image_size=32,
        stages=(
            Stage("conv1", Conv(64, 3), 32, 64),
            Stage("reduction", (Conv(128, 3, stride=2), Conv(128, 3, stride=2), Conv(1152, 1)), 8, 1152),
            Stage("residuals", (module,) * 10, 8, 1152),
        ),
        head=(AdaptiveAvgPool(),),
        classes=10,
    )


def _wide_residual() -> Study:
    return Study(
        "wide-residual",
        "Residual modules above 1,000 filters, with and without scaling",
        "above 1,000 filters training dies without scaling of the residuals, and is steady with scales of 0.1 to 0.3",
        "1602.07261, section 3.3",
        tuple(Arm(name, _wide(scale), BASE) for name, scale in {"unscaled": 1.0, "scaled by 0.3": 0.3, "scaled by 0.1": 0.1}.items()),
        (Claim("scaled by 0.3", "unscaled"), Claim("scaled by 0.1", "unscaled")),
    )


def _depthwise_activation() -> Study:
    none = small("xception", width=0.125)
    return Study(
        "depthwise-activation",
        "An activation between depthwise and pointwise convolution",
        "without an activation between them Xception learns faster and ends better than with ReLU or ELU",
        "1610.02357, section 4.7, Figure 10",
        (
            Arm("none", none, BASE),
            Arm("ReLU", reshape.with_depthwise_activation(none, "relu"), BASE),
            Arm("ELU", reshape.with_depthwise_activation(none, "elu"), BASE),
        ),
        (Claim("none", "ReLU"), Claim("none", "ELU")),
    )


def _xception_residual() -> Study:
    xception = small("xception", width=0.125)
    return Study(
        "xception-residual",
        "Xception with and without its residual connections",
        "residual connections are essential, both for speed and for the accuracy in the end",
        "1610.02357, section 4.6, Figure 9",
        (Arm("without", reshape.without_residuals(xception), BASE), Arm("with", xception, BASE)),
        (Claim("with", "without"),),
    )


_MAKERS: dict[str, Callable[[], Study]] = {
    "modules": _modules,
    "five": _five,
    "asymmetric": _asymmetric,
    "reductions": _reductions,
    "batch-norm": _batch_norm,
    "aux": _aux,
    "label-smoothing": _label_smoothing,
    "dropout": _dropout,
    "optimizer": _optimizer,
    "asynchronous": _asynchronous,
    "residual": _residual,
    "wide-residual": _wide_residual,
    "depthwise-activation": _depthwise_activation,
    "xception-residual": _xception_residual,
    "averages": _averages,
}


def list_studies() -> tuple[Study, ...]:
    """Return every study."""
    return tuple(make() for make in _MAKERS.values())


def get_study(name: str) -> Study:
    """Return the study called `name`; UserError names the nearest."""
    if name not in _MAKERS:
        near = get_close_matches(name, _MAKERS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_MAKERS)}"
        raise UserError(f"no study is called {name!r}; {hint}")
    return _MAKERS[name]()
