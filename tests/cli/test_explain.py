"""explain, visualize and dream on the command line."""

import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from inceptions.data.decode import read_image
from tests.tiny import save_tiny

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
ODD = "<u>a & b\n\u202e'\"<u>.png"


@pytest.fixture
def photo(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_explain_writes_an_overlay_and_a_page_with_the_classes_side_by_side(inceptions, tiny, photo, tmp_path):
    done = inceptions("explain", photo, "--model", tiny, "--output", tmp_path / "why")
    assert done.code == 0, done.err
    assert read_image(tmp_path / "why" / "photo.png").size == (40, 30)
    page = (tmp_path / "why" / "explanations.html").read_text()
    assert sorted(re.findall(r'alt="what spoke for (\w+)"', page)) == ["amber", "blue", "green"]
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert str(photo) in done.out


def test_explain_takes_a_class_and_a_method_and_prints_json(inceptions, tiny, photo, tmp_path):
    given = ("--model", tiny, "--class", "green", "--method", "occlusion", "--top-k", 1, "--output", tmp_path / "why", "--json")
    done = inceptions("explain", photo, *given)
    (image,) = json.loads(done.out)["images"]
    assert (image["class"], image["method"]) == ("green", "occlusion")
    assert (tmp_path / "why" / "explanations.html").read_text().count('alt="what spoke for ') == 1


def test_nothing_is_written_over_unasked(inceptions, tiny, photo, tmp_path):
    given = ("explain", photo, "--model", tiny, "--output", tmp_path / "why")
    assert inceptions(*given).code == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "why").iterdir()}
    refused = inceptions(*given)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "exists already; give another place, or --force" in refused.err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "why").iterdir()} == before
    (tmp_path / "why" / "mine.txt").write_text("mine")
    assert inceptions(*given, "--force").code == 0
    assert (tmp_path / "why" / "mine.txt").read_text() == "mine"


def test_pictures_of_one_name_each_have_an_overlay_and_one_that_cannot_be_read_is_left_out(inceptions, tiny, photo, tmp_path):
    (tmp_path / "sub").mkdir()
    shutil.copy(photo, tmp_path / "sub" / "Photo.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    done = inceptions("explain", photo, tmp_path / "sub", tmp_path / "broken.png", "--model", tiny, "--output", tmp_path / "why")
    assert done.code == 0
    assert sorted(path.name for path in (tmp_path / "why").iterdir()) == ["Photo-2.png", "explanations.html", "photo.png"]
    assert "left out: " in done.err
    alone = inceptions("explain", tmp_path / "broken.png", "--model", tiny, "--output", tmp_path / "none")
    assert (alone.code, "none of the images can be read" in alone.err) == (2, True)
    assert not list((tmp_path / "none").glob("*"))


@pytest.mark.parametrize("name", [ODD, os.fsdecode(b"caf\xe9.png"), "x" * 240 + ".png"])
def test_odd_names_are_escaped_in_the_page(inceptions, tiny, photo, tmp_path, name):
    (tmp_path / "in").mkdir()
    shutil.copy(photo, tmp_path / "in" / name)
    done = inceptions("explain", tmp_path / "in", "--model", tiny, "--output", tmp_path / "why")
    assert done.code == 0, done.err
    page = (tmp_path / "why" / "explanations.html").read_text(encoding="utf-8")
    body = page.partition("<body>")[2]
    assert "<u>" not in body
    assert "\u202e" not in body
    assert len(list((tmp_path / "why").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("explain", "photo.png", "--model", "tiny", "--class", "bleu"),
            "'bleu' is not one of the 3 classes of the model; did you mean blue?",
        ),
        (("explain", "photo.png", "--model", "tiny", "--stage", "9z"), "has no stage '9z'; stages are conv1, 2a, 2b"),
        (("explain", "photo.png", "--model", "bare"), "ends in features and has no classes to explain"),
        (("explain", "photo.png", "--model", "tiny", "--output", "photo.png"), "can't write"),
        (("visualize", "tiny", "--stage", "9z"), "has no stage '9z'; stages are conv1, 2a, 2b"),
        (("visualize", "tiny", "--stage", "2a", "--branch", "pool"), "has no branch 'pool'; branches are conv1x1, conv3x3"),
        (("visualize", "tiny", "--stage", "2a", "--channel", "99"), "has no channel 99; it has 0 to 15"),
        (("visualize", "tiny", "--stage", "2a", "--output", "x.png"), "several channels are an SVG"),
        (("visualize", "tiny", "--stage", "2a", "--channel", "1", "--output", "photo.png"), "photo.png exists already"),
        (("dream", "photo.png", "--model", "tiny", "--stage", "9z"), "has no stage '9z'"),
        (("dream", "photo.png", "--model", "tiny", "--stage", "2a", "--output", "photo.png"), "photo.png exists already"),
        (("dream", "photo.png", "--model", "tiny", "--stage", "2a", "--output", "x.svg"), "must end in .png, .jpg, .jpeg"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(inceptions, photo, tiny, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny, "tiny")
    save_tiny(tmp_path / "bare", classes=())
    done = inceptions(*arguments)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert message in done.err
    assert not list(tmp_path.glob("*dream*"))


def test_visualize_draws_the_module_with_pictures_of_its_branches(inceptions, tiny, tmp_path):
    path = tmp_path / "2a.svg"
    done = inceptions("visualize", tiny, "--stage", "2a", "--each", 2, "--steps", 1, "--output", path)
    assert done.code == 0, done.err
    assert len(ET.parse(path).getroot().findall(".//{*}image")) == 4
    assert inceptions("visualize", tiny, "--stage", "conv1", "--each", 3, "--steps", 1, "--output", tmp_path / "1.svg").code == 0
    one = inceptions(
        "visualize", tiny, "--stage", "2a", "--branch", "conv3x3", "--channel", 1, "--steps", 1, "--output", tmp_path / "c.png"
    )
    assert one.code == 0, one.err
    assert read_image(tmp_path / "c.png").size == (32, 32)


def test_dream_writes_a_picture(inceptions, tiny, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = inceptions("dream", photo, "--model", tiny, "--stage", "2a", "--octaves", 2, "--steps", 1)
    assert done.code == 0, done.err
    assert read_image(tmp_path / "photo-dream.png").size == (40, 30)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.exhaustive
@pytest.mark.parametrize("width", [390, 1440])
def test_page_is_no_wider_than_the_screen(inceptions, tiny, photo, tmp_path, width):
    assert inceptions("explain", photo, "--model", tiny, "--output", tmp_path / "why").code == 0
    page = tmp_path / "why" / "explanations.html"
    page.write_text(page.read_text().replace("</body>", "<script>document.title = document.documentElement.scrollWidth</script></body>"))
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(re.findall(r"<title>(\d+)</title>", dom)[0]) <= max(width, 500)  # narrower windows than 500 pixels Chromium hasn't
