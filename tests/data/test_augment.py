import numpy as np
import pytest
from PIL import Image

from inceptions.data import Augment
from inceptions.data.augment import resize
from inceptions.data.preprocess import RESAMPLING
from inceptions.errors import UserError

# Red tells the column and green the row, so that the corners of a crop tell where it comes from.
Y, X = np.mgrid[:200, :240]
MAP = Image.fromarray(np.stack([X, Y, 0 * X], axis=-1).astype(np.uint8))


def crops(augment: Augment, count: int = 400, image: Image.Image = MAP) -> np.ndarray:
    rng = np.random.default_rng(7)
    return np.stack([np.asarray(augment(image, 40, rng)) for _ in range(count)]).astype(float)


def measure(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Widths and heights in pixels of the crops, by the distance of the outermost samples."""
    width = np.abs(found[:, 20, -1, 0] - found[:, 20, 0, 0]) * 40 / 39
    height = np.abs(found[:, -1, 20, 1] - found[:, 0, 20, 1]) * 40 / 39
    return width, height


def test_the_same_generator_gives_the_same_picture():
    augment = Augment(interpolations=("bilinear", "bicubic", "nearest", "area"))
    first, again, other = (np.asarray(augment(MAP, 40, np.random.default_rng(seed))) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_area_and_aspect_fill_their_ranges_and_stay_within():
    width, height = measure(crops(Augment(area=(0.08, 1.0))))
    area, aspect = width * height / (200 * 240), width / height
    assert 0.07 < area.min() < 0.12
    assert 0.85 < area.max() < 1.02
    assert 0.70 < aspect.min() < 0.78
    assert 1.28 < aspect.max() < 1.40
    assert abs(np.log(aspect).mean()) < 0.03  # as often upright as lying


def test_area_is_drawn_evenly():
    width, height = measure(crops(Augment(area=(0.2, 0.6))))
    area = width * height / (200 * 240)
    assert np.abs(np.histogram(area, bins=4, range=(0.2, 0.6))[0] - 100).max() < 35


def test_crops_come_from_everywhere():
    left = crops(Augment(area=(0.2, 0.2), flip=False))[:, 20, 0, 0]
    assert left.min() < 6
    assert left.max() > 110


def test_half_of_the_pictures_are_mirrored_and_none_without_flip():
    mirrored = crops(Augment())
    mirrored = mirrored[:, 20, 0, 0] > mirrored[:, 20, -1, 0]
    assert 0.42 < mirrored.mean() < 0.58
    straight = crops(Augment(flip=False))
    assert (straight[:, 20, 0, 0] < straight[:, 20, -1, 0]).all()


def test_all_interpolations_are_drawn():
    names = ("bilinear", "bicubic", "nearest", "area")
    edge = Image.fromarray(np.repeat(np.array([[0] * 4 + [255] * 4], dtype=np.uint8), 8, axis=0))

    def kinds(augment: Augment) -> set[str]:
        found = crops(augment, count=200, image=edge)
        between = [((crop > 5) & (crop < 250)).any() for crop in found]
        return {"sharp" if not soft else "soft" for soft in between}

    assert kinds(Augment(interpolations=("nearest",), area=(0.9, 1.0))) == {"sharp"}
    assert kinds(Augment(interpolations=("bilinear",), area=(0.9, 1.0))) == {"soft"}
    assert kinds(Augment(interpolations=names, area=(0.9, 1.0))) == {"sharp", "soft"}


WHOLE = {"area": (1.0, 1.0), "aspect": (1.0, 1.0)}


def test_a_moved_picture_keeps_its_pixels_and_what_comes_in_is_mirrored():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    found = crops(Augment(**WHOLE, move=3, flip=False), image=Image.fromarray(pixels)).astype(np.uint8)
    padded = np.pad(pixels, ((3, 3), (3, 3), (0, 0)), mode="reflect")
    moves = {(down, right): padded[down : down + 40, right : right + 40].tobytes() for down in range(7) for right in range(7)}
    assert {picture.tobytes() for picture in found} == set(moves.values())


def test_a_picture_is_mirrored_when_it_is_its_turn_and_by_chance_where_nobody_says():
    augment, rng = Augment(**WHOLE, alternate=True), np.random.default_rng(0)
    straight, mirrored = (augment(MAP, 40, rng, is_turn=is_turn) for is_turn in (False, True))
    assert np.array_equal(mirrored, straight[:, ::-1]) and straight[20, 0, 0] < straight[20, -1, 0]
    assert 0.42 < (crops(augment)[:, 20, 0, 0] > 100).mean() < 0.58
    assert not (crops(Augment(**WHOLE, alternate=True, flip=False))[:, 20, 0, 0] > 100).any()


def test_a_square_is_cut_out_about_any_pixel():
    found = crops(Augment(**WHOLE, cutout=9, flip=False), image=Image.new("RGB", (40, 40), "red"))
    holes = (found == 128).all(-1)
    assert holes.sum((1, 2)).max() == 81 and holes.sum((1, 2)).min() < 81
    assert holes.any(0).all()
    assert (found[~holes] == (255, 0, 0)).all()


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 500), (3000, 2), (8, 8)], ids=str)
def test_every_size_and_shape_gives_a_square(size):
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert Augment()(Image.new("L", size), 28, rng).shape == (28, 28, 1)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [28, 150, 400])
def test_large_crops_are_those_of_pillow_but_for_rounding(mode, interpolation, size):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)).convert(mode)
    for box in ((10.0, 20.0, 310.0, 290.0), (0.0, 0.0, 400.0, 300.0)):
        found = resize(image, box, size, interpolation).astype(int)
        expected = np.asarray(image.resize((size, size), RESAMPLING[interpolation], box)).reshape(size, size, -1)
        assert found.shape == expected.shape
        beside = 3 * size // 100 + 2  # where Pillow looks at pixels beyond the edges
        within = (slice(None),) * 3 if box[0] == 0 else (slice(beside, -beside), slice(beside, -beside))
        assert np.abs(found - expected)[within].max() <= 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"area": (0.0, 1.0)}, "area"),
        ({"area": (0.5, 1.1)}, "area"),
        ({"area": (0.9, 0.5)}, "two rising numbers"),
        ({"aspect": (2.0, 1.0)}, "aspect"),
        ({"interpolations": ()}, "interpolations"),
        ({"move": -1}, "move=-1 can't be used; it must be a whole number of pixels"),
        ({"cutout": -1}, "cutout=-1"),
        ({"move": 2}, r"set augment.area=\[1, 1\] and augment.aspect=\[1, 1\] with it"),
        ({"interpolations": ("lanczos",)}, "must be some of bilinear, bicubic, nearest, area"),
    ],
)
def test_wrong_fields_are_named(fields, words):
    with pytest.raises(UserError, match=words):
        Augment(**fields)
