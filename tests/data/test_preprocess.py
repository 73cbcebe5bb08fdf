import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

from inceptions.data import CAFFE, IMAGENET_MEAN, IMAGENET_STD, INCEPTION, Preprocess, for_training
from inceptions.data.preprocess import RESAMPLING
from inceptions.errors import UserError

SIZES = [(500, 375), (375, 500), (299, 299), (640, 301), (37, 53), (8, 8), (1, 90)]


def photo(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Soft blobs with some noise, as photos are; away from black and white, where overshooting would be clipped."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(70, 190, (9, 9, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return Image.fromarray(np.clip(np.asarray(coarse) + rng.normal(0, 8, (size[1], size[0], 3)), 0, 255).astype(np.uint8))


def by_the_book(preprocess: Preprocess, image: Image.Image) -> np.ndarray:
    """The same in floating point, step by step: resize the whole picture, then cut, then each channel by itself."""
    side, resampling = preprocess.image_size, RESAMPLING[preprocess.interpolation]
    width, height = image.size
    bands = [band.convert("F") for band in image.split()]
    target = preprocess.resize_size or round(side / preprocess.crop_fraction)
    if preprocess.resize == "central":
        left, top = int((width - width * preprocess.crop_fraction) / 2), int((height - height * preprocess.crop_fraction) / 2)
        bands = [band.crop((left, top, width - left, height - top)).resize((side, side), resampling) for band in bands]
    else:
        if preprocess.resize == "squash":
            width, height = target, target
        elif width <= height:
            width, height = target, int(target * height / width)
        else:
            width, height = int(target * width / height), target
        left, top = round((width - side) / 2), round((height - side) / 2)
        bands = [band.resize((width, height), resampling).crop((left, top, left + side, top + side)) for band in bands]
    red, green, blue = (np.clip(np.asarray(band), 0, 255) for band in bands)
    ordered = (red, green, blue) if preprocess.channel_order == "rgb" else (blue, green, red)
    return np.stack([(band - mean) / std for band, mean, std in zip(ordered, preprocess.mean, preprocess.std, strict=True)])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "area"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("resize", ["shorter", "squash"])
def test_one_step_gives_what_resizing_all_and_then_cropping_gives(resize, size, interpolation):
    """Pillow rounds to whole levels after the rows and after the columns: half a level each, more where bicubic weights are negative."""
    if interpolation == "area" and min(size) < 64:
        pytest.skip("enlarging by area copies pixels, and ties between two are broken by rounding")
    preprocess = Preprocess(
        64, resize=resize, interpolation=interpolation, mean=(10.0, 20.0, 30.0), std=(2.0, 3.0, 4.0), channel_order="bgr"
    )
    levels = (preprocess(photo(size)) - by_the_book(preprocess, photo(size))) * np.array(preprocess.std).reshape(3, 1, 1)
    assert np.abs(levels).max() < 1.3
    assert np.sqrt((levels**2).mean()) < 0.45


@pytest.mark.parametrize("size", SIZES[:5], ids=str)
def test_central_is_cut_and_squash_away_from_the_border_of_the_crop(size):
    """At the border the one step sees the neighbours that cutting takes away."""
    preprocess = Preprocess(64, resize="central", mean=(0.0,) * 3, std=(1.0,) * 3)
    levels = (preprocess(photo(size)) - by_the_book(preprocess, photo(size)))[:, 4:-4, 4:-4]
    assert np.abs(levels).max() < 1.1
    assert np.sqrt((levels**2).mean()) < 0.45


@pytest.mark.parametrize("size", [(500, 375), (333, 500), (1023, 767)], ids=str)
def test_shorter_is_torchvisions_resize_and_centre_crop(size):
    """Up to rounding: a crop that was shifted by half a pixel would differ by several levels."""
    preprocess = Preprocess(299, resize_size=342, mean=IMAGENET_MEAN, std=IMAGENET_STD)  # as Inception_V3_Weights.IMAGENET1K_V1
    steps = [transforms.Resize(342), transforms.CenterCrop(299), transforms.ToTensor()]
    steps.append(transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = transforms.Compose(steps)(photo(size)).numpy()
    levels = np.abs(preprocess(photo(size)) - expected) * 0.225 * 255
    assert levels.max() < 2.1
    assert levels.mean() < 0.3


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "area"])
def test_a_picture_of_the_right_size_keeps_its_pixels(interpolation):
    image = photo((32, 32))
    preprocess = Preprocess(32, crop_fraction=1.0, interpolation=interpolation)
    assert np.array_equal(preprocess(image), preprocess.normalize(image))


def test_the_centre_crop_without_resizing_keeps_its_pixels():
    image = photo((32, 40))
    preprocess = Preprocess(28, resize_size=32)
    assert np.array_equal(preprocess(image), preprocess.normalize(image.crop((2, 6, 30, 34))))


