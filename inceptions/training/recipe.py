"""What a recipe is: a frozen value with everything that decides how a network is trained but the network and the images.

Enters YAML's types or `field=value` lines, leaves a checked `Recipe`; and back.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Literal, get_args

import yaml

from inceptions.data.augment import Augment
from inceptions.errors import UserError
from inceptions.training.schedules import Constant, Exponential, OneCycle, Schedule, Steps

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


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam (1412.6980)."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    kind: Literal["adam"] = "adam"


Optimizer = Sgd | RMSProp | Adam


@dataclass(frozen=True, slots=True)
class Finetune:
    """How trained weights are trained further. The parts of a network open from the top; the classifiers are always open.

    freeze_epochs: the first epochs, in which the classifiers alone train.
    head_only: the classifiers alone train in every epoch; then the body is a fixed function of the picture.
    layer_decay: each part's learning rate is this many times that of the part above it; the classifiers have the full rate.
    unfreeze_per_epoch: how many parts open in each epoch after `freeze_epochs`; 0 opens all of them at once.
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

    def __post_init__(self) -> None:
        for name in ("freeze_epochs", "unfreeze_per_epoch"):
            value = getattr(self, name)
            _check(name, value, isinstance(value, int) and not isinstance(value, bool) and value >= 0, "a whole number, 0 or more")
        _check("head_only", self.head_only, isinstance(self.head_only, bool), "true or false")
        is_number = isinstance(self.layer_decay, int | float) and not isinstance(self.layer_decay, bool)
        _check("layer_decay", self.layer_decay, is_number and 0 < self.layer_decay <= 1, "a number above 0 and at most 1")
        _check("batch_norm", self.batch_norm, self.batch_norm in get_args(BatchNormMode), f"one of {', '.join(get_args(BatchNormMode))}")
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
        if not 0 < self.decay < 1:
            raise UserError(f"average.decay is {self.decay}; it must lie between 0 and 1")

    def decay_after(self, steps: int) -> float:
        """Return the decay of the step that follows `steps` others."""
        return min(self.decay, (1 + steps) / (10 + steps)) if self.warmup else self.decay


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    source: where it is from; cost, expect: what it takes and what comes out, in words; model: the network that it is meant for.
    lr: the peak; None means 0.05 for a batch of 64 with batch normalisation and 0.01 without, in proportion to the batch.
    accumulate: parts that each batch is computed in, one after another. weight_decay: on kernels alone, added to their gradients.
    clip_norm: of all gradients together; None leaves them. aux_weight: of each auxiliary head in the loss; None: as the network declares.
    label_smoothing: spread over all classes, the true one too (1512.00567, section 7).
    class_weights: "balanced" weighs each class by the inverse of its share of the training images.
    mixup, cutmix: alpha of the Beta distribution that mixes pairs of images, 0 for none; with both, each batch takes one of them.
    bias_lr: the learning rate of batch normalisation's biases, in multiples of the others' (2404.00498, section 3.4).
    whiten: begin with a first convolution that whitens the patches of the images, and stays so, and hands on what it gets (`head_start`).
    lookahead: go back to a slow copy of the weights every five steps (`learner.Lookahead`).
    sync_bn: with several processes, batch normalisation over all of a step's images, and not over each process's share of them.
    average: what is kept is a running average; None keeps the weights themselves.
    progressive: pairs (share of the epochs, share of the side): until then, training images are that much smaller.
    train_on_val: learn from the validation images too, where there are test images; the last epoch then counts as the best.
    early_stop: epochs without a better validation accuracy after which to stop; 0 never.
    asynchronous: worker processes of asynchronous SGD with a parameter server; 0 trains in step.
    precision: "auto" is bfloat16 where the device has it, with the weights in float32.
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
    aux_weight: float | None = None
    drop_rate: float | None = None
    bn_momentum: float | None = None
    bias_lr: float = 1.0
    whiten: bool = False
    lookahead: bool = False
    sync_bn: bool = False
    mixup: float = 0.0
    cutmix: float = 0.0
    average: Average | None = None
    augment: Augment = field(default_factory=Augment)
    progressive: tuple[tuple[float, float], ...] = ()
    train_on_val: bool = False
    finetune: Finetune | None = None
    early_stop: int = 0
    asynchronous: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0
    on_error: Literal["fail", "skip"] = "fail"

    def __post_init__(self) -> None:
        _check_whole(self, epochs=1, batch_size=2, accumulate=1, early_stop=0, asynchronous=0, seed=0)
        _check_range(self, weight_decay=(0, 10), label_smoothing=(0, 0.999), mixup=(0, 100), cutmix=(0, 100), bias_lr=(0, 1000))
        if self.lr is not None and not 0 < self.lr < float("inf"):
            raise UserError(f"lr is {self.lr}; it must be above 0")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise UserError(f"clip_norm is {self.clip_norm}; it must be above 0, or none (null) to leave gradients as they are")
        if self.batch_size // self.accumulate < 2:
            raise UserError(f"batch_size {self.batch_size} in {self.accumulate} parts leaves fewer than 2 images; lower accumulate")
        if any(not 0 < until <= 1 or not 0 < side <= 1 for until, side in self.progressive):
            raise UserError(f"progressive is {self.progressive}; each pair must be two shares above 0, at most 1")

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe in YAML's own types."""
        return _plain(asdict(self))


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe of what `to_dict` gave; UserError names the field that can't be."""
    from pydantic import ValidationError

    try:
        return _adapter().validate_python(dict(values), strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if str(part) not in _KINDS)
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(message if first["type"] == "value_error" else f"{where} is {first['input']!r}; {message.lower()}") from None


