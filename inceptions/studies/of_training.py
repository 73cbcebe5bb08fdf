"""Studies of training and of use: batch normalisation, recipes, the loss where training goes, and crops and models averaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from inceptions.networks import reshape
from inceptions.studies import variants
from inceptions.studies.base import BASE, PLAIN_LR, compare_networks, compare_recipes, shrink_googlenet
from inceptions.studies.study import Arm, BatchNoise, Claim, Study
from inceptions.training.recipe import Adam, RMSProp, Sgd


def of_normalisation() -> Iterator[Study]:
    """Yield the studies of batch normalisation."""
    normed = shrink_googlenet()
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
        compare_networks({"before": normed, "after": variants.with_norm_after(normed)}),
        (Claim("before", "after"),),
    )
    yield Study(
        "bn-batch",
        "Batch normalisation over 128, 32 and 4 images of each step's 128",
        "the fewer images batch normalisation takes its statistics of, the lower the accuracy",
        "1502.03167, section 3; 1702.03275, section 1",
        compare_recipes({"128": BASE, "32": replace(BASE, accumulate=4), "4": replace(BASE, accumulate=32)}),
        (Claim("128", "32"), Claim("32", "4")),
    )


def of_recipes() -> Iterator[Study]:
    """Yield the studies of recipes."""
    yield Study(
        "label-smoothing",
        "Label smoothing",
        "label smoothing of 0.1 makes errors fewer, by 0.2 % on ImageNet",
        "1512.00567, section 7",
        compare_recipes({"none": BASE, "0.1": replace(BASE, label_smoothing=0.1)}),
        (Claim("0.1", "none"),),
    )
    rates = {"none": BASE, "0.4": replace(BASE, drop_rate=None)}  # None: as the network has it
    plain = reshape.without_batch_norm(shrink_googlenet())
    yield Study(
        "dropout",
        "Dropout before the classifier, with and without batch normalisation",
        "dropout before the classifier stays essential, but not with batch normalisation",
        "1409.4842, section 5; 1502.03167, section 4.2.1",
        (*compare_recipes(rates), *(Arm(f"{name}, not normalised", plain, replace(recipe, lr=PLAIN_LR)) for name, recipe in rates.items())),
        (Claim("0.4, not normalised", "none, not normalised"), Claim("none", "0.4", no_worse=True)),
    )
    plain_momentum, at_its_rate = "SGD, plain momentum", "RMSProp at SGD's rate"
    paper = replace(BASE, optimizer=RMSProp(epsilon=1.0), lr=0.045)  # with this epsilon gradients are divided by hardly more than 1
    yield Study(
        "optimizer",
        "SGD with momentum, Nesterov's and plain, against RMSProp, at the paper's rate and at SGD's",
        "the best models were achieved with RMSProp, not with momentum",
        "1512.00567, section 8",
        compare_recipes(
            {
                "SGD": BASE,
                plain_momentum: replace(BASE, optimizer=Sgd()),
                "RMSProp": paper,
                at_its_rate: replace(paper, lr=BASE.lr),
            }
        ),
        tuple(Claim(*pair) for pair in (("RMSProp", "SGD"), (at_its_rate, "SGD"), (at_its_rate, plain_momentum))),
    )
    yield Study(
        "asynchronous",
        "SGD in step against asynchronous",
        "in step, training reaches a better accuracy than with gradients that are computed on weights of some updates ago",
        "1604.00981",
        compare_recipes({"in step": BASE, **{f"{count} workers": replace(BASE, asynchronous=count) for count in (2, 4)}}),
        (Claim("in step", "2 workers"), Claim("in step", "4 workers")),
    )


def of_averages() -> Iterator[Study]:
    """Yield the studies of crops and models averaged."""
    yield Study(
        "averages",
        "More crops and more models averaged",
        "averaging softmax over more crops of an image, and over more models that differ in their seed alone, makes errors fewer",
        "1409.4842, section 7, Table 3",
        compare_networks({"model": shrink_googlenet()}),
        (),
        "averages",
        seeds=7,
    )
    yield Study(
        "crops-budget",
        "Accuracy against multiply-adds, by crops",
        "errors grow fewer with more crops, and less so the more there are already",
        "1409.4842, section 7",
        compare_networks({"model": shrink_googlenet()}),
        (),
        "averages",
        crops=(1, 10, 12, 144),
    )


def of_landscapes() -> Iterator[Study]:
    """Yield the studies of the loss where training goes."""
    normed = shrink_googlenet()
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
