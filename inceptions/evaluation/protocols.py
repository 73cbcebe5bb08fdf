"""How the publishers of each source crop an image for one prediction: enters a model's card, leaves the preprocessing of a protocol.

The size of the input and the scale of its pixels belong to the weights and stay. Numbers are those of 224 and 299 pixels, and in proportion
for other sizes. timm has a crop for each of its checkpoints; a model of another source gets that of its network there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches

from inceptions.data.preprocess import Preprocess
from inceptions.errors import UserError
from inceptions.weights.card import ModelCard

# Central part of each side, by tag or network: crop_pct of the default_cfgs of timm 1.0.31; 0.875 for others.
_TIMM_CROPS = {
    "inception_resnet_v2": 0.8975,
    "xception": 0.8975,
    "xception41": 0.903,
    "xception65": 0.903,
    "xception71": 0.903,
    "xception65.ra3_in1k": 0.94,
    "xception41p": 0.94,
    "xception65p": 0.94,
}


def _tensorflow(card: ModelCard) -> Preprocess:
    return replace(card.preprocess, resize="central", resize_size=None, crop_fraction=0.875, interpolation="bilinear")


def _torchvision(card: ModelCard) -> Preprocess:
    own = card.preprocess
    return replace(own, resize="shorter", resize_size=round(own.image_size * 256 / 224), interpolation="bilinear")


def _timm(card: ModelCard) -> Preprocess:
    own, tag = card.preprocess, str(card.provenance.get("tag"))
    crop = _TIMM_CROPS.get(tag) or _TIMM_CROPS.get(card.network.name, 0.875)
    return replace(own, resize="shorter", resize_size=int(own.image_size / crop), interpolation="bicubic")


def _caffe(card: ModelCard) -> Preprocess:
    own = card.preprocess
    return replace(own, resize="squash", resize_size=round(own.image_size * 256 / 224), interpolation="bilinear")


PROTOCOLS: dict[str, tuple[Callable[[ModelCard], Preprocess], str]] = {
    "model": (lambda card: card.preprocess, "as the model's card says"),
    "tensorflow": (_tensorflow, "the central 87.5 % of each side, brought to the input's size whatever its aspect; bilinear"),
    "torchvision": (_torchvision, "the shorter side to 256 (342 for 299), the centre; bilinear"),
    "timm": (_timm, "the shorter side to 256 (318 to 341 for 299, as timm has it for each checkpoint), the centre; bicubic"),
    "caffe": (_caffe, "squashed to 256 x 256 (342 x 342), the centre; bilinear"),
}
"""How one crop is taken, by name: what makes the `Preprocess` of a model's card, and what it does in words."""


def with_protocol(card: ModelCard, name: str) -> Preprocess:
    """Return a model's preprocessing with the crop of the protocol called `name`. Raises UserError as `check_protocol` does."""
    check_protocol(name)
    return PROTOCOLS[name][0](card)


def check_protocol(name: str) -> None:
    """Raise UserError, with the nearest name, where no protocol is called `name`."""
    if name not in PROTOCOLS:
        near = get_close_matches(name, PROTOCOLS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PROTOCOLS)}"
        raise UserError(f"protocol={name}: no such protocol; {hint}")
