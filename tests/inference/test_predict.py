"""Predictions and evaluations from Python, of whatever holds the pictures."""

import numpy as np
import pytest
import torch
from PIL import Image

import inceptions
from inceptions.data.in_memory import find_pictures
from inceptions.data.preprocess import for_training
from inceptions.errors import DataError, ImageError, UserError
from inceptions.networks.modules.models import create_model
from inceptions.weights.folder import save_model
from tests.pictures import COLOURS

CLASSES = tuple(COLOURS)


PIXELS = np.zeros((40, 40, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder of a small network with random weights."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("models") / "small"
    save_model(create_model("inception_small", num_classes=3), place, preprocess=for_training(16), classes=CLASSES)
    return place


@pytest.fixture
def files(tmp_path):
    """Pictures of the modes that files have, one with an orientation and transparency among them."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 26, 4), dtype=np.uint8)
    coloured = Image.fromarray(pixels[..., :3])
    exif = Image.Exif()
    exif[0x0112] = 6
    palette = coloured.quantize(16)
    images = {
        "rgb.png": coloured,
        "grey.png": coloured.convert("L"),
        "rgba.png": Image.fromarray(pixels),
        "palette.gif": palette,
        "deep.png": Image.fromarray(rng.integers(0, 65536, (20, 26), dtype=np.uint16)),
        "print.jpg": coloured.convert("CMYK"),
    }
    (tmp_path / "files").mkdir()
    for name, image in images.items():
        image.save(tmp_path / "files" / name)
    coloured.save(tmp_path / "files" / "turned.jpg", exif=exif)
    return sorted((tmp_path / "files").iterdir())


def opened(file):
    with Image.open(file) as image:
        image.load()
        return image


def said(predictions):
    return [(item.classes, item.probabilities) for item in predictions]


def test_a_picture_is_the_same_in_a_file_and_in_memory(folder, files):
    model = inceptions.load_model(folder)
    of_files = inceptions.predict(model, files, batch_size=3, device="cpu")
    assert [item.path for item in of_files] == files
    assert said(inceptions.predict(model, [opened(file) for file in files], batch_size=3, device="cpu")) == said(of_files)
    rgb = files[[file.name for file in files].index("rgb.png")]
    alone = inceptions.predict(str(folder), np.asarray(opened(rgb)), device="cpu")
    assert said(alone) == said(inceptions.predict(folder, rgb, device="cpu"))
    assert str(alone[0].path) == "image 0"


def test_a_folder_and_an_array_of_pictures_are_several(folder, files):
    assert len(inceptions.predict(folder, files[0].parent, device="cpu", top_k=1)) == len(files)
    batch = np.zeros((2, 16, 16, 3), np.uint8)
    first, second = inceptions.predict(folder, batch, device="cpu")
    assert first.classes == second.classes
    assert sum(first.probabilities) == pytest.approx(1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"image 0: an array of float32 \(4, 4, 3\); give uint8"),
        (np.zeros((4, 4, 7), np.uint8), r"image 0: an array of uint8 \(4, 4, 7\)"),
        (torch.zeros(1, 3, 4, 4), r"a Tensor, which is no picture; .*load_model"),
        ([torch.zeros(3, 4, 4)], r"image 0: a Tensor"),
        (7, "a int, which is no picture"),
        (Image.new("F", (4, 4)), "image 0: 32-bit float pixels"),
    ],
)
def test_what_is_no_picture_is_told_before_the_model_is_loaded(given, message):
    with pytest.raises(ImageError, match=message):
        inceptions.predict("no_such_model", given)


def test_a_name_stands_for_what_the_command_takes(folder, files, tmp_path):
    (tmp_path / "list.csv").write_text("path\nfiles/rgb.png\nfiles/grey.png\n")
    found = inceptions.predict(folder, [tmp_path / "list.csv", tmp_path / "files" / "rgb.png"])
    assert [item.path.name for item in found] == ["rgb.png", "grey.png", "rgb.png"]


def test_a_name_of_nothing_is_told():
    with pytest.raises(DataError, match="no such file"):
        find_pictures(["nothing.png"])


def test_a_broken_file_is_an_error_or_a_prediction_that_says_so(folder, files):
    files[0].write_bytes(b"no picture")
    with pytest.raises(ImageError, match=files[0].name):
        inceptions.predict(folder, files, device="cpu")
    found = inceptions.predict(folder, files, device="cpu", on_error="skip")
    assert [bool(item.error) for item in found] == [True, *[False] * (len(files) - 1)]


def test_evaluation_of_a_folder_is_that_of_its_pictures(folder, pictures):
    """The same twelve pictures in a folder, as files with names of classes, and as arrays."""
    of_folder = inceptions.evaluate(folder, pictures, part="test", device="cpu")
    pairs = [(path, path.parent.name) for path in sorted((pictures / "test").glob("*/*.png"))]
    of_files = inceptions.evaluate([folder], pairs, device="cpu")
    arrays = [(np.asarray(opened(path)), name) for path, name in pairs]
    of_arrays = inceptions.evaluate({"mine": inceptions.load_model(folder)}, arrays, device="cpu")
    scores = [found.rows[0].score for found in (of_folder, of_files, of_arrays)]
    assert [score.count for score in scores] == [12, 12, 12]
    assert len({score.accuracy for score in scores}) == 1
    assert scores[1].losses == pytest.approx(scores[2].losses)
    assert of_arrays.rows[0].models == ("mine",)


def test_several_models_are_averaged_and_told_apart(folder, pictures):
    model = inceptions.load_model(folder)
    found = inceptions.evaluate([model, model], pictures, device="cpu")
    assert [row.models for row in found.rows] == [("inception_small",), ("inception_small 2",), ("inception_small", "inception_small 2")]
    with pytest.raises(UserError, match="no models given"):
        inceptions.evaluate([], pictures)


def test_no_pictures_have_no_predictions() -> None:
    assert inceptions.predict("inception_small.cifar10", [], workers=0) == []


@pytest.mark.parametrize("data", [(PIXELS, "cat"), PIXELS, {"cat": PIXELS}], ids=["one pair", "a picture", "a mapping"])
def test_what_is_no_pair_of_a_picture_and_a_class_is_refused(data):
    with pytest.raises(UserError, match="pairs of a picture and the name of its class"):
        inceptions.evaluate("inception_small.cifar10", data, workers=0)
