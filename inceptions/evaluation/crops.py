"""The papers' many crops of one image: enters a picture as `read_image` gives it, leaves its crops of the network's size, still 8-bit.

The 144 of GoogLeNet (1409.4842, section 7): the shorter side at four scales; at each the left, middle and right square, or the upper,
middle and lower one; of each square its four corners, its centre, and all of it made smaller; and the mirror images of these six. Ten are
Krizhevsky's: corners and centre of the middle square at the smallest scale, mirrored. Twelve, which the papers of Inception-v3 and v4
count but don't define, are here those ten and the whole square, mirrored: a choice of ours. One is the centre.

What the paper leaves open: scales are 256, 288, 320 and 352 for 224 pixels and in proportion for others (342, 384, 427 and 470 for 299);
the longer side is rounded down, the middle to the nearest even pixel, both as torchvision does; a square image has its one square three
times.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from inceptions.data.bands import Picture
from inceptions.data.preprocess import RESAMPLING, Interpolation
from inceptions.errors import UserError

Crops = Literal[1, 10, 12, 144]
WHOLE = (1, 2, 6)  # numbers of views that lose nothing of the picture; each has those of the smaller ones first
_SCALES = (256, 288, 320, 352)  # of the shorter side, for crops of 224
_VIEWS = {1: (4,), 10: (0, 1, 2, 3, 4), 12: (0, 1, 2, 3, 4, 5), 144: (0, 1, 2, 3, 4, 5)}  # corners 0 to 3, centre 4, the whole square 5


def scales_for(image_size: int) -> tuple[int, ...]:
    """Return the four lengths of the shorter side, in pixels, that crops of `image_size` pixels are taken at."""
    return tuple(round(scale * image_size / 224) for scale in _SCALES)


def multi_crop(image: Picture, *, crops: int, image_size: int, interpolation: Interpolation = "bilinear") -> Tensor:
    """Return the crops of a picture, uint8 (crops, C, image_size, image_size), in the order of the table above.

    By scale, from the smallest; by square, from the left or from the top; upper left, upper right, lower left, lower right, centre, whole;
    then the mirror images of these. Raises UserError: another number of crops than 1, 10, 12 or 144.
    """
    return torch.cat(list(iterate_crops(image, crops=crops, image_size=image_size, interpolation=interpolation)))


def iterate_crops(image: Picture, *, crops: int, image_size: int, interpolation: Interpolation = "bilinear") -> Iterator[Tensor]:
    """Yield what `multi_crop` returns scale by scale, so that no more than a quarter of 144 is held at once."""
    if crops not in get_args(Crops):
        raise UserError(f"crops={crops}; there are protocols for 1, 10, 12 and 144 crops")
    scales = scales_for(image_size)
    for scale in scales if crops == 144 else scales[:1]:
        yield torch.from_numpy(_at_scale(image, scale, crops, image_size, interpolation))


def whole_views(pixels: np.ndarray, count: int) -> np.ndarray:
    """Return views of a picture (S, S, C) that lose nothing of it, (count, S, S, C): 1, 2 or 6, each followed by its mirror image.

    What a move by a pixel brings in at two edges is the mirror image of what is beside them.
    """
    side, moves = len(pixels), (1, 0, 2)[: -(-count // 2)]  # of the padded picture; 1 is the picture itself
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), "reflect" if side > 1 else "edge") if count > 2 else None
    moved = [pixels if padded is None else padded[at : at + side, at : at + side] for at in moves]
    return np.stack([view for one in moved for view in (one, one[:, ::-1])][:count])


def places_among(crops: int, of: int) -> list[int]:
    """Return where the crops of one protocol stand among those of a larger one: 1, 10 and 12 are all among the 144, 1 and 2 among the 6."""
    if of in WHOLE:
        return list(range(crops))
    order = {name: place for place, name in enumerate(_names(of))}
    return [order[name] for name in _names(crops)]


def _names(crops: int) -> list[tuple[int, int, int, int]]:
    """Return (scale, square, mirrored, view) of each crop, in the order of `multi_crop`."""
    all_three = crops == 144
    return [
        (scale, square, mirrored, view)
        for scale in range(4 if all_three else 1)
        for square in (range(3) if all_three else (1,))
        for mirrored in range(1 if crops == 1 else 2)
        for view in _VIEWS[crops]
    ]


def _at_scale(image: Picture, scale: int, crops: int, side: int, interpolation: Interpolation) -> np.ndarray:
    width, height = image.size
    size = (scale, scale * height // width) if width <= height else (scale * width // height, scale)
    resized = image.resize(size, RESAMPLING[interpolation])
    plain = np.ascontiguousarray(_pixels(resized).transpose(2, 0, 1))
    mirrored = np.ascontiguousarray(plain[:, :, ::-1])
    squares, views = _squares(size, scale, all_three=crops == 144), _VIEWS[crops]
    out = np.empty((len(squares), 1 if crops == 1 else 2, len(views), len(plain), side, side), np.uint8)
    for square, (left, top) in enumerate(squares):
        for place, view in enumerate(views):
            for mirror, pixels in zip(range(out.shape[1]), (plain, mirrored), strict=False):
                target = out[square, mirror, place]
                if view < 5:
                    x, y = _corner(view, scale - side)
                    x, y = left + x, top + y
                    x = size[0] - side - x if mirror else x
                    target[...] = pixels[:, y : y + side, x : x + side]
                elif mirror:
                    target[...] = out[square, 0, place, :, :, ::-1]
                else:
                    whole = resized.crop((left, top, left + scale, top + scale))  # a box in resize would see pixels beyond it
                    target[...] = _pixels(whole.resize((side, side), RESAMPLING[interpolation])).transpose(2, 0, 1)
    return out.reshape(-1, *out.shape[3:])


def _squares(size: tuple[int, int], scale: int, *, all_three: bool) -> list[tuple[int, int]]:
    """Return (left, top) of the squares of side `scale`: three from one end to the other, or the middle one."""
    room = max(size) - scale
    along = (0, round(room / 2), room) if all_three else (round(room / 2),)
    return [(at, 0) if size[0] > size[1] else (0, at) for at in along]


def _corner(view: int, room: int) -> tuple[int, int]:
    if view == 4:
        return round(room / 2), round(room / 2)
    return room * (view % 2), room * (view // 2)


def _pixels(image: Picture) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]
