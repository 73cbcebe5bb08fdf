import colorsys
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from inceptions.data import Augment, photometric
from inceptions.data.photometric import distort, scale_saturation, turn_hue
from inceptions.errors import UserError
from tests.counting import count_calls
from tests.data.test_preprocess import photo

COLOURS = ("howard", "slim", "slim_fast", "mild")


class Scripted:
    """Gives the numbers that it is told, in place of chance."""

    def __init__(self, *, numbers=(), order=(0, 1, 2), normal=(0.0, 0.0, 0.0)):
        self.numbers, self.order, self.normal = list(numbers), order, normal

    def random(self, count=None):
        return self.numbers.pop(0) if count is None else np.array([self.numbers.pop(0) for _ in range(count)])

    def permutation(self, _count):
        return self.order

    def standard_normal(self, _count):
        return np.array(self.normal)


def colours() -> np.ndarray:
    """Every hue, saturation and value on a coarse grid: planes (3, 12, 12), 0 to 255."""
    return np.random.default_rng(0).integers(0, 256, (3, 12, 12)).astype(np.float32)


def by_colorsys(planes: np.ndarray, change) -> np.ndarray:
    """The change made to (h, s, v) of each pixel by itself, by the standard library."""
    pixels = [colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel))) for pixel in (planes / 255).reshape(3, -1).T]
    return 255 * np.array(pixels).T.reshape(planes.shape)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.5])
def test_saturation_is_that_of_hsv(factor):
    """Float32 against float64: a thousandth of a level."""
    expected = by_colorsys(colours(), lambda h, s, v: (h, min(1, s * factor), v))
    assert np.abs(scale_saturation(colours(), factor) - expected).max() < 1e-3


@pytest.mark.parametrize("turn", [-0.2, 0.05, 0.2])
def test_hue_is_that_of_hsv_and_of_torchvision(turn):
    turned = turn_hue(colours(), turn)
    assert np.abs(turned - by_colorsys(colours(), lambda h, s, v: ((h + turn) % 1, s, v))).max() < 1e-3
    theirs = functional.adjust_hue(torch.from_numpy(colours() / 255), turn).numpy() * 255
    assert np.abs(turned - theirs).max() < 1e-2


def test_black_white_and_grey_have_no_hue():
    grey = np.broadcast_to(np.array([0, 90, 255], np.float32), (3, 1, 3))
    assert np.array_equal(turn_hue(grey, 0.1), grey)
    assert np.array_equal(scale_saturation(grey, 1.5), grey)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("factors", [(0.5, 0.8, 1.5), (1.3, 1.1, 0.6)])
def test_howards_steps_are_torchvisions_in_the_order_drawn(order, factors):
    """Pillow cuts to whole levels after each of the three steps; factors above 1 enlarge that, to 4 levels at most."""
    image = photo((64, 48))
    tensor = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
    steps = (functional.adjust_contrast, functional.adjust_brightness, functional.adjust_saturation)
    for place in order:
        tensor = steps[place](tensor, factors[place])
    ours = distort(image, "howard", Scripted(numbers=[factor - 0.5 for factor in factors], order=order))
    difference = np.abs(np.asarray(ours).astype(float) - tensor.permute(1, 2, 0).numpy() * 255)
    assert difference.max() <= 4
    assert difference.mean() < 1.5


def test_lighting_follows_the_principal_components():
    """Krizhevsky: [p1 p2 p3][a1 l1, a2 l2, a3 l3]; the first is the brightness, so all channels move one way and by about as much."""
    image = Image.new("RGB", (4, 4), (100, 100, 100))
    lit = distort(image, "howard", Scripted(numbers=[0.5] * 3, normal=(-3.0, 0.0, 0.0))).getpixel((0, 0))
    assert lit == tuple(round(100 + 255 * 0.3 * 0.2175 * part) for part in (0.5675, 0.5808, 0.5836))


SLIM_ORDERS = (("b", "s", "h", "c"), ("s", "b", "c", "h"), ("c", "h", "b", "s"), ("h", "s", "c", "b"))


