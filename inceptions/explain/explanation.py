"""What spoke for a class in a picture: enters a map of the network's input, leaves it on the picture as it was given. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image

from inceptions.data.preprocess import Box

Method = Literal["gradcam", "integrated-gradients", "smoothgrad", "occlusion"]
"""How it is worked out what spoke for a class, by Captum."""
METHODS: tuple[Method, ...] = get_args(Method)

# Heat 0 to 1 in steps of a quarter, from violet over orange to yellow: the order is seen with every kind of colour blindness, and in grey.
_STOPS = ((70, 10, 105), (150, 40, 100), (225, 85, 45), (250, 160, 20), (255, 235, 90))
_UNSEEN = 0.45  # how bright an overlay leaves what lies outside the crop


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """What spoke for the class `target`, of `probability`, in a picture.

    image: the picture, upright, RGB, as it was given. seen: float32 (S, S), 0 to 1, over what the network read. box: where that lies in the
    picture: left, top, right, bottom in pixels. method: how it was worked out. classes, probabilities: the likeliest, best first.
    """

    image: Image.Image
    seen: np.ndarray
    box: Box
    target: str
    probability: float
    method: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def heat(self) -> np.ndarray:
        """The map over the whole picture: float32 (H, W), 0 to 1, and 0 outside the crop."""
        return self._heat(self.image.size)

    def layer(self, max_side: int | None = None) -> Image.Image:
        """Return the heat in colour, RGBA, to be laid on the picture: clear where there is none, dense where there is much.

        max_side: pixels of the longer side at most; the picture's own where not given.
        """
        heat = self._heat(_within(self.image.size, max_side))
        return Image.fromarray(_PALETTE[np.rint(255 * heat).astype(np.uint8)], "RGBA")

    def overlay(self, opacity: float = 0.5, *, max_side: int | None = None) -> Image.Image:
        """Return the picture, RGB, with the heat on it, 0 to 1 dense; what the network hasn't seen, outside the crop, is dark."""
        size = _within(self.image.size, max_side)
        picture = self.image if size == self.image.size else self.image.resize(size, Image.Resampling.BOX)
        black = Image.new("RGB", size)
        picture = Image.composite(picture, Image.blend(black, picture, _UNSEEN), Image.fromarray(255 * self._inside(size)))
        layer = self.layer(max_side)
        strength = layer.getchannel("A").point([round(opacity * value) for value in range(256)])
        return Image.composite(layer.convert("RGB"), picture, strength)

    def _heat(self, size: tuple[int, int]) -> np.ndarray:
        left, top, right, bottom = self._box(size)
        height, width = self.seen.shape
        cells = min(width, max(1, round(right - left))), min(height, max(1, round(bottom - top)))
        seen = self.seen if cells == (width, height) else _shrink(self.seen, cells)
        rows, columns = _places(top, bottom, cells[1], size[1]), _places(left, right, cells[0], size[0])
        heat = _between(_between(seen, rows).T, columns).T
        return np.ascontiguousarray(heat * self._inside(size), dtype=np.float32)

    def _inside(self, size: tuple[int, int]) -> np.ndarray:
        """Return which pixels of a picture of `size` the network has seen at least a part of: uint8 (H, W), 0 or 1."""
        left, top, right, bottom = self._box(size)
        rows, columns = np.arange(size[1]), np.arange(size[0])
        seen = np.outer((rows + 1 > top) & (rows < bottom), (columns + 1 > left) & (columns < right))
        return seen.astype(np.uint8)

    def _box(self, size: tuple[int, int]) -> Box:
        across, down = size[0] / self.image.width, size[1] / self.image.height
        left, top, right, bottom = self.box
        return left * across, top * down, right * across, bottom * down


def _within(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    if max_side is None or max(size) <= max_side:
        return size
    return max(1, round(size[0] * max_side / max(size))), max(1, round(size[1] * max_side / max(size)))


def _shrink(heat: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """Return a map of fewer cells, each the mean of those that it stands for: a picture may have fewer pixels than the network read."""
    return np.asarray(Image.fromarray(heat).resize(cells, Image.Resampling.BOX))


def _places(start: float, end: float, cells: int, pixels: int) -> np.ndarray:
    """Return where the centre of each pixel lies among the centres of `cells` from `start` to `end`."""
    at = (np.arange(pixels) + 0.5 - start) / (end - start) * cells - 0.5
    return np.clip(at, 0, cells - 1)


def _between(heat: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the rows of `heat` at `places`, linear between two rows."""
    below = places.astype(int)
    above = np.minimum(below + 1, len(heat) - 1)
    share = (places - below)[:, None].astype(np.float32)
    return heat[below] * (1 - share) + heat[above] * share


def _palette() -> np.ndarray:
    """Return colour and density of heat 0 to 255: uint8 (256, 4)."""
    heat = np.linspace(0, 1, 256)
    colours = [np.interp(heat, np.linspace(0, 1, len(_STOPS)), values) for values in zip(*_STOPS, strict=True)]
    return np.rint(np.stack([*colours, 255 * heat**1.5], axis=1)).astype(np.uint8)


_PALETTE = _palette()
