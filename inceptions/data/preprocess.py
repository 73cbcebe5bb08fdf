"""From a picture to what a network reads: enters an upright 8-bit picture, Pillow's or `Bands`, leaves a float32 array (C, S, S).

A `Preprocess` belongs to a set of weights: it is saved with them and used for training, evaluation and prediction alike. It needs Pillow
and NumPy only, so that predicting with an exported model imports no torch.

Resizing is Pillow's: a window that grows with the reduction, so there is no aliasing. That differs from TF-slim and Caffe, which sample
bilinearly without one. The crop is made in the same step: only the pixels that the network sees are computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal, Self, get_args

import numpy as np
from PIL import Image

from inceptions.data.bands import Picture
from inceptions.data.decode import MODES
from inceptions.errors import UserError

Interpolation = Literal["bilinear", "bicubic", "nearest", "area"]
Resize = Literal["shorter", "squash", "central"]
ChannelOrder = Literal["rgb", "bgr"]
Box = tuple[float, float, float, float]

RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
    "area": Image.Resampling.BOX,
}
SMALL_IMAGE_PX = 96  # below this nothing is cropped: the pictures are small and the object fills them


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the input of a network.

    image_size: side S of the square that the network reads, in pixels.
    resize: "shorter" brings the shorter side to `resize_size`, keeps the aspect and crops the centre (torchvision, timm);
        "squash" brings the whole picture to a square of `resize_size` and crops the centre (Caffe);
        "central" cuts the central `crop_fraction` of each side and squashes that to S (TF-slim's evaluation).
    resize_size: in pixels; None means `image_size / crop_fraction`, rounded. Without effect for "central", and refused there.
    crop_fraction: the part of each side that the crop keeps, in (0, 1]; without effect where `resize_size` is given.
    mean, std: per channel in the order of the network's input, in pixel units (0 to 255): one, three or more.
    channel_order: the order in which the network reads the channels.

    Raises UserError that names the field and says what is allowed.
    """

    image_size: int
    resize: Resize = "shorter"
    resize_size: int | None = None
    crop_fraction: float = 0.875
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = (127.5, 127.5, 127.5)
    std: tuple[float, ...] = (127.5, 127.5, 127.5)
    channel_order: ChannelOrder = "rgb"

    def __post_init__(self) -> None:
        _check_choice("resize", self.resize, get_args(Resize))
        _check_choice("interpolation", self.interpolation, get_args(Interpolation))
        _check_choice("channel_order", self.channel_order, get_args(ChannelOrder))
        _check("image_size", self.image_size, _is_whole(self.image_size) and self.image_size >= 1, "a whole number of pixels, at least 1")
        _check("crop_fraction", self.crop_fraction, _is_number(self.crop_fraction) and 0 < self.crop_fraction <= 1, "a number in (0, 1]")
        _check("mean", self.mean, _are_numbers(self.mean), "one number for each channel (1, 3 or more), in pixel units (0 to 255)")
        _check(
            "std", self.std, _are_numbers(self.std) and min(self.std) > 0, "one positive number for each channel, in pixel units (0 to 255)"
        )
        _check("std", self.std, len(self.std) == len(self.mean), f"as many numbers as mean has ({len(self.mean)})")
        _check(
            "channel_order",
            self.channel_order,
            self.channel_order == "rgb" or self.channels == 3,
            "'rgb' where there are not three channels",
        )
        if self.resize == "central":
            _check("resize_size", self.resize_size, self.resize_size is None, "none, for resize='central' doesn't use it")
        elif self.resize_size is not None:
            fits = _is_whole(self.resize_size) and self.resize_size >= self.image_size
            _check("resize_size", self.resize_size, fits, f"a whole number of at least image_size ({self.image_size}), or none")

    @property
    def channels(self) -> int:
        """Number of channels of the network's input: 1, 3 or more."""
        return len(self.mean)

    def __call__(self, image: Picture) -> np.ndarray:
        """Return the picture (as `read_image` gives it for these channels) resized, cropped and normalised: float32 (C, S, S)."""
        return self.normalize(self.crop(image))

    def crop(self, image: Picture) -> Picture:
        """Return the picture resized and cropped to S x S pixels, still 8-bit."""
        size = (self.image_size, self.image_size)
        box = self.box(image.size)
        if image.size == size and box == (0, 0, *size):
            return image
        return image.resize(size, RESAMPLING[self.interpolation], box)

    def normalize(self, image: Picture) -> np.ndarray:
        """Return a picture that has S x S pixels already as (pixel - mean) / std: float32 (C, S, S), contiguous.

        Raises UserError for a picture of another size or mode.
        """
        return self.normalize_pixels(self.pixels_of(image).transpose(2, 0, 1))

    def pixels_of(self, image: Picture) -> np.ndarray:
        """Return the pixels of a picture that has S x S already: uint8 (S, S, C).

        Raises UserError for a picture of another size or mode.
        """
        if image.size != (self.image_size, self.image_size):
            raise UserError(f"a picture of {image.size[0]}x{image.size[1]} pixels, where {self.image_size}x{self.image_size} is needed")
        if image.mode not in (MODES.get(self.channels), f"{self.channels} bands"):
            needed = MODES.get(self.channels, f"{self.channels} bands")
            raise UserError(f"a picture of mode {image.mode}, where {needed} is needed; use decode.convert_image first")
        return np.asarray(image).reshape(self.image_size, self.image_size, self.channels)

    def normalize_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Return 8-bit RGB pixels (..., C, S, S) as (pixel - mean) / std in the network's order of channels: float32, contiguous."""
        if self.channel_order == "bgr":
            pixels = pixels[..., ::-1, :, :]
        values = pixels.astype(np.float32, order="C")
        mean, std = self._statistics
        values -= mean
        values /= std
        return values

    def box(self, size: tuple[int, int]) -> Box:
        """Return (left, top, right, bottom) in pixels of the picture: the part that becomes the S x S input."""
        width, height = size
        if self.resize == "central":  # rounded as tf.image.central_crop does
            left, top = (int((side - side * self.crop_fraction) / 2) for side in size)
            return left, top, width - left, height - top
        target = self.resize_size or round(self.image_size / self.crop_fraction)
        resized = (target, target) if self.resize == "squash" else _shorter_side_to(target, size)
        left, right = _centre(self.image_size, resized[0], width)
        top, bottom = _centre(self.image_size, resized[1], height)
        return left, top, right, bottom

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON keeps."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what `to_dict` gave; fields that are missing take their default, except `image_size`.

        Raises UserError that names the key, what it was and what is allowed.
        """
        allowed = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping):
            raise UserError(f"preprocess: {values!r} is not a mapping; allowed keys are {', '.join(allowed)}")
        for key in values:
            if key not in allowed:
                raise UserError(f"preprocess: {key!r} is not a key; allowed are {', '.join(allowed)}")
        if "image_size" not in values:
            raise UserError("preprocess: 'image_size' is missing; give the side of the network's input in pixels")
        arguments: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return cls(**arguments)

    @cached_property
    def _statistics(self) -> tuple[np.ndarray, np.ndarray]:
        mean, std = (np.array(values, dtype=np.float32).reshape(-1, 1, 1) for values in (self.mean, self.std))
        return mean, std


def _shorter_side_to(target: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return the size of which the shorter side is `target`; the longer one is rounded down, as torchvision does."""
    width, height = size
    return (target, target * height // width) if width <= height else (target * width // height, target)


def _centre(crop: int, resized: int, side: int) -> tuple[float, float]:
    """Return where the central `crop` of `resized` pixels begins and ends in a side that had `side` pixels.

    An odd margin is halved as torchvision does, to the nearest even number: margin 43 (342 to 299) begins at 22, margin 41 at 20.
    """
    start = round((resized - crop) / 2)
    return start * side / resized, (start + crop) * side / resized


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_numbers(values: object) -> bool:
    return isinstance(values, tuple) and len(values) not in (0, 2) and all(_is_number(value) for value in values)


def _check_choice(key: str, value: object, allowed: tuple[str, ...]) -> None:
    _check(key, value, value in allowed, f"one of {', '.join(allowed)}")


def _check(key: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise UserError(f"preprocess: {key}={value!r} can't be used; it must be {allowed}")


def for_training(image_size: int, *, channels: int = 3) -> Preprocess:
    """Return the preprocessing of a freshly trained model: [-1, 1], bilinear; all of small pictures, 0.875 of others."""
    scale = (127.5,) * channels
    return Preprocess(image_size, crop_fraction=1.0 if image_size < SMALL_IMAGE_PX else 0.875, mean=scale, std=scale)


IMAGENET_MEAN = (123.675, 116.28, 103.53)
"""The mean of ImageNet's pixels by channel, 0.485 0.456 0.406 of 255 (torchvision, timm)."""
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Their standard deviation, 0.229 0.224 0.225 of 255."""

INCEPTION = Preprocess(299)
"""Inputs in [-1, 1], central 87.5 %: TF-slim's inception_preprocessing.py, and Keras' for its Inceptions and Xception."""

CAFFE = Preprocess(224, resize="squash", resize_size=256, mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0), channel_order="bgr")
"""BVLC Caffe's bvlc_googlenet: 256 x 256 whatever the aspect, centre crop 224, BGR less the mean pixel of 104, 117, 123."""
