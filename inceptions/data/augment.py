"""Vary a training picture: enters an upright picture and a generator of random numbers, leaves the pixels of a square one, still 8-bit.

A crop of random area and aspect brought to the network's size, and its mirror image half of the time: "Going deeper with convolutions",
arXiv:1409.4842, section 6; then it is varied as `policies` says, and its colours as `photometric` does. All chance comes from the generator
that is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import get_args

import numpy as np
from PIL import Image

from inceptions.data.bands import Bands, Picture
from inceptions.data.photometric import Colour, distort
from inceptions.data.policies import MOST_MAGNITUDE, Policy, vary
from inceptions.data.preprocess import RESAMPLING, Box, Interpolation
from inceptions.errors import UserError

_LARGE = 96 * 96  # pixels of a crop: smaller ones Pillow has done while torch begins
_TRIES = 10  # then the middle of the picture, as torchvision and TensorFlow do
_ERASED_AREA, _ERASED_ASPECT = (0.02, 0.4), (0.3, 1 / 0.3)  # as released with 1708.04896


@dataclass(frozen=True)
class Augment:
    """Random resized crop, or move, and mirror; then a policy, colours, and holes, in this order.

    area: least and greatest part of the picture's area that the crop covers, drawn evenly. The paper's is (0.08, 1.0); the default is
        milder, for training sets of hundreds of pictures and runs of minutes.
    aspect: least and greatest width / height of the crop, drawn evenly in its logarithm (the paper doesn't say).
    move: greatest number of pixels that the picture is moved by, up or down and left or right, each in its network's size and drawn evenly;
        what comes in is the mirror image of what is beside it. The whole picture then is the crop, and `area` and `aspect` must be (1, 1):
        for pictures of few pixels, of which none are to be lost.
    flip: whether half of the pictures are mirrored; False where a mirror image means something else, as with digits.
    alternate: mirror each picture in every other epoch, those that are mirrored in the first one at random (2404.00498, section 3.6).
    cutout: side of a square hole, in pixels of the network's input, about a random one of them, at the middle level of 128 (1708.04552).
    erasing: share of the pictures of which a rectangle is erased: 2 to 40 % of the area, by noise of all levels (1708.04896).
    interpolations: drawn from with equal chances; the paper uses all four.
    policy: "randaugment" or "trivialaugment", which turn and move pictures and vary their light, as `policies` says.
    operations, magnitude: of randaugment: how many of its operations each picture gets, and how strong they are, from 0 to 30; 2 of 9
        is what 1909.13719 found for ResNet-50 on ImageNet. trivialaugment has no settings.
    colour: how brightness, contrast, saturation and hue vary; `photometric` says what each name stands for.

    Raises UserError that names the field and says what is allowed.
    """

    area: tuple[float, float] = (0.35, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    move: int = 0
    flip: bool = True
    alternate: bool = False
    cutout: int = 0
    erasing: float = 0.0
    interpolations: tuple[Interpolation, ...] = ("bilinear",)
    policy: Policy = "none"
    operations: int = 2
    magnitude: int = 9
    colour: Colour = "none"

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise UserError(f"augment: area={self.area} can't be used; it must be two rising numbers in (0, 1]")
        if not 0 < self.aspect[0] <= self.aspect[1] < math.inf:
            raise UserError(f"augment: aspect={self.aspect} can't be used; it must be two rising positive numbers")
        for name in ("move", "cutout"):
            if getattr(self, name) < 0:
                raise UserError(f"augment: {name}={getattr(self, name)} can't be used; it must be a whole number of pixels, 0 or more")
        if self.move and not self.area == self.aspect == (1, 1):
            raise UserError(f"augment: move={self.move} moves whole pictures; set augment.area=[1, 1] and augment.aspect=[1, 1] with it")
        if not self.interpolations or not set(self.interpolations) <= set(RESAMPLING):
            raise UserError(f"augment: interpolations={self.interpolations} can't be used; it must be some of {', '.join(RESAMPLING)}")
        if not 0 <= self.erasing <= 1:
            raise UserError(f"augment: erasing={self.erasing} can't be used; it must be a share of the pictures, from 0 to 1")
        if self.operations < 1:
            raise UserError(f"augment: operations={self.operations} can't be used; it must be a whole number of at least 1")
        if not 0 <= self.magnitude <= MOST_MAGNITUDE:
            raise UserError(f"augment: magnitude={self.magnitude} can't be used; it must be a whole number from 0 to {MOST_MAGNITUDE}")
        for name, kind in (("policy", Policy), ("colour", Colour)):
            if getattr(self, name) not in get_args(kind):
                raise UserError(f"augment: {name}={getattr(self, name)!r} can't be used; it must be one of {', '.join(get_args(kind))}")

    def check_channels(self, channels: int) -> None:
        """Raise UserError where pictures of so many channels can't be varied so: `policy` and `colour` know red, green, blue, and grey."""
        for name in ("policy", "colour"):
            if channels not in (1, 3) and getattr(self, name) != "none":
                given = f"augment: {name}={getattr(self, name)!r} can't vary pictures of {channels} channels"
                raise UserError(f"{given}, only RGB and grey; set augment.{name}=none")

    def __call__(self, image: Picture, image_size: int, rng: np.random.Generator, *, is_turn: bool | None = None) -> np.ndarray:
        """Return the picture varied: (S, S, C) uint8, S of `image_size`.

        is_turn: whether it is this picture's turn to be mirrored, which `alternate` needs to know; None leaves that to chance.
        """
        width, height = image.size
        box = (0.0, 0.0, float(width), float(height)) if self.move else self.draw_box(image.size, rng)
        name = self.interpolations[int(rng.random() * len(self.interpolations))]
        pixels = resize(image, box, image_size, name)
        if self.move:
            pixels = _move(pixels, self.move, rng)
        if self.flip and (rng.random() < 0.5 if is_turn is None or not self.alternate else is_turn):
            pixels = pixels[:, ::-1]
        if self.policy != "none" or self.colour != "none":
            plain = np.ascontiguousarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
            picture = image if isinstance(image, Bands) else Image.fromarray(plain)
            picture = vary(picture, self.policy, rng, operations=self.operations, magnitude=self.magnitude)
            pixels = np.asarray(distort(picture, self.colour, rng)).reshape(pixels.shape)
        pixels = _cut_out(pixels, self.cutout, rng) if self.cutout else pixels
        return _erase(pixels, rng) if self.erasing and rng.random() < self.erasing else pixels

    def draw_box(self, size: tuple[int, int], rng: np.random.Generator) -> Box:
        """Return (left, top, right, bottom) of a random crop of a picture of this width and height, in pixels."""
        width, height = size
        low, high = math.log(self.aspect[0]), math.log(self.aspect[1])
        for _ in range(_TRIES):
            area = width * height * (self.area[0] + rng.random() * (self.area[1] - self.area[0]))
            aspect = math.exp(low + rng.random() * (high - low))
            box_width, box_height = math.sqrt(area * aspect), math.sqrt(area / aspect)
            if box_width <= width and box_height <= height:
                left, top = rng.random() * (width - box_width), rng.random() * (height - box_height)
                return left, top, left + box_width, top + box_height
        box_width = min(width, height * self.aspect[1])
        box_height = min(height, width / self.aspect[0])
        left, top = (width - box_width) / 2, (height - box_height) / 2
        return left, top, left + box_width, top + box_height


def _move(pixels: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return the picture (S, S, C) moved by up to `most` pixels either way, what comes in mirrored at the edge."""
    down, right = rng.integers(0, 2 * most + 1, 2)
    places = _mirrored_places(len(pixels), most)
    return pixels[places[down : down + len(pixels), None], places[right : right + len(pixels)]]


@cache
def _mirrored_places(side: int, beyond: int) -> np.ndarray:
    """Return places (side + 2 beyond,), those of a side and as many beyond its ends as said, which are mirrored at them."""
    places = np.abs(np.arange(-beyond, side + beyond))
    return np.where(places >= side, 2 * side - 2 - places, places).clip(0, side - 1)


def _cut_out(pixels: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Return the picture (S, S, C) with a square of `side` about a random pixel, as much of it as is inside, at the middle level."""
    top, left = (int(middle) - side // 2 for middle in rng.integers(0, len(pixels), 2))
    pixels = pixels.copy()
    pixels[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = 128
    return pixels


def _erase(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the picture (S, S, C) with noise in a rectangle, whose area and aspect are drawn evenly (1708.04896, algorithm 1).

    torchvision's differs: up to 33 % of the area, all of one level. One that doesn't fit is drawn again, at most ten times.
    """
    side = len(pixels)
    for _ in range(_TRIES):
        area, aspect = side * side * rng.uniform(*_ERASED_AREA), rng.uniform(*_ERASED_ASPECT)
        height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if height < side and width < side:
            top, left = rng.integers(side - height + 1), rng.integers(side - width + 1)
            pixels = pixels.copy()
            pixels[top : top + height, left : left + width] = rng.integers(256, size=(height, width, pixels.shape[2]), dtype=np.uint8)
            break
    return pixels


def resize(image: Picture, box: Box, size: int, interpolation: Interpolation) -> np.ndarray:
    """Return the part of the picture in `box` as pixels (size, size, C) uint8.

    Large crops of Pillow's pictures are resized by torch, bilinearly or bicubically and against aliasing too, in less than half of Pillow's
    time. Their edges then lie between pixels, and what is beyond the edges isn't looked at; values within differ by a level from Pillow's.
    """
    is_small = (box[2] - box[0]) * (box[3] - box[1]) < _LARGE
    if is_small or interpolation not in ("bilinear", "bicubic") or image.mode not in ("RGB", "L"):
        return np.asarray(image.resize((size, size), RESAMPLING[interpolation], box)).reshape(size, size, -1)
    assert not isinstance(image, Bands)
    from torch import from_numpy
    from torch.nn.functional import interpolate

    left, top, right, bottom = map(round, box)
    pixels = from_numpy(np.array(image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))))
    pixels = pixels.reshape(1, *pixels.shape[:2], -1).permute(0, 3, 1, 2)
    return interpolate(pixels, (size, size), mode=interpolation, antialias=True)[0].permute(1, 2, 0).numpy()
