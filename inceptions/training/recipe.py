"""What a recipe is: a frozen value with everything that decides how a network is trained but the network and the images.

Enters numbers and words, leaves a checked `Recipe`; and YAML's types of it. `settings` reads one.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal, get_args

from inceptions.data.augment import Augment
from inceptions.data.sampling import Sampling
from inceptions.errors import UserError
from inceptions.training.schedules import OneCycle, Schedule, check

BatchNormMode = Literal["frozen", "train"]


@dataclass(frozen=True, slots=True)
class Sgd:
    """Stochastic gradient descent with momentum."""

    momentum: float = 0.9
    nesterov: bool = False
    kind: Literal["sgd"] = "sgd"

    def __post_init__(self) -> None:
        _check_decay("optimizer.momentum", self.momentum)


@dataclass(frozen=True, slots=True)
class RMSProp:
    """TensorFlow's RMSProp, epsilon inside the root; the defaults are those of 1512.00567, section 8, and its released code."""

    decay: float = 0.9
    momentum: float = 0.9
    epsilon: float = 1.0
    kind: Literal["rmsprop"] = "rmsprop"

    def __post_init__(self) -> None:
        _check_decay("optimizer.decay", self.decay)
        _check_decay("optimizer.momentum", self.momentum)
        _check_epsilon(self.epsilon)


