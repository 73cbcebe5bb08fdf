import struct

import numpy as np
import pytest
from PIL import Image

from inceptions.data import Augment, Preprocess, Sample, bands, convert_image, for_training, read_image
from inceptions.data.bands import Bands
from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.errors import ImageError, UserError
from tests.data.test_preprocess import photo


@pytest.fixture
def scene(tmp_path):
    """Six bands of soft noise, 40 x 60, and the file they are in."""
    pixels = np.concatenate([np.asarray(photo((60, 40), seed=seed)) for seed in (1, 2)], axis=-1)
    np.save(tmp_path / "a.npy", pixels)
    return tmp_path / "a.npy", pixels


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_gives_its_very_pixels(scene, order):
    path, pixels = scene
    np.save(path, np.asarray(pixels, order=order))
    image = read_image(path, channels=6)
    assert (image.mode, image.size) == ("6 bands", (60, 40))
    assert np.array_equal(np.asarray(image), pixels)


def test_arrays_of_one_and_three_bands_are_ordinary_pictures(tmp_path, scene):
    _, pixels = scene
    for name, part in {"flat": pixels[..., 0], "grey": pixels[..., :1]}.items():
        np.save(tmp_path / f"{name}.npy", part)
        assert np.array_equal(np.asarray(read_image(tmp_path / f"{name}.npy", channels=1)), pixels[..., 0])
    np.save(tmp_path / "rgb.npy", pixels[..., :3])
    image = read_image(tmp_path / "rgb.npy")
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), pixels[..., :3])


def test_bands_are_cropped_and_varied_as_each_by_itself(scene):
    path, pixels = scene
    image = read_image(path, channels=6)
    preprocess, alone = for_training(32, channels=6), for_training(32, channels=1)
    assert np.array_equal(preprocess(image)[4], alone(Image.fromarray(pixels[..., 4].copy()))[0])
    augment = Augment()
    varied = augment(image, 32, np.random.default_rng(1))
    expected = augment(Image.fromarray(pixels[..., 4].copy()), 32, np.random.default_rng(1))
    assert np.array_equal(varied[..., 4:5], expected)


def test_a_batch_of_many_bands_has_as_many_planes(scene):
    path, _ = scene
    dataset = ImageDataset([Sample(path, 0)] * 3, for_training(16, channels=6), augment=Augment())
    (batch,) = image_loader(dataset, batch_size=3, shuffle=False)
    assert tuple(batch.pixels.shape) == (3, 6, 16, 16)


def test_four_bands_of_an_array_are_not_transparency(tmp_path):
    """Resizing RGBA weighs the colours by the fourth; in an array it is one more band."""
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., 0] = 200
    np.save(tmp_path / "a.npy", pixels)
    image = read_image(tmp_path / "a.npy", channels=4)
    assert image.mode == "4 bands"
    assert np.asarray(for_training(4, channels=4).crop(image))[..., 0].tolist() == [[200] * 4] * 4


def test_four_channels_of_a_picture_are_colour_and_transparency(tmp_path):
    values = np.array([[[200, 100, 0, 0], [200, 100, 0, 255]]], np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert np.asarray(read_image(tmp_path / "a.png", channels=4)).tolist() == values.tolist()
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "b.png")
    assert np.asarray(read_image(tmp_path / "b.png", channels=4)).tolist() == [[[1, 2, 3, 255]]]
    assert for_training(2, channels=4)(read_image(tmp_path / "a.png", channels=4)).shape == (4, 2, 2)
    assert Preprocess.from_dict(for_training(2, channels=4).to_dict()) == for_training(2, channels=4)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 4, 5), np.uint16), r"an array of uint16 \(4, 4, 5\); save uint8, \(height, width\) or \(height, width, bands\)"),
        (np.zeros(4, np.uint8), r"an array of uint8 \(4,\)"),
        (np.zeros((0, 4, 5), np.uint8), r"an array of uint8 \(0, 4, 5\)"),
        (np.zeros((4, 4, 7), np.uint8), "7 bands, where the network reads 5 channels; give pictures of 5"),
        (np.zeros((4, 4, 3), np.uint8), "a picture of 3 channels, where the network reads 5; give .npy arrays of 5"),
    ],
)
def test_arrays_that_do_not_fit_are_told(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ImageError, match=rf"a\.npy: {words}"):
        read_image(tmp_path / "a.npy", channels=5)


