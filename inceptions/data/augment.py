"""Vary a training picture: enters an upright picture and a generator of random numbers, leaves a square picture, still 8-bit.

A crop of random area and aspect brought to the network's size, and its mirror image half of the time: "Going deeper with convolutions",
arXiv:1409.4842, section 6; then its colours, as `photometric` says. All chance comes from the generator that is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
from PIL import Image

from inceptions.data.bands import Picture
from inceptions.data.photometric import Colour, distort
from inceptions.data.preprocess import RESAMPLING, Box, Interpolation
from inceptions.errors import UserError

_TRIES = 10  # then the middle of the picture, as torchvision and TensorFlow do


@dataclass(frozen=True)
class Augment:
    """Random resized crop, mirror and colours.

    area: least and greatest part of the picture's area that the crop covers, drawn evenly. The paper's is (0.08, 1.0); the default is
        milder, for training sets of hundreds of pictures and runs of minutes.
    aspect: least and greatest width / height of the crop, drawn evenly in its logarithm (the paper doesn't say).
    flip: whether half of the pictures are mirrored; False where a mirror image means something else, as with digits.
    interpolations: drawn from with equal chances; the paper uses all four.
    colour: how brightness, contrast, saturation and hue vary; `photometric` says what each name stands for.

    Raises UserError that names the field and says what is allowed.
    """

    area: tuple[float, float] = (0.35, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True
    interpolations: tuple[Interpolation, ...] = ("bilinear",)
    colour: Colour = "none"

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise UserError(f"augment: area={self.area} can't be used; it must be two rising numbers in (0, 1]")
        if not 0 < self.aspect[0] <= self.aspect[1] < math.inf:
            raise UserError(f"augment: aspect={self.aspect} can't be used; it must be two rising positive numbers")
        if not self.interpolations or not set(self.interpolations) <= set(RESAMPLING):
            raise UserError(f"augment: interpolations={self.interpolations} can't be used; it must be some of {', '.join(RESAMPLING)}")
        if self.colour not in get_args(Colour):
            raise UserError(f"augment: colour={self.colour!r} can't be used; it must be one of {', '.join(get_args(Colour))}")

    def __call__(self, image: Picture, image_size: int, rng: np.random.Generator) -> Picture:
        """Return a random crop of the picture as `image_size` x `image_size` pixels, mirrored or not, its colours varied or not."""
        box = self.draw_box(image.size, rng)
        name = self.interpolations[int(rng.random() * len(self.interpolations))]
        crop = image.resize((image_size, image_size), RESAMPLING[name], box)
        if self.flip and rng.random() < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return distort(crop, self.colour, rng)

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