@pytest.mark.parametrize("case", range(4))
def test_slims_orders_with_contrast_about_each_channels_mean(case):
    """Against torchvision where it has the same arithmetic; 8-bit rounding is half a level."""
    image = photo((40, 30))
    amounts = {"b": 0.75, "s": 0.3, "h": 0.9, "c": 0.1}  # as drawn from 0 to 1
    planes = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255

    def by_the_book(kind: str, image: torch.Tensor) -> torch.Tensor:
        amount = amounts[kind]
        if kind == "b":
            return image + 32 / 255 * (2 * amount - 1)
        if kind == "c":
            return torch.cat([functional.adjust_contrast(plane[None], 0.5 + amount) for plane in image])
        if kind == "h":
            return functional.adjust_hue(image, 0.2 * (2 * amount - 1))
        changed = by_colorsys(image.numpy() * 255, lambda h, s, v: (h, min(1, s * (0.5 + amount)), v))
        return torch.from_numpy(changed / 255).float()

    for kind in SLIM_ORDERS[case]:
        planes = by_the_book(kind, planes)
    ours = distort(image, "slim", Scripted(numbers=[case / 4, *(amounts[kind] for kind in SLIM_ORDERS[case])]))
    expected = planes.clamp(0, 1).permute(1, 2, 0).numpy() * 255
    assert np.abs(np.asarray(ours).astype(float) - expected).max() < 0.52


def test_slims_fast_mode_leaves_contrast_and_hue_alone(monkeypatch):
    assert [len(order) for order in photometric._FAST_ORDERS] == [2, 2]
    both = {photometric._vary_brightness, photometric._vary_saturation}
    assert all(set(order) == both for order in photometric._FAST_ORDERS)
    assert len({distort(photo((8, 8)), "slim_fast", Scripted(numbers=[n, 0.9, 0.1])).tobytes() for n in (0.0, 0.6)}) == 2


@pytest.mark.parametrize("colour", COLOURS)
def test_the_same_generator_gives_the_same_colours(colour):
    first, again, other = (np.asarray(distort(photo((32, 32)), colour, np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_mild_is_milder_than_howard():
    image = photo((32, 32))

    def change(colour: str) -> float:
        rng = np.random.default_rng(0)
        return float(np.mean([np.abs(np.asarray(distort(image, colour, rng)).astype(float) - np.asarray(image)).mean() for _ in range(50)]))

    assert 0 < change("mild") < 0.6 * change("howard")


@pytest.mark.parametrize("colour", COLOURS)
def test_grey_pictures_stay_grey(colour):
    grey = photo((32, 24)).convert("L")
    varied = distort(grey, colour, np.random.default_rng(3))
    assert (varied.mode, varied.size) == ("L", (32, 24))
    assert varied.tobytes() != grey.tobytes()


@pytest.mark.parametrize("colour", COLOURS)
def test_extreme_pictures_stay_in_range_without_a_warning(colour):
    rng = np.random.default_rng(0)
    for level in (0, 255):
        for image in (Image.new("RGB", (5, 3), (level, 0, 255)), Image.new("L", (1, 1), level)):
            assert distort(image, colour, rng).size == image.size


def test_none_draws_nothing_so_that_old_runs_stay_as_they_were():
    """Frozen: what the crop, the mirror and the interpolation of earlier versions were."""
    rng = np.random.default_rng(5)
    image = photo((50, 40))
    assert distort(image, "none", rng) is image
    assert rng.random() == np.random.default_rng(5).random()
    plain = Augment(interpolations=("bilinear", "area"))(image, 24, np.random.default_rng(9))
    rng = np.random.default_rng(9)
    assert Augment(interpolations=("bilinear", "area"), colour="slim").draw_box(image.size, rng) == Augment().draw_box(
        image.size, np.random.default_rng(9)
    )
    coloured = Augment(interpolations=("bilinear", "area"), colour="mild")(image, 24, np.random.default_rng(9))
    assert np.corrcoef(np.asarray(plain).ravel(), np.asarray(coloured).ravel())[0, 1] > 0.9  # the same crop in other light


def test_orders_are_drawn_evenly():
    rng = np.random.default_rng(0)
    drawn = Counter(int(rng.random() * 4) for _ in range(4000))
    assert all(900 < count < 1100 for count in drawn.values())


def test_what_is_neither_colour_nor_grey_is_told():
    with pytest.raises(UserError, match=r"colour='slim' can't vary a picture of RGBA, only RGB and grey; set augment\.colour=none"):
        distort(Image.new("RGBA", (2, 2)), "slim", np.random.default_rng(0))
    with pytest.raises(UserError, match="colour='vivid' can't be used; it must be one of none, howard, slim, slim_fast, mild"):
        Augment(colour="vivid")


@pytest.mark.parametrize("colour", COLOURS)
def test_no_colour_is_worked_out_pixel_by_pixel(colour):
    """A network's input takes 1 to 4 ms of one core, for whole planes are computed: as many calls for few pixels as for many."""
    few, many = (
        sum(count_calls(distort, photo((side, side)), colour, np.random.default_rng(seed)) for seed in range(10)) for side in (8, 299)
    )
    assert many < 1.1 * few + 100
    assert many < 15_000
