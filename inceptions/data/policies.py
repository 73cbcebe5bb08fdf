"""Vary a picture by operations drawn at random: enters an 8-bit one ("RGB" or "L"), leaves it turned, moved or in other light.

    randaugment        RandAugment, arXiv:1909.13719: some of 14 operations, one after another, all of one magnitude
    trivialaugment     TrivialAugment, arXiv:2103.10158, with its wide ranges: one operation, of a magnitude that is drawn too

Both are torchvision's. What comes in at an edge is of the middle level, as in RandAugment's released code, where torchvision has black.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from inceptions.data.bands import Bands, Picture
from inceptions.errors import UserError

if TYPE_CHECKING:
    from torchvision.transforms import v2  # which takes two seconds to import

Policy = Literal["none", "randaugment", "trivialaugment"]
MOST_MAGNITUDE = 30  # of torchvision's levels from 0
_MIDDLE = 128


def vary(image: Picture, policy: Policy, rng: np.random.Generator, *, operations: int, magnitude: int) -> Picture:
    """Return the picture varied as `policy` says; "none" gives the picture itself and draws nothing.

    operations, magnitude: of randaugment: how many, and how strong, from 0 to 30.

    Raises UserError for a picture that is neither RGB nor grey.
    """
    if policy == "none":
        return image
    if isinstance(image, Bands) or image.mode not in ("RGB", "L"):
        raise UserError(f"augment: policy='{policy}' can't vary a picture of {image.mode}, only RGB and grey; set augment.policy=none")
    from inceptions.data.chance import ChanceFrom

    with ChanceFrom(rng):
        return _transform(policy, operations, magnitude)(image)


@cache
def _transform(policy: Policy, operations: int, magnitude: int) -> v2.Transform:
    from torchvision.transforms import v2

    if policy == "randaugment":
        return v2.RandAugment(operations, magnitude, MOST_MAGNITUDE + 1, fill=_MIDDLE)
    return v2.TrivialAugmentWide(fill=_MIDDLE)