def change(recipe: Recipe, lines: Sequence[str]) -> Recipe:
    """Return the recipe with `field=value` lines applied, such as `lr=0.1`, `optimizer.momentum=0.8`, `schedule=one_cycle`.

    Values are YAML. Raises UserError: a line without "=", a field that there is not (the nearest is named), a value that can't be.
    """
    values = asdict(recipe)
    for line in lines:
        key, sign, text = line.partition("=")
        if not sign:
            raise UserError(f"--set {line}: needed is FIELD=VALUE, such as lr=0.1")
        _put(values, key.strip().split("."), _read_value(line, text))
    return recipe_from_dict(values)


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    for depth, key in enumerate(path):
        if not isinstance(values, dict) or key not in values:
            _refuse(path, depth, values)
        if depth == len(path) - 1:
            values[key] = asdict(_KINDS[value]()) if isinstance(value, str) and value in _KINDS else value
        elif values[key] is None:
            values[key] = _plain(asdict(_EMPTY[key]())) if key in _EMPTY else {}
        values = values[key]


def _refuse(path: list[str], depth: int, values: Any) -> None:
    names = sorted(values) if isinstance(values, dict) else []
    close = difflib.get_close_matches(path[depth], names, n=1)
    hint = f"did you mean {'.'.join([*path[:depth], close[0]])}?" if close else f"fields are {', '.join(names)}"
    raise UserError(f"--set {'.'.join(path)}: no such field; {hint}")


def _read_value(line: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {line}: the value is no YAML; write a number, a word or a list such as [0.5, 1.0]") from None
    if isinstance(value, str):  # YAML 1.1 reads 1e-4 as a word
        try:
            return float(value)
        except ValueError:
            return None if value.lower() == "none" else value
    return value


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Recipe)


def _check_whole(recipe: Recipe, **least: int) -> None:
    for name, lowest in least.items():
        value = getattr(recipe, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise UserError(f"{name} is {value!r}; it must be a whole number, at least {lowest}")


def _check_range(recipe: Recipe, **limits: tuple[float, float]) -> None:
    for name, (low, high) in limits.items():
        value = getattr(recipe, name)
        if not isinstance(value, int | float) or not low <= value <= high:
            raise UserError(f"{name} is {value!r}; it must be a number from {low} to {high}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value


def _check_decay(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise UserError(f"{name} is {value}; it must be at least 0 and below 1")


def _check(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise UserError(f"{name} is {value!r}; it must be {allowed}")


_EMPTY = {"average": Average, "finetune": Finetune}
_KINDS = {kind().kind: kind for kind in (Sgd, RMSProp, Adam, OneCycle, Exponential, Steps, Constant)}
