"""How the publishers of each source crop an image for one prediction: enters a model's own preprocessing, leaves that of a protocol.

The size of the input and the scale of its pixels belong to the weights and stay. Numbers are those of 224 and 299 pixels, and in proportion
for other sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches

from inceptions.data.preprocess import Preprocess
from inceptions.errors import UserError


def _tensorflow(own: Preprocess) -> Preprocess:
    return replace(own, resize="central", resize_size=None, crop_fraction=0.875, interpolation="bilinear")


def _torchvision(own: Preprocess) -> Preprocess:
    return replace(own, resize="shorter", resize_size=round(own.image_size * 256 / 224), interpolation="bilinear")


def _timm(own: Preprocess) -> Preprocess:
    return replace(own, resize="shorter", resize_size=int(own.image_size / 0.875), interpolation="bicubic")


def _caffe(own: Preprocess) -> Preprocess:
    return replace(own, resize="squash", resize_size=round(own.image_size * 256 / 224), interpolation="bilinear")


PROTOCOLS: dict[str, tuple[Callable[[Preprocess], Preprocess], str]] = {
    "model": (lambda own: own, "as the model's card says"),
    "tensorflow": (_tensorflow, "the central 87.5 % of each side, brought to the input's size whatever its aspect; bilinear"),
    "torchvision": (_torchvision, "the shorter side to 256 (342 for 299), the centre; bilinear"),
    "timm": (_timm, "the shorter side to 256 (341 for 299), the centre; bicubic"),
    "caffe": (_caffe, "squashed to 256 x 256 (342 x 342), the centre; bilinear"),
}


def with_protocol(own: Preprocess, name: str) -> Preprocess:
    """Return a model's preprocessing with the crop of the protocol called `name`. Raises UserError with the nearest name."""
    if name not in PROTOCOLS:
        near = get_close_matches(name, PROTOCOLS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PROTOCOLS)}"
        raise UserError(f"--protocol {name}: no such protocol; {hint}")
    return PROTOCOLS[name][0](own)
