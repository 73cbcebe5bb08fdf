"""Vary the colours of a picture: enters an 8-bit one ("RGB" or "L") and a generator of random numbers, leaves it in other light.

    howard      Howard, arXiv:1312.5402, section 2.1: contrast, brightness and colour, each by a factor of 0.5 to 1.5, in random order, made
                with Pillow as he made it; and the noise of lighting of Krizhevsky et al., NIPS 2012, section 4.1, which he keeps
    slim        TF-slim's inception_preprocessing.py, distort_color: brightness, saturation, hue and contrast, in one of four orders
    slim_fast   the same with fast_mode: brightness and saturation, in either order
    mild        arXiv:1502.03167, section 4.2.1, "we reduce the photometric distortions", says no numbers; ours are Howard's three with
                factors of 0.8 to 1.2, and no noise of lighting

TF-slim's arithmetic is TensorFlow's: brightness is added, contrast is about each channel's own mean, saturation and hue are those of HSV,
and nothing is clipped before the end. Ours differs in that the result is rounded to 8 bits. Grey pictures have no saturation and no hue,
and one level of lighting: only brightness and contrast change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from PIL import Image, ImageEnhance

from inceptions.data.bands import Bands, Picture
from inceptions.errors import UserError

Colour = Literal["none", "howard", "slim", "slim_fast", "mild"]
_Step = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # planes (C, H, W) float32, 0 to 255, to the same

_HOWARD_FACTORS, _MILD_FACTORS = (0.5, 1.5), (0.8, 1.2)
_LIGHTING_STD = 0.1  # Krizhevsky et al., section 4.1
# Principal components of ImageNet's RGB values, a column each, times their standard deviations, in levels of 0 to 255; from
# github.com/facebook/fb.resnet.torch, datasets/imagenet.lua, for the paper prints none.
_COMPONENTS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
_LIGHTING = 255 * _COMPONENTS * np.array([0.2175, 0.0188, 0.0045])


def distort(image: Picture, colour: Colour, rng: np.random.Generator) -> Picture:
    """Return the picture with its colours varied as `colour` says; "none" gives the picture itself and draws nothing.

    Raises UserError for a picture that is neither RGB nor grey.
    """
    if colour == "none":
        return image
    if isinstance(image, Bands) or image.mode not in ("RGB", "L"):
        raise UserError(f"augment: colour='{colour}' can't vary a picture of {image.mode}, only RGB and grey; set augment.colour=none")
    if colour == "howard":
        return _light(_enhance(image, _HOWARD_FACTORS, rng), rng)
    if colour == "mild":
        return _enhance(image, _MILD_FACTORS, rng)
    return _distort_as_slim(image, _FAST_ORDERS if colour == "slim_fast" else _ORDERS, rng)


def _enhance(image: Image.Image, factors: tuple[float, float], rng: np.random.Generator) -> Image.Image:
    low, high = factors
    changes = (ImageEnhance.Contrast, ImageEnhance.Brightness, ImageEnhance.Color)
    amounts = low + rng.random(len(changes)) * (high - low)
    for place in rng.permutation(len(changes)):
        image = changes[place](image).enhance(float(amounts[place]))
    return image


def _light(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture with one shift for each channel, along the principal components of natural light."""
    shift = _LIGHTING @ (_LIGHTING_STD * rng.standard_normal(3))
    bands = len(image.getbands())
    shifts = shift if bands == 3 else [shift.mean()]
    levels = np.arange(256)
    return image.point(np.concatenate([np.clip(np.round(levels + s), 0, 255) for s in shifts]).astype(np.uint8).tolist())


def _distort_as_slim(image: Image.Image, orders: tuple[tuple[_Step, ...], ...], rng: np.random.Generator) -> Image.Image:
    planes = np.stack([np.asarray(band) for band in image.split()]).astype(np.float32)  # faster than turning the axes around
    for step in orders[int(rng.random() * len(orders))]:
        planes = step(planes, rng)
    np.rint(np.clip(planes, 0, 255, out=planes), out=planes)
    return Image.merge(image.mode, [Image.fromarray(plane) for plane in planes.astype(np.uint8)])


def _vary_brightness(planes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return planes + np.float32(32 * (2 * rng.random() - 1))


def _vary_contrast(planes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mean = planes.mean((1, 2), keepdims=True)
    return (planes - mean) * np.float32(0.5 + rng.random()) + mean


def _vary_saturation(planes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return scale_saturation(planes, 0.5 + rng.random())


def _vary_hue(planes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return turn_hue(planes, 0.2 * (2 * rng.random() - 1))


def scale_saturation(planes: np.ndarray, factor: float) -> np.ndarray:
    """Return (3, H, W) with the saturation of HSV times `factor`, at most 1; hue and value stay. One plane stays as it is.

    Each channel lies below the value V in proportion to the saturation, so no angle has to be worked out.
    """
    if len(planes) == 1:
        return planes
    value = planes.max(0)
    spread = value - planes.min(0)
    ratio = np.clip(value / np.maximum(spread, np.float32(1e-6)), 0, np.float32(factor))
    return value - (value - planes) * ratio


def turn_hue(planes: np.ndarray, turn: float) -> np.ndarray:
    """Return (3, H, W) with the hue of HSV turned by `turn` rounds; saturation and value stay. One plane stays as it is."""
    if len(planes) == 1:
        return planes
    red, green, blue = planes
    value = planes.max(0)
    spread = value - planes.min(0)
    scale = 1 / np.maximum(spread, np.float32(1e-6))
    hue = (red - green) * scale + 4  # in sixths of a round; blue is greatest
    np.copyto(hue, (blue - red) * scale + 2, where=green == value)
    np.copyto(hue, (green - blue) * scale, where=red == value)
    turned = np.empty_like(planes)
    for plane, start in zip(turned, (5, 3, 1), strict=True):  # en.wikipedia.org/wiki/HSL_and_HSV, "HSV to RGB alternative"
        away = np.abs(hue + np.float32(start + 6 * turn - 2))
        away = np.minimum(away, np.abs(away - 6))  # the same, a round further: np.mod takes twenty times as long
        np.subtract(value, spread * np.clip(2 - away, 0, 1), out=plane)
    return turned


_ORDERS = (  # distort_color, color_ordering 0 to 3
    (_vary_brightness, _vary_saturation, _vary_hue, _vary_contrast),
    (_vary_saturation, _vary_brightness, _vary_contrast, _vary_hue),
    (_vary_contrast, _vary_hue, _vary_brightness, _vary_saturation),
    (_vary_hue, _vary_saturation, _vary_contrast, _vary_brightness),
)
_FAST_ORDERS = ((_vary_brightness, _vary_saturation), (_vary_saturation, _vary_brightness))
