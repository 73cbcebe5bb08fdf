"""The claims of the note that the guide follows, in its order, and what stands for each here; `guide.py` makes the list of them."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["drawn", "computed", "run", "not possible here"]


class Claim(NamedTuple):
    """A claim, the paper that makes it, and where what stands for it is: a page with an anchor, or a study's name where one is run.

    about: a pattern of those verdicts of the study that are on this claim; of all, if there is none. outcome: what was found of a claim
    that no study judges, where it isn't simply so, or what is to be said of a study's verdicts.
    """

    said: str
    source: str
    kind: Kind
    place: str
    about: str = ""
    outcome: str = ""


CHAPTERS: dict[str, tuple[Claim, ...]] = {
    "GoogLeNet": (
        Claim(
            "Of two convolutions in a row, cost grows with the square of their width",
            "1409.4842, 3",
            "computed",
            "googlenet.md#the-problem",
        ),
        Claim(
            "If a sparse network can describe the images, clustering units whose outputs go together finds it",
            "1409.4842, 2 and 3; 1310.6343",
            "not possible here",
            "images that are made by such a network: it is a theorem on these",
        ),
        Claim("Parallel kernels of several sizes make a module", "1409.4842, 4, Figure 2", "drawn", "googlenet.md#the-idea"),
        Claim("Naive modules grow wider and dearer one after another", "1409.4842, 4", "computed", "googlenet.md#what-it-costs"),
        Claim("1x1 reductions keep the accuracy at a fraction of the cost", "1409.4842, 4", "run", "modules", "^reduced takes"),
        Claim(
            "Reducing only before 3x3 and 5x5 is right, for what is dense is hard to work with",
            "1409.4842, 4",
            "run",
            "modules",
            "than reduced at once",
        ),
        Claim(
            "Average pooling in place of fully connected layers gains 0.6 points",
            "1409.4842, 5",
            "run",
            "pooling-head",
            outcome="(That is not the average's alone.)",
        ),
        Claim("Average pooling has fewer parameters", "1409.4842, 5", "computed", "googlenet.md#the-rest-of-the-network"),
        Claim(
            "A linear layer behind the average makes it easy to adapt to other classes",
            "1409.4842, 5",
            "run",
            "../results.md#ants-and-bees-hymenoptera-244-training-and-153-validation-images",
            outcome="so, with Inception-v3, whose head is alike",
        ),
        Claim("Dropout before the classifier stays essential", "1409.4842, 5", "run", "dropout", "^0.4, not normalised"),
        Claim("The network's table", "1409.4842, Table 1", "computed", "../family/googlenet.md"),
        Claim(
            "Auxiliary heads on 4a and 4d, the loss of each with a weight of 0.3",
            "1409.4842, 5",
            "computed",
            "googlenet.md#the-rest-of-the-network",
        ),
        Claim("They are dropped when training is over", "1409.4842, 5", "computed", "googlenet.md#the-rest-of-the-network"),
        Claim("They bring gradients to the lower layers", "1409.4842, 5", "computed", "googlenet.md#the-rest-of-the-network"),
        Claim(
            "They make the network more accurate, by features of lower layers that discriminate and by regularisation",
            "1409.4842, 5",
            "run",
            "aux",
            "^plain is .* than none",
        ),
        Claim(
            "Images of 224 pixels, of which a mean is subtracted",
            "1409.4842, 5",
            "computed",
            "../weights.md#numerics-travel-with-the-weights",
        ),
        Claim(
            "Asynchronous workers trained it with a parameter server; to wait for one another is better",
            "1409.4842, 6; 1604.00981",
            "run",
            "asynchronous",
        ),
        Claim(
            "Training crops of 8 to 100 % of the area, aspect ratios of 3/4 to 4/3, one of four interpolations",
            "1409.4842, 6",
            "computed",
            "googlenet.md#how-it-was-trained-and-tested",
        ),
        Claim("144 crops, 4 x 3 x 6 x 2", "1409.4842, 7", "computed", "../evaluate.md"),
        Claim("More crops and models make errors fewer", "1409.4842, Table 3", "run", "averages", "errors than"),
        Claim(
            "The gain of more crops falls as they become many",
            "1409.4842, 7",
            "run",
            "crops-budget",
            "the first gains|^each model, 12 crops|^each model, 144 crops",
        ),
        Claim(
            "6.67 % of top-5 error at ILSVRC 2014",
            "1409.4842, 7",
            "not possible here",
            "ImageNet's 1.3 million images and weeks on many GPUs",
        ),
    ),
    "Batch normalisation": (
        Claim("The same accuracy in a fraction of the steps", "1502.03167, 4.2", "run", "batch-norm", "of its steps|does not reach"),
        Claim(
            "A better accuracy in the end, though, the note adds, not in every network",
            "1502.03167, 4.2",
            "run",
            "batch-norm",
            "accurate than without",
        ),
        Claim("Higher learning rates become possible, and are faster", "1502.03167, 3.3 and 4.2", "run", "batch-norm", "^with, x5 reaches"),
        Claim("The network without it dies of five times its rate", "1502.03167, 4.2.2", "run", "batch-norm", "runs died"),
        Claim(
            "Small changes grow from layer to layer",
            "1502.03167, 1",
            "computed",
            "batch-normalisation.md#the-problem",
            outcome="so where weights are large, else they fade",
        ),
        Claim(
            "Initial weights need less care",
            "1502.03167, 3.3",
            "computed",
            "batch-normalisation.md#what-the-paper-claimed-and-what-is-found-here",
        ),
        Claim("Less need of dropout", "1502.03167, 3.4", "run", "dropout", "^none is"),
        Claim(
            "The gradient of a batch is the better the larger it is",
            "1502.03167, 1",
            "computed",
            "batch-normalisation.md#the-problem",
        ),
        Claim(
            "A batch takes less time than its images one by one",
            "1502.03167, 1",
            "run",
            "../benchmarks/inception_v3/benchmark.md",
            outcome="so, in less than half of it",
        ),
        Claim(
            "PCA whitening and ZCA whitening leave no correlations (that their variances differ is the note's, and isn't so)",
            "the note alone",
            "computed",
            "batch-normalisation.md#the-idea",
        ),
        Claim(
            "Normalising changes what a layer can express, and scale and shift give it back",
            "1502.03167, 3",
            "computed",
            "batch-normalisation.md#the-idea",
        ),
        Claim("Whitening whole layers costs too much", "1502.03167, 2 and 3", "computed", "batch-normalisation.md#the-idea"),
        Claim(
            "Each channel by its own mean and variance, then scale and shift",
            "1502.03167, 3",
            "computed",
            "batch-normalisation.md#the-idea",
        ),
        Claim("The backward pass", "1502.03167, 3", "computed", "batch-normalisation.md#the-idea"),
        Claim("Running averages at test time", "1502.03167, 3.1", "computed", "batch-normalisation.md#the-idea"),
        Claim("Before the activation, not after it", "1502.03167, 3.2", "run", "bn-place"),
        Claim("Batches must not be small", "1702.03275, 1", "run", "bn-batch"),
        Claim(
            "Two 3x3 in place of each 5x5, in nine modules nine layers more",
            "1502.03167, Appendix",
            "drawn",
            "batch-normalisation.md#the-network",
        ),
        Claim(
            "That takes a quarter more parameters and 30 % more work",
            "1502.03167, Appendix",
            "computed",
            "batch-normalisation.md#the-network",
            outcome="30 % more, and a quarter isn't so",
        ),
        Claim("Three modules at 28x28; 3c and 4e halve the grid", "1502.03167, Appendix", "computed", "../family/bn_inception.md"),
        Claim("Some modules pool by averages, some by maxima", "1502.03167, Appendix", "computed", "../family/bn_inception.md"),
        Claim(
            "A separable first convolution is cheaper, and takes more memory in training",
            "1502.03167, Appendix",
            "computed",
            "batch-normalisation.md#the-network",
        ),
        Claim(
            "The loss becomes smoother along the gradient",
            "1805.11604, 3.1, Figure 4",
            "run",
            "bn-smoothness",
            "along the gradient|smoothness",
        ),
        Claim(
            "The step of the layers below changes a layer's gradient no less: the shift of what layers read is not the reason",
            "1805.11604, 2.2",
            "run",
            "bn-smoothness",
            "changes a layer's gradient",
        ),
        Claim(
            "What a layer reads drifts no less with it than without",
            "1805.11604, 2, Figure 1",
            "run",
            "bn-smoothness",
            "^with: what a layer reads",
        ),
        Claim(
            "Noise after it, by which a layer's input drifts, does no harm",
            "1805.11604, 2.1, Figure 2",
            "run",
            "bn-smoothness",
            r"noise: .* steps as with to",
            outcome="(Less noise is a fifth of the paper's.)",
        ),
        Claim(
            "With such noise inputs drift more than without batch normalisation, and training is faster all the same",
            "1805.11604, 2.1, Figure 2",
            "run",
            "bn-smoothness",
            "noise: .* as without",
        ),
        Claim("Without it the loss has plateaus, with it none", "1612.04010", "run", "loss-surface", "plateau"),
        Claim(
            "4.8 % of top-5 error on ImageNet's test images", "1502.03167, 4.2.3", "not possible here", "ImageNet, and six networks on it"
        ),
    ),
    "Inception-v2 and v3": (
        Claim("No bottleneck early", "1512.00567, 2, principle 1", "run", "bottleneck"),
        Claim(
            "Wide representations before the classifier (that they learn faster was not tried)",
            "1512.00567, 2, principle 2",
            "drawn",
            "inception-v3.md#large-kernels-taken-apart",
        ),
        Claim("Reducing before spatial aggregation loses little", "1512.00567, 2, principle 3", "run", "modules", "^reduced takes"),
        Claim(
            "Width and depth in balance",
            "1512.00567, 2, principle 4",
            "run",
            "width-depth",
            outcome="(With ten epochs the first is no longer contradicted, nor shown.)",
        ),
        Claim("Two 3x3 save 28 % of a 5x5", "1512.00567, 3.1", "computed", "inception-v3.md#large-kernels-taken-apart"),
        Claim("Two 3x3 lose no accuracy against a 5x5", "1512.00567, 3.1", "run", "five", "than 5x5"),
        Claim("A ReLU between the two is better than none", "1512.00567, 3.1", "run", "five", "than two 3x3, linear"),
        Claim("1 x n and n x 1 save more the larger n is", "1512.00567, 3.2", "computed", "inception-v3.md#large-kernels-taken-apart"),
        Claim("They work on later layers and not on early ones", "1512.00567, 3.2", "run", "asymmetric"),
        Claim("The modules A, B and C", "1512.00567, Figures 5 to 7", "computed", "inception-v3.md#large-kernels-taken-apart"),
        Claim(
            "Auxiliary heads do not make the beginning faster",
            "1512.00567, 4",
            "run",
            "aux",
            "half-way",
        ),
        Claim(
            "They regularise, and more with batch normalisation (or dropout, which was not tried)",
            "1512.00567, 4",
            "run",
            "aux",
            "^batch normalised is",
        ),
        Claim("The lower of the two can go", "1512.00567, 4", "run", "aux-where", "than both"),
        Claim("One remains in Inception-v3, on 17x17", "1512.00567, 4", "computed", "inception-v3.md#auxiliary-heads-again"),
        Claim(
            "Pooling first is a bottleneck, widening first is dear, side by side is neither", "1512.00567, 5", "run", "reductions", "widen"
        ),
        Claim("A stride alone loses more than a stride and a pool", "1512.00567, 5", "run", "reductions", "than stride alone"),
        Claim("Modules stand on grids of 35, 17 and 8", "1512.00567, Table 1", "computed", "../family/inception_v3.md"),
        Claim(
            "It is a good start for other images than its own",
            "1512.00567, 1",
            "run",
            "../results.md#ants-and-bees-hymenoptera-244-training-and-153-validation-images",
            outcome="so: from random weights, by the recipe for these, far fewer are right after as many epochs",
        ),
        Claim(
            "Without smoothing the loss asks for ever larger gaps between logits, by gradients that are bounded",
            "1512.00567, 7",
            "computed",
            "inception-v3.md#labels-softened",
        ),
        Claim("Label smoothing gains 0.2 points", "1512.00567, 7", "run", "label-smoothing"),
        Claim("It is label-dropout, averaged", "1512.00567, 7", "computed", "inception-v3.md#labels-softened"),
        Claim("With it the best logits are finite", "1512.00567, 7", "computed", "inception-v3.md#labels-softened"),
        Claim(
            "RMSProp trains better than momentum",
            "1512.00567, 8",
            "run",
            "optimizer",
            outcome="(With the paper's epsilon it is nearly SGD with plain momentum; where none is named, SGD has Nesterov's.)",
        ),
        Claim("3.5 % of top-5 error with four networks", "1512.00567, 10", "not possible here", "ImageNet, and four networks on it"),
    ),
    "Inception-v4 and Inception-ResNet": (
        Claim("The modules of Inception-v4", "1602.07261, Figures 3 to 9", "computed", "../family/inception_v4.md"),
        Claim(
            "It is better than Inception-v3, and by the note at less cost",
            "1602.07261, 5",
            "computed",
            "inception-v4.md#inception-v4-no-residuals-and-simpler",
            outcome="dearer, and better by the paper's own numbers alone",
        ),
        Claim(
            "V is for no padding; without it what comes out is as large as what came in",
            "1602.07261, Figure 3; the note",
            "computed",
            "inception-v4.md#inception-v4-no-residuals-and-simpler",
            outcome="so at a stride of 1 alone",
        ),
        Claim("Inception-ResNet-v2 has Inception-v4's stem", "1602.07261, 3.2", "computed", "../family/inception_resnet_v2_paper.md"),
        Claim(
            "A linear 1x1 brings the branches to the width of what came in",
            "1602.07261, 3.2",
            "drawn",
            "inception-v4.md#inception-resnet-modules-that-add",
        ),
        Claim(
            "v1 costs what Inception-v3 costs, v2 what Inception-v4 costs",
            "1602.07261, 3.2",
            "computed",
            "inception-v4.md#inception-resnet-modules-that-add",
            outcome="v1 nearly, v2 costs less",
        ),
        Claim(
            "v1 and v2 are built alike, on grids of 35, 17 and 8",
            "1602.07261, 3.2, Figure 15",
            "computed",
            "inception-v4.md#inception-resnet-modules-that-add",
        ),
        Claim("Each is as accurate as the other of its pair", "1602.07261, 5", "not possible here", "ImageNet, and four networks on it"),
        Claim(
            "No batch normalisation after the sum, to save memory",
            "1602.07261, 3.2",
            "drawn",
            "inception-v4.md#inception-resnet-modules-that-add",
        ),
        Claim("Residual connections speed training up", "1602.07261, 5", "run", "residual", "of its steps|does not reach"),
        Claim("They are not necessary for the accuracy in the end", "1602.07261, 2 and 5", "run", "residual", "^plain is"),
        Claim(
            "Above 1,000 filters training dies without scaling",
            "1602.07261, 3.3",
            "run",
            "wide-residual",
            "runs died",
            outcome="(Our networks are shallow, and runs short.)",
        ),
        Claim("Scaling does no harm where it is not needed", "1602.07261, 3.3", "run", "residual", "^scaled is"),
        Claim("Scales of 0.1 to 0.3 steady it", "1602.07261, 3.3", "run", "scaling"),
        Claim("3.1 % of top-5 error with four networks", "1602.07261, 5", "not possible here", "ImageNet, and four networks on it"),
    ),
    "Xception": (
        Claim(
            "An Inception module's extreme form has one part for each channel",
            "1610.02357, 1.1 and 1.2, Figures 1 to 4",
            "drawn",
            "xception.md#the-idea-to-the-end",
        ),
        Claim("Separable convolutions take a fraction of the weights", "1610.02357, 1", "computed", "xception.md#what-it-costs"),
        Claim("As many parameters as Inception-v3", "1610.02357, Table 3", "computed", "xception.md#what-it-costs"),
        Claim("The order of depthwise and pointwise hardly matters", "1610.02357, 1.2", "run", "separable-order"),
        Claim("No activation between depthwise and pointwise is best", "1610.02357, 4.7", "run", "depthwise-activation"),
        Claim(
            "After a 1x1 that a convolution over all channels follows, an activation helps",
            "1610.02357, 4.7",
            "run",
            "activation-after-pointwise",
        ),
        Claim("Residual connections are essential", "1610.02357, 4.6", "run", "xception-residual"),
        Claim(
            "Better than Inception-v3, and sooner, on ImageNet and on 350 million images",
            "1610.02357, Tables 1 and 2",
            "not possible here",
            "ImageNet, and images that nobody else has",
        ),
        Claim("Xception-65 and 71 for DeepLabv3+", "1802.02611", "drawn", "xception.md#deeper-xception-41-65-and-71"),
    ),
}
