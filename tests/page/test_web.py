"""A model's page from a plain file server, nothing behind it: Chromium answers as Python does."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inceptions.inference.predict import predict
from inceptions.inference.web import export_web
from inceptions.weights.folder import save_model
from inceptions.weights.locate import find_model
from tests.page.conftest import drop
from tests.page.file_server import Server
from tests.page.runtime import use_real_runtime

pytest.importorskip("playwright.sync_api")
pytest.importorskip("onnxruntime")
from playwright.sync_api import expect

pytestmark = pytest.mark.exhaustive  # a network is exported, and compiled by the browser

CHELSEA = Path(__file__).parents[2] / "docs" / "chelsea.jpg"
ROUNDING = 1e-5  # of float32, in another order of sums
ANSWER = """async (name) => {
  const { predict } = await import("./classifier.js");
  const blob = await (await fetch(name)).blob();
  return JSON.stringify((await predict("", [new File([blob], name)], { topK: 1000 }))[0]);
}"""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        use_real_runtime(patch, tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="module")
def served(runtime, tiny, tmp_path_factory):
    """A small network's page, served."""
    folder = tmp_path_factory.mktemp("web") / "page"
    export_web(tiny, folder)
    with Server(folder) as server:
        yield server


def noise(size, mode="RGB", seed=0) -> Image.Image:
    """Large patches of any colour, so that one crop differs from another."""
    shape = (7, 5, len(mode)) if len(mode) > 1 else (7, 5)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8), mode).resize(size, Image.Resampling.BICUBIC)


def differences(page, server: Server, model: Path, pictures: dict[str, bytes]) -> list[float]:
    """By how much a probability differs from Python's at most, for each picture."""
    found = []
    for name, content in pictures.items():
        (server.folder / name).write_bytes(content)
        told = {one["class"]: one["probability"] for one in json.loads(page.evaluate(ANSWER, name))["classes"]}
        (wanted,) = predict(model, server.folder / name, engine="torch", device="cpu", top_k=1000)
        assert next(iter(told)) == wanted.classes[0]
        found.append(max(abs(told[one] - value) for one, value in zip(wanted.classes, wanted.probabilities, strict=True)))
    return found


def encode(image: Image.Image, form: str, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


def test_the_page_alone_says_what_python_says(served, visit, tiny):
    """Drop a photo, read the class; then PNGs and JPEGs of other sizes, and a file that is none. Nothing is fetched from elsewhere."""
    page = visit(served.url)
    drop(page, CHELSEA, ("notes.txt", b"no picture"))
    (wanted,) = predict(tiny, CHELSEA, engine="torch", device="cpu")
    expect(page.locator(".bars li").first).to_contain_text(wanted.classes[0], timeout=30_000)
    expect(page.locator(".picture.failed")).to_contain_text("No picture that this browser can read; it reads JPEG, PNG")
    expect(page.locator("#note")).to_contain_text("Pictures stay on this device")
    expect(page.get_by_label("Heat map")).to_be_hidden()
    lying = Image.Exif()
    lying[0x0112] = 6  # to be turned by a quarter
    pictures = {
        "photo.jpg": CHELSEA.read_bytes(),
        "large.png": encode(noise((300, 211)), "PNG"),
        "tall.png": encode(noise((9, 700), seed=1), "PNG"),  # read from the canvas in two strips
        "grey.png": encode(noise((60, 40), "L"), "PNG"),
        "turned.jpg": encode(noise((80, 50)), "JPEG", quality=90, exif=lying),
    }
    assert max(differences(page, served, tiny, pictures)) < ROUNDING


def test_what_is_asked_before_the_network_is_there_is_answered_then(served, visit):
    (served.folder / "early.png").write_bytes(encode(noise((64, 48), "RGB"), "PNG"))
    early = """async () => {
      const fresh = await import("./classifier.js?fresh");
      const blob = await (await fetch("early.png")).blob();
      const asked = fresh.predict("", [new File([blob], "early.png")]);
      await fresh.openModels();
      return (await asked)[0].classes.length;
    }"""
    assert visit(served.url).evaluate(early) > 0


def test_transparent_pictures_lie_on_white(served, visit, tiny):
    """The browser keeps half-transparent pixels multiplied by their alpha, which costs a level or two of 255: so much, but no more."""
    (found,) = differences(visit(served.url), served, tiny, {"clear.png": encode(noise((64, 48), "RGBA"), "PNG")})
    assert found < 0.02


def test_the_shipped_network_sees_the_cat(runtime, visit, tmp_path):
    shipped = find_model("inception_small.cifar10")
    export_web(shipped, tmp_path / "page")
    with Server(tmp_path / "page") as server:
        page = visit(server.url, width=390, scheme="dark")
        drop(page, CHELSEA)
        expect(page.locator(".bars li").first).to_contain_text("cat", timeout=30_000)
        expect(page.locator("#status")).to_contain_text("cat, 98.9")
        expect(page.locator("#card")).to_contain_text("89.3\u202f% of 10,000 test images")
        assert max(differences(page, server, shipped, {"a.jpg": CHELSEA.read_bytes()})) < ROUNDING


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "xception"])
def test_networks_of_every_kind_run_in_the_browser(runtime, visit, tmp_path, name):
    """With their own preprocessing: BGR, squashed, and in fractions of their sides."""
    import torch

    from inceptions.data.preprocess import CAFFE, INCEPTION
    from inceptions.networks.modules.models import create_model

    torch.manual_seed(0)
    module = create_model(name, num_classes=7)
    preprocess = CAFFE if name == "googlenet" else INCEPTION
    save_model(module, tmp_path / "model", preprocess=preprocess, classes=tuple("abcdefg"))
    export_web(tmp_path / "model", tmp_path / "page")
    with Server(tmp_path / "page") as server:
        page = visit(server.url)
        pictures = {"a.png": encode(noise((640, 427)), "PNG"), "b.jpg": CHELSEA.read_bytes()}
        assert max(differences(page, server, tmp_path / "model", pictures)) < 1e-4


def test_grey_networks_read_colours_as_pillow_does(runtime, visit, tmp_path):
    import torch

    from inceptions.data.preprocess import for_training
    from inceptions.networks.modules.models import create_model

    torch.manual_seed(0)
    module = create_model("inception_small", num_classes=3, in_chans=1)
    save_model(module, tmp_path / "model", preprocess=for_training(28, channels=1), classes=("a", "b", "c"))
    export_web(tmp_path / "model", tmp_path / "page")
    with Server(tmp_path / "page") as server:
        pictures = {"a.png": encode(noise((64, 47)), "PNG"), "b.png": encode(noise((64, 47), "L"), "PNG")}
        assert max(differences(visit(server.url), server, tmp_path / "model", pictures)) < ROUNDING