@dataclass(frozen=True, slots=True)
class _Moments:
    """What Adam and AdamW have in common: running means of the gradients and of their squares."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _check_decay("optimizer.beta1", self.beta1)
        _check_decay("optimizer.beta2", self.beta2)
        _check_epsilon(self.epsilon)


@dataclass(frozen=True, slots=True)
class Adam(_Moments):
    """Adam (1412.6980). epsilon: beside the root as it is before its bias is corrected, as TensorFlow's, the paper's epsilon hat."""

    kind: Literal["adam"] = "adam"


@dataclass(frozen=True, slots=True)
class AdamW(_Moments):
    """Adam with weight decay apart from the gradients (1711.05101), as torch has it: what is decayed is `lr * weight_decay` of a kernel."""

    kind: Literal["adamw"] = "adamw"


@dataclass(frozen=True, slots=True)
class Muon:
    """Momentum made orthogonal, for the kernels of convolutions; stochastic gradient descent, with Nesterov's momentum, for all else.

    K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. The learning rate is the share of a kernel that a
    step changes, about, and less where there are more filters than numbers in each. Steps are computed in bfloat16 where that is fast,
    whatever the precision. momentum: of kernels; rest_momentum: of all else, whose learning rate is `rest_lr` times as large. Kernels keep
    their length, for which weight decay is else; batch normalisation must follow them, or what they give can't grow.
    """

    momentum: float = 0.6
    rest_momentum: float = 0.85
    rest_lr: float = 10.0
    kind: Literal["muon"] = "muon"

    def __post_init__(self) -> None:
        _check_decay("optimizer.momentum", self.momentum)
        _check_decay("optimizer.rest_momentum", self.rest_momentum)
        check("optimizer.rest_lr", self.rest_lr, 0 < self.rest_lr <= 1000, "a number above 0, at most 1000")


Optimizer = Sgd | RMSProp | Adam | AdamW | Muon


@dataclass(frozen=True, slots=True)
class Finetune:
    """How trained weights are trained further. The parts of a network open from the top; the classifiers are always open.

    freeze_epochs: the first epochs, in which the classifiers alone train.
    head_only: the classifiers alone train in every epoch; then the body is a fixed function of the picture.
    layer_decay: each part's learning rate is this many times that of the part above it; the classifiers have the full rate.
    unfreeze_per_epoch: how many parts open in each epoch after `freeze_epochs`; 0 opens all of them at once.
    cache_features: where nothing varies the pictures (`augment` none, nothing mixed), what a frozen body makes of each is computed once
        and kept in memory; false computes it in every epoch, which gives the same.
    batch_norm: what becomes of the means and variances that batch normalisation has of the old images, in parts that are open.
        "frozen" computes with them and keeps them. Right for small sets and small batches, on which new ones would be noise, and for
        images like the old. Nothing then holds activations in their range, so it wants a lower learning rate than "train".
        "train" normalises by each batch and lets them follow. Right for images that look unlike the old (grey, medical, from above),
        in batches of 32 and more and some hundred steps, for they follow slowly.
        What scales and shifts after normalising (gamma, beta) trains in both.

    In a frozen part nothing changes, ever: not the weights, nor these statistics, and the part computes as in evaluation. Old Keras
    stopped the weights alone: `trainable=False` layers normalised by the batch in `fit` and by the old statistics in `evaluate`, so the
    classifier was trained on features that it never met again: 93 % in fit, 25 % in evaluate (keras#9214, keras#10045).

    Raises UserError that names the setting and says what is allowed.
    """

    freeze_epochs: int = 0
    head_only: bool = False
    layer_decay: float = 1.0
    unfreeze_per_epoch: int = 0
    batch_norm: BatchNormMode = "frozen"
    cache_features: bool = True

    def __post_init__(self) -> None:
        for name in ("freeze_epochs", "unfreeze_per_epoch"):
            value = getattr(self, name)
            check(name, value, _is_number(value) and isinstance(value, int) and value >= 0, "a whole number, 0 or more")
        for name in ("head_only", "cache_features"):
            check(name, getattr(self, name), isinstance(getattr(self, name), bool), "true or false")
        check("layer_decay", self.layer_decay, _is_layer_decay(self.layer_decay), "a number above 0 and at most 1")
        check("batch_norm", self.batch_norm, self.batch_norm in get_args(BatchNormMode), f"one of {', '.join(get_args(BatchNormMode))}")
        for name, default in (("freeze_epochs", 0), ("unfreeze_per_epoch", 0), ("layer_decay", 1)):
            if self.head_only and getattr(self, name) != default:
                raise UserError(f"{name} is {getattr(self, name)}, but head_only opens nothing but the head; leave out one of the two")

    def open_parts(self, *, epoch: int) -> float:
        """Return how many parts from the top train in `epoch`, counted from 1; infinity for all."""
        if self.head_only or epoch <= self.freeze_epochs:
            return 1
        return 1 + self.unfreeze_per_epoch * (epoch - self.freeze_epochs) if self.unfreeze_per_epoch else math.inf


@dataclass(frozen=True, slots=True)
class Average:
    """A running average of the weights, and of the statistics of batch normalisation with them, which validation, best/ and last/ are of.

    decay: of each step. warmup: begin with a smaller one, min(decay, (1 + n) / (10 + n)) after n steps, as TensorFlow's `num_updates`.
    """

    decay: float = 0.9999
    warmup: bool = True

    def __post_init__(self) -> None:
        check("average.decay", self.decay, 0 < self.decay < 1, "a number between 0 and 1")

    def decay_after(self, steps: int) -> float:
        """Return the decay of the step that follows `steps` others."""
        return min(self.decay, (1 + steps) / (10 + steps)) if self.warmup else self.decay


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    source: where it is from; cost, expect: what it takes and what comes out, in words; model: the network that it is meant for.
    lr: the peak; None means the optimizer's own (`recipes.peak_lr`).
    accumulate: parts that each batch is computed in, one after another. weight_decay: on kernels alone, added to their gradients.
    clip_norm: of all gradients together; None leaves them. aux_weight: of each auxiliary head in the loss; None: as the network declares.
    drop_rate: before the classifier; None: as the network declares.
    bn_momentum: the share of each batch in the running statistics of batch normalisation; None: as the network declares. A run that begins
        with random weights starts with a larger one, of 9 / (10 + n) after n steps and at most 0.1: after 1,860 steps of 0.0003 alone, 57 %
        of the statistics would be those that nobody has measured. The released code has no such start, and needs none in millions of steps.
    label_smoothing: spread over all classes, the true one too (1512.00567, section 7).
    class_weights: "balanced" weighs each class by the inverse of its share of the training images.
    sampling: of the training images, an epoch has as many as there are: "each_once"; "balanced", every class as often as every other; or
        "square_root", classes in proportion to the square roots of their numbers of images.
    mixup, cutmix: alpha of the Beta distribution that mixes pairs of images, 0 for none; with both, each batch takes one of them.
    bias_lr: the learning rate of batch normalisation's biases, in multiples of the others' (2404.00498, section 3.4).
    layer_decay: each part's learning rate is this many times that of the part above it; the classifiers have the full rate, and parts are
        the stages and what is above them. With finetune, its own holds.
    whiten: begin with a first convolution that whitens the patches of the images, and stays so, and hands on what it gets (`head_start`).
    lookahead: go back to a slow copy of the weights every five steps (`followers.Lookahead`).
    sync_bn: with several processes, batch normalisation over all of a step's images, and not over each process's share of them.
    average: what is kept is a running average; None keeps the weights themselves.
    augment: how training pictures are varied; None prepares them as in evaluation.
    progressive: pairs (share of the epochs, share of the side): until then, training images are that much smaller.
    train_on_val: learn from the validation images too, where there are test images; the last epoch then counts as the best.
    early_stop: epochs without a better validation accuracy after which to stop; 0 never.
    asynchronous: worker processes of asynchronous SGD with a parameter server; 0 trains in step.
    precision: "auto" is bfloat16 where the device has it, with the weights in float32; on cards that have float16 alone, such as V100 and
        T4, it is that, for networks with batch normalisation, which holds activations in its range. float16 scales losses
        (`gradients.LossScale`), and steps that it passes over count for no learning rate, lookahead or average.
    compile: torch.compile's mode, which takes minutes at the first step, and pays in long runs on a GPU, or none. "reduce-overhead" records
        a step's kernels and plays them back.
    seed: of weights, order and augmentation. split_seed: of the parts that are set aside, so that runs of other seeds are tested on images
        that none of them has learned from.
    """

    name: str = "quick"
    source: str = "ours"
    cost: str = ""
    expect: str = ""
    model: str = "inception_small"
    epochs: int = 20
    batch_size: int = 64
    accumulate: int = 1
    lr: float | None = None
    optimizer: Optimizer = field(default_factory=lambda: Sgd(nesterov=True))
    schedule: Schedule = field(default_factory=OneCycle)
    weight_decay: float = 5e-4
    clip_norm: float | None = 2.0
    label_smoothing: float = 0.1
    class_weights: Literal["none", "balanced"] = "none"
    sampling: Sampling = "each_once"
    aux_weight: float | None = None
    drop_rate: float | None = None
    bn_momentum: float | None = None
    bias_lr: float = 1.0
    layer_decay: float = 1.0
    whiten: bool = False
    lookahead: bool = False
    sync_bn: bool = False
    mixup: float = 0.0
    cutmix: float = 0.0
    average: Average | None = None
    augment: Augment | None = field(default_factory=Augment)
    progressive: tuple[tuple[float, float], ...] = ()
    train_on_val: bool = False
    finetune: Finetune | None = None
    early_stop: int = 0
    asynchronous: int = 0
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: Literal["none", "default", "reduce-overhead", "max-autotune"] = "none"
    seed: int = 0
    split_seed: int = 0
    on_error: Literal["fail", "skip"] = "fail"

    def __post_init__(self) -> None:
        for name, least in _WHOLE.items():
            value = getattr(self, name)
            holds = _is_number(value) and isinstance(value, int) and least <= value < 2**32
            check(name, value, holds, f"a whole number, at least {least} and below 2^32")
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            check(name, value, _is_number(value) and low <= value <= high, f"a number from {low:g} to {high:g}")
        for name, (low, high) in _OPTIONAL.items():
            value = getattr(self, name)
            holds = value is None or (_is_number(value) and low <= value <= high)
            check(name, value, holds, f"a number from {low:g} to {high:g}, or none")
        for name, high in _POSITIVE.items():
            value = getattr(self, name)
            holds = value is None or (_is_number(value) and 0 < value <= high and value < math.inf)
            check(name, value, holds, f"a number above 0{'' if high == math.inf else f', at most {high:g}'}, or none")
        check("layer_decay", self.layer_decay, _is_layer_decay(self.layer_decay), "a number above 0 and at most 1")
        if self.finetune and self.layer_decay != 1:
            raise UserError(f"layer_decay is {self.layer_decay}, but this recipe has finetune, with its own; set finetune.layer_decay")
        if self.batch_size // self.accumulate < 2:
            raise UserError(f"batch_size {self.batch_size} in {self.accumulate} parts leaves fewer than 2 images; lower accumulate")
        shares = all(0 < until <= 1 and 0 < side <= 1 for until, side in self.progressive)
        rising = all(one[0] < next_[0] for one, next_ in pairwise(self.progressive))
        check("progressive", self.progressive, shares and rising, "pairs of shares above 0, at most 1, of which the first rise")

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe in YAML's own types."""
        return _plain(asdict(self))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_layer_decay(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


def _check_decay(name: str, value: float) -> None:
    check(name, value, 0 <= value < 1, "at least 0 and below 1")


def _check_epsilon(value: float) -> None:
    check("optimizer.epsilon", value, 0 < value < math.inf, "a number above 0")


_WHOLE = {"epochs": 1, "batch_size": 2, "accumulate": 1, "early_stop": 0, "asynchronous": 0, "seed": 0, "split_seed": 0}
_LIMITS = {"weight_decay": (0, 10), "label_smoothing": (0, 0.999), "mixup": (0, 100), "cutmix": (0, 100), "bias_lr": (0, 1000)}
_OPTIONAL = {"aux_weight": (0, 100), "drop_rate": (0, 0.999)}
_POSITIVE = {"lr": math.inf, "clip_norm": math.inf, "bn_momentum": 1}
