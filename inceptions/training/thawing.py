"""Which parts of a network train when: enters settings, leaves how many parts are open in an epoch; `finetune` opens them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from inceptions.errors import UserError

BatchNormMode = Literal["frozen", "train"]


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


def _check(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise UserError(f"{name} is {value!r}; it must be {allowed}")