def test_reducing_does_not_alias():
    """A chessboard of single pixels is grey from afar; sampling without a window would give stripes."""
    board = Image.fromarray(np.indices((400, 400)).sum(0).astype(np.uint8) % 2 * 255).convert("RGB")
    assert np.abs(Preprocess(50, crop_fraction=1.0)(board)).max() < 0.02


def test_an_extreme_aspect_takes_no_more_memory_than_its_crop():
    image = Image.new("RGB", (1, 30_000), "white")  # resized whole it would have 342 x 10,260,000 pixels
    assert INCEPTION(image).shape == (3, 299, 299)
    wide = Image.new("RGB", (30_001, 1), "white")
    assert (CAFFE(wide).shape, Preprocess(64, resize="central")(wide).shape) == ((3, 224, 224), (3, 64, 64))


def test_values_are_exactly_minus_one_to_one():
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("RGB")
    values = Preprocess(16).normalize(ramp)
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    assert (values.min(), values.max()) == (-1.0, 1.0)
    assert np.array_equal(values[0].ravel(), (np.arange(256, dtype=np.float32) - 127.5) / 127.5)


def test_caffe_reads_blue_first_and_subtracts_the_mean_pixel():
    values = CAFFE(Image.new("RGB", (300, 200), (200, 150, 110)))
    assert values[:, 0, 0].tolist() == [110 - 104, 150 - 117, 200 - 123]


def test_one_channel_gives_one_plane():
    preprocess = for_training(28, channels=1)
    assert preprocess.channels == 1
    assert preprocess(Image.new("L", (8, 8), 255)).tolist() == np.ones((1, 28, 28)).tolist()


def test_small_pictures_are_trained_on_whole():
    corner = Image.new("RGB", (28, 28), "black")
    corner.putpixel((0, 0), (255, 255, 255))
    assert for_training(28)(corner)[0, 0, 0] == 1.0
    assert (for_training(95).crop_fraction, for_training(96).crop_fraction) == (1.0, 0.875)


@pytest.mark.parametrize(
    "preprocess", [INCEPTION, CAFFE, for_training(28, channels=1), Preprocess(64, resize="central", std=(0.1, 1 / 3, 7))]
)
def test_a_preprocess_survives_json(preprocess):
    read = Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict())))
    assert read == preprocess
    image = photo((90, 70)).convert("L" if preprocess.channels == 1 else "RGB")
    assert np.array_equal(read(image), preprocess(image))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "'image_size' is missing; give the side"),
        ({"image_size": 28, "size": 3}, "'size' is not a key; allowed are image_size, resize, resize_size"),
        ({"image_size": "28"}, "image_size='28' can't be used; it must be a whole number of pixels, at least 1"),
        ({"image_size": True}, "image_size=True"),
        ({"image_size": 0}, "image_size=0"),
        ({"image_size": 28, "resize": "longer"}, "resize='longer' can't be used; it must be one of shorter, squash, central"),
        ({"image_size": 28, "interpolation": ["area"]}, "interpolation=.* one of bilinear, bicubic, nearest, area"),
        ({"image_size": 28, "channel_order": "gbr"}, "channel_order='gbr' .* one of rgb, bgr"),
        (
            {"image_size": 28, "channel_order": "bgr", "mean": [1], "std": [1]},
            "channel_order='bgr' .* 'rgb' where there are not three channels",
        ),
        ({"image_size": 28, "resize_size": 27}, r"resize_size=27 .* at least image_size \(28\)"),
        ({"image_size": 28, "resize": "central", "resize_size": 32}, "resize_size=32 .* none, for resize='central'"),
        ({"image_size": 28, "crop_fraction": 0}, r"crop_fraction=0 .* a number in \(0, 1\]"),
        ({"image_size": 28, "crop_fraction": float("nan")}, "crop_fraction=nan"),
        ({"image_size": 28, "mean": [1, 2]}, r"mean=\(1, 2\) .* one number for each channel .1, 3 or more., in pixel units"),
        ({"image_size": 28, "mean": 127.5}, "mean=127.5"),
        ({"image_size": 28, "std": [1, 0, 1]}, "std=.* positive"),
        ({"image_size": 28, "std": [1]}, r"std=.* as many numbers as mean has \(3\)"),
        (None, "None is not a mapping"),
    ],
)
def test_from_dict_names_the_key_and_what_is_allowed(values, words):
    with pytest.raises(UserError, match=words):
        Preprocess.from_dict(values)


def test_pictures_that_do_not_fit_are_told():
    with pytest.raises(UserError, match="20x10 pixels, where 28x28 is needed"):
        Preprocess(28).normalize(Image.new("RGB", (20, 10)))
    with pytest.raises(UserError, match=r"mode RGBA, where RGB is needed; use decode\.convert_image"):
        Preprocess(28)(Image.new("RGBA", (28, 28)))


def test_reading_and_preprocessing_import_no_torch_and_no_networks():
    code = "import sys, inceptions.data; print([name for name in sys.modules if name in ('torch', 'torchvision', 'inceptions.networks')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
