"""The crops against a plain reading of the papers with Pillow and NumPy alone."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from inceptions.errors import UserError
from inceptions.evaluation.crops import iterate_crops, multi_crop, places_among, scales_for, whole_views

SIZES = {"landscape": (500, 375), "portrait": (201, 340), "square": (256, 256), "tiny": (7, 5), "huge": (2400, 1800), "strip": (40, 900)}
CROPS = (1, 10, 12, 144)
# The papers' sides in short form: other scales and margins; every shape of them has the rule of 28 pixels.
LARGE = [
    ("landscape", 144, 224),
    ("portrait", 12, 224),
    ("portrait", 144, 299),
    ("square", 10, 299),
    ("landscape", 1, 299),
    *(pytest.param(*case, marks=pytest.mark.exhaustive) for case in itertools.product(SIZES, CROPS, [224, 299])),
]


def photo(size):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def by_the_paper(image, crops, side):
    """Every crop by itself, with Pillow's own crop, resize and mirror."""
    found = []
    for scale in [int(np.rint(s * side / 224)) for s in (256, 288, 320, 352)][: 4 if crops == 144 else 1]:
        w, h = image.size
        big = image.resize((scale, scale * h // w) if w <= h else (scale * w // h, scale), Image.Resampling.BILINEAR)
        w, h = big.size
        ends = {"first": (0, 0), "middle": (round((w - scale) / 2), round((h - scale) / 2)), "last": (w - scale, h - scale)}
        for name in ("first", "middle", "last") if crops == 144 else ("middle",):
            left, top = ends[name]
            square = big.crop((left, top, left + scale, top + scale))
            far, mid = scale - side, round((scale - side) / 2)
            corners = [(0, 0), (far, 0), (0, far), (far, far), (mid, mid)]
            views = [square.crop((x, y, x + side, y + side)) for x, y in corners]
            if crops in (12, 144):
                views.append(square.resize((side, side), Image.Resampling.BILINEAR))
            if crops == 1:
                views = views[4:5]
            found += views if crops == 1 else [*views, *map(ImageOps.mirror, views)]
    return np.stack([np.asarray(view).transpose(2, 0, 1) for view in found])


@pytest.mark.parametrize(("shape", "crops", "side"), [*itertools.product(SIZES, CROPS, [28]), *LARGE])
def test_crops_are_the_papers_in_number_and_order(shape, crops, side):
    image = photo(SIZES[shape])
    ours = multi_crop(image, crops=crops, image_size=side)
    expected = by_the_paper(image, crops, side)
    assert ours.dtype == torch.uint8
    assert ours.shape == (crops, 3, side, side)
    assert np.abs(ours.numpy().astype(int) - expected).max() <= 1


def test_scales_are_those_of_the_paper_and_in_proportion():
    assert scales_for(224) == (256, 288, 320, 352)
    assert scales_for(299) == (342, 384, 427, 470)


def test_one_scale_at_a_time_is_the_same_and_grey_has_one_channel():
    image = photo((120, 90)).convert("L")
    parts = list(iterate_crops(image, crops=144, image_size=32))
    assert [len(part) for part in parts] == [36] * 4
    assert torch.equal(torch.cat(parts), multi_crop(image, crops=144, image_size=32))
    assert parts[0].shape == (36, 1, 32, 32)


def test_other_numbers_are_refused():
    with pytest.raises(UserError, match="1, 10, 12 and 144"):
        multi_crop(photo((50, 50)), crops=11, image_size=28)


def test_144_crops_resize_a_photo_once_for_each_scale_and_each_whole_square_once(monkeypatch):
    """What the crops cost: 4 scales, and 3 squares of each made smaller; the mirror images and all other views are cut from these."""
    sizes, resize = [], Image.Image.resize

    def counting(self, size, *arguments, **settings):
        sizes.append(size)
        return resize(self, size, *arguments, **settings)

    image = photo((500, 375))
    monkeypatch.setattr(Image.Image, "resize", counting)
    multi_crop(image, crops=144, image_size=224)
    assert sorted(sizes, reverse=True) == [(469, 352), (426, 320), (384, 288), (341, 256), *[(224, 224)] * 12]


def test_whole_views_are_moved_by_a_pixel_and_lose_nothing_else():
    pixels = np.asarray(photo((9, 9)))
    views = whole_views(pixels, 6)
    assert views.shape == (6, 9, 9, 3)
    assert np.array_equal(views[0], pixels)
    assert np.array_equal(views[2][1:, 1:], pixels[:-1, :-1])  # its content moves towards the lower right
    assert np.array_equal(views[2][0, 1:], pixels[1, :-1])  # and what comes in is mirrored at the edge
    assert np.array_equal(views[4][:-1, :-1], pixels[1:, 1:])
    assert all(np.array_equal(views[place + 1], views[place][:, ::-1]) for place in (0, 2, 4))
    for count in (1, 2):
        assert np.array_equal(whole_views(pixels, count), views[places_among(count, 6)])
    assert whole_views(pixels[:1, :1], 6).shape == (6, 1, 1, 3)
