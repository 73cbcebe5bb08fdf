"""JPEGs that training decodes at a fraction of their size."""

import math

import numpy as np
import pytest
from PIL import Image

from inceptions.data import Augment, Sample, augment, for_training, read_image
from inceptions.data.dataset import ImageDataset
from inceptions.errors import ImageError


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """1600 x 1200 pixels with detail of every size, as a photo has it: noise whose power falls as 1 / frequency squared."""
    rng = np.random.default_rng(0)
    wave = np.hypot(*np.meshgrid(np.fft.fftfreq(1600), np.fft.fftfreq(1200)))
    wave[0, 0] = 1
    planes = [np.fft.ifft2(np.fft.fft2(rng.normal(size=wave.shape)) / wave).real for _ in range(3)]
    pixels = np.stack([np.clip(128 + 50 * plane / plane.std(), 0, 255) for plane in planes], axis=-1).astype(np.uint8)
    path = tmp_path_factory.mktemp("large") / "a.jpg"
    Image.fromarray(pixels).save(path, quality=92)
    return path


def sizes_read(monkeypatch, dataset: ImageDataset) -> set[tuple[int, int]]:
    """Sizes at which the one picture is decoded in 30 epochs."""
    resize, found = augment.resize, set()
    monkeypatch.setattr(augment, "resize", lambda image, *given: found.add(image.size) or resize(image, *given))
    for dataset.epoch in range(30):
        dataset[0]
    monkeypatch.undo()
    return found


def test_the_answer_divides_the_size(large):
    for divisor, size in {1: (1600, 1200), 2: (800, 600), 4: (400, 300), 8: (200, 150)}.items():
        assert read_image(large, reduction=lambda _, divisor=divisor: divisor).size == size
    assert read_image(large).size == (1600, 1200)


def test_the_jpegs_of_telephones_are_reduced_too(large, tmp_path):
    image = read_image(large)
    image.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[image])
    with Image.open(tmp_path / "a.jpg") as written:
        assert written.format == "MPO"
    assert read_image(tmp_path / "a.jpg", reduction=lambda _: 4).size == (400, 300)


def test_the_upright_size_is_asked_about(large, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    read_image(large).save(tmp_path / "b.jpg", exif=exif)
    asked = []
    image = read_image(tmp_path / "b.jpg", reduction=lambda size: asked.append(size) or 4)
    assert (asked, image.size) == ([(1200, 1600)], (300, 400))


def test_training_pictures_keep_at_least_twice_the_pixels_that_the_crop_needs(large, monkeypatch):
    """Crops of 35 to 100 % of the area are 700 to 1200 pixels high: for 100, a half or a quarter is enough; for 301 nothing is gained."""
    dataset = ImageDataset([Sample(large, 0)], for_training(100), augment=Augment())
    assert sizes_read(monkeypatch, dataset) == {(800, 600), (400, 300)}
    dataset = ImageDataset([Sample(large, 0)], for_training(301), augment=Augment())
    assert sizes_read(monkeypatch, dataset) == {(1600, 1200)}


def test_evaluation_and_prediction_decode_every_pixel(large):
    preprocess = for_training(100)
    assert np.array_equal(ImageDataset([Sample(large, 0)], preprocess)[0].pixels, np.asarray(preprocess.crop(read_image(large))))


def test_what_is_reduced_differs_by_about_a_level_of_the_same_crop(large, monkeypatch):
    """A crop shifted by one pixel of the result differs several times as much."""
    samples, preprocess = [Sample(large, 0)], for_training(100)
    dataset = ImageDataset(samples, preprocess, augment=Augment(), seed=1)
    whole = ImageDataset(samples, preprocess, augment=Augment(), seed=1)
    monkeypatch.setattr(whole, "_divisor", lambda *_: 1)
    monkeypatch.setattr(augment, "_LARGE", math.inf)  # Pillow, which resizes from between pixels too
    differences, shifted = [], []
    for dataset.epoch in range(12):
        whole.epoch = dataset.epoch
        one, other = (pictures[0].pixels.astype(float) for pictures in (dataset, whole))
        differences.append(float(np.abs(one - other).mean()))
        shifted.append(float(np.abs(other[:, 1:] - other[:, :-1]).mean()))
    assert 0 < np.mean(differences) < 1.0
    assert max(differences) < 1.5
    assert np.mean(differences) < np.mean(shifted) / 4


def test_a_reduced_jpeg_that_was_cut_off_is_still_an_error(large, tmp_path):
    (tmp_path / "a.jpg").write_bytes(large.read_bytes()[:-2000])
    with pytest.raises(ImageError, match="cut off or damaged"):
        read_image(tmp_path / "a.jpg", reduction=lambda _: 4)


def test_files_of_other_kinds_are_not_asked_about(tmp_path):
    Image.new("RGB", (2000, 2000)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", reduction=lambda _: pytest.fail("asked")).size == (2000, 2000)