def test_a_small_file_of_a_million_bands_is_refused_before_a_picture_is_made_of_any(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.zeros((1, 1, 1_000_000), np.uint8))
    monkeypatch.setattr(Image, "fromarray", None)
    with pytest.raises(ImageError, match="1000000 bands, where the network reads 3 channels; give pictures of 3"):
        read_image(tmp_path / "a.npy")


def test_an_ending_in_capitals_is_an_array_too(tmp_path):
    np.save(tmp_path / "a.npy", np.full((2, 2), 7, np.uint8))
    (tmp_path / "a.npy").rename(tmp_path / "A.NPY")
    assert read_image(tmp_path / "A.NPY", channels=1).getpixel((0, 0)) == 7


@pytest.mark.parametrize(("channels", "said"), [(3, None), (4, "a TIFF of 4 samples, the last of which isn't said to be transparency")])
def test_a_band_that_pillow_leaves_out_is_told(tmp_path, channels, said):
    """Of a TIFF whose fourth sample is unspecified Pillow reads three."""
    Image.new("RGBA", (2, 2), (1, 2, 3, 4)).save(tmp_path / "a.tif")
    data = (tmp_path / "a.tif").read_bytes()
    entry = struct.pack("<HHI", 338, 3, 1)  # ExtraSamples, of one short
    place = data.index(entry) + len(entry)
    (tmp_path / "a.tif").write_bytes(data[:place] + struct.pack("<I", 0) + data[place + 4 :])
    if said is None:
        assert read_image(tmp_path / "a.tif").getpixel((0, 0)) == (1, 2, 3)
        return
    with pytest.raises(ImageError, match=said):
        read_image(tmp_path / "a.tif", channels=channels)


def test_damaged_and_hostile_arrays_are_told_and_nothing_is_executed(scene, tmp_path):
    path, _ = scene
    whole = path.read_bytes()
    hostile = tmp_path / "objects.npy"
    np.save(hostile, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for data, words in {
        b"": "an empty file",
        b"text, not an array": "cut off or damaged",
        whole[:50]: "cut off or damaged",
        whole[:-1]: r"cut off or damaged \(14399 bytes of values, where \(40, 60, 6\) needs 14400\)",
        hostile.read_bytes(): "an array of object",
        whole.replace(b"(40, 60, 6)", b"(1<<20, 60)"): "cut off or damaged",
    }.items():
        path.write_bytes(data)
        with pytest.raises(ImageError, match=rf"a\.npy: {words}"):
            read_image(path, channels=6)


def test_an_array_that_is_too_large_is_refused(scene):
    path, _ = scene
    with pytest.raises(ImageError, match=r"more than the 12,000 values that are allowed; make it smaller"):
        read_image(path, channels=6, max_pixels=4000)


def test_colours_of_many_bands_cannot_be_varied(scene):
    path, _ = scene
    with pytest.raises(UserError, match=r"colour='mild' can't vary a picture of 6 bands, only RGB and grey; set augment\.colour=none"):
        Augment(colour="mild")(read_image(path, channels=6), 16, np.random.default_rng(0))


def test_pictures_with_other_numbers_of_channels_are_told():
    with pytest.raises(UserError, match="a picture of 3 channels, where the network reads 5"):
        convert_image(Image.new("RGB", (2, 2)), channels=5)
    with pytest.raises(UserError, match="a picture of mode 5 bands, where 6 bands is needed"):
        for_training(2, channels=6)(Bands([Image.new("L", (2, 2))] * 5))
    assert bands.SUFFIX == ".npy"
