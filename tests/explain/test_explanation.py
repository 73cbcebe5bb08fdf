"""The map lies where the network saw it: cropping and resizing undone, in every mode."""

import numpy as np
import pytest
from PIL import Image

from inceptions.data.preprocess import Preprocess
from inceptions.explain.explanation import Explanation

SIZE = (90, 60)


def explanation(seen, box, *, size=SIZE, colour=(200, 100, 50)):
    image = Image.new("RGB", size, colour)
    return Explanation(image, np.asarray(seen, dtype=np.float32), box, "cat", 0.5, "gradcam", ("cat",), (0.5,))


@pytest.mark.parametrize(
    "preprocess",
    [
        Preprocess(32),
        Preprocess(32, crop_fraction=1.0),
        Preprocess(32, resize_size=50),
        Preprocess(32, resize="squash", resize_size=40),
        Preprocess(32, resize="central", crop_fraction=0.6),
    ],
    ids=["shorter", "whole", "resize_size", "squash", "central"],
)
@pytest.mark.parametrize("size", [SIZE, (60, 90), (500, 375), (33, 31)])
def test_what_is_hot_is_where_it_is_bright(preprocess, size):
    """A picture with a white spot goes through preprocessing; its brightness as a map comes back to the spot."""
    width, height = size
    across, down = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    spot = np.exp(-(((across - 0.6) * width) ** 2 + ((down - 0.4) * height) ** 2) / (0.1 * min(size)) ** 2)
    picture = Image.fromarray((255 * spot).astype(np.uint8)).convert("RGB")
    seen = np.asarray(preprocess.crop(picture).convert("L"), dtype=np.float32) / 255
    heat = explanation(seen, preprocess.box(size), size=size).heat
    assert heat.shape == (height, width)
    assert heat.dtype == np.float32
    hot_row, hot_column = (np.average(at, weights=heat.sum(1 - axis)) for axis, at in enumerate((np.arange(height), np.arange(width))))
    assert abs(hot_column + 0.5 - 0.6 * width) < 0.03 * max(size)  # what the crop cuts off of the spot's edges moves the mean
    assert abs(hot_row + 0.5 - 0.4 * height) < 0.03 * max(size)


def test_nothing_is_hot_outside_the_crop():
    box = Preprocess(32).box(SIZE)
    heat = explanation(np.ones((32, 32)), box).heat
    left, top, right, bottom = box
    assert heat[round(top) + 1 : round(bottom) - 1, round(left) + 1 : round(right) - 1].min() == 1
    assert heat[: int(top)].max(initial=0) == heat[:, : int(left)].max(initial=0) == heat[:, int(right) + 1 :].max(initial=0) == 0


def test_layer_is_clear_where_there_is_no_heat_and_dense_where_there_is_most():
    seen = np.zeros((4, 4))
    seen[0, 0] = 1
    layer = explanation(seen, (0, 0, *SIZE)).layer()
    assert (layer.mode, layer.size) == ("RGBA", SIZE)
    assert layer.getpixel((0, 0))[3] == 255
    assert layer.getpixel((89, 59))[3] == 0
    assert explanation(seen, (0, 0, *SIZE)).layer(30).size == (30, 20)


def test_overlay_is_the_picture_where_there_is_no_heat_and_dark_where_nothing_was_seen():
    seen = np.zeros((4, 4))
    seen[3, 3] = 1
    overlay = explanation(seen, (30, 0, 90, 60)).overlay()
    assert (overlay.mode, overlay.size) == ("RGB", SIZE)
    assert overlay.getpixel((31, 1)) == (200, 100, 50)
    assert overlay.getpixel((10, 10))[0] < 100
    assert overlay.getpixel((89, 59)) == (228, 168, 70)  # half of the picture, half of the palette's last colour
    assert explanation(seen, (30, 0, 90, 60)).overlay(0.0).getpixel((89, 59)) == (200, 100, 50)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (2, 3)])
def test_smallest_pictures_have_a_map(size):
    found = explanation(np.full((32, 32), 0.5), Preprocess(32).box(size), size=size)
    assert found.heat.shape == size[::-1]
    assert found.heat.max() == pytest.approx(0.5)
    assert found.overlay().size == size


def test_a_picture_smaller_than_the_input_has_the_mean_of_what_its_pixels_cover():
    seen = np.indices((32, 32)).sum(0) % 2  # a chequerboard, of which single points would be 0 or 1
    heat = explanation(seen, (0, 0, 8, 8), size=(8, 8)).heat
    assert heat == pytest.approx(np.full((8, 8), 0.5))
