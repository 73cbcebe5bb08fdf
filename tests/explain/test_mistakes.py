"""Heat maps on the mistakes of reports, of evaluations and of training; none of it is imported unless somebody asks."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from inceptions.errors import UserError
from inceptions.evaluation import report
from inceptions.explain.mistakes import heat_map_of
from tests.cli.conftest import inceptions  # noqa: F401 - a fixture
from tests.evaluation.test_report import evaluation, page_of
from tests.explain.models import make_light_meter
from tests.tiny import save_tiny


def test_mistakes_have_a_heat_map_beside_them_where_there_is_one(tmp_path, monkeypatch):
    asked = []

    def heat_map(path, target):
        asked.append(target)
        if len(asked) % 2:
            raise UserError("there is none")
        return Image.new("RGB", (30, 20), "red")

    original = report.Report
    monkeypatch.setattr("tests.evaluation.test_report.Report", lambda **fields: original(**fields, heat_map=heat_map))
    page = page_of(tmp_path, evaluation(tmp_path, images=40))
    assert len(asked) > 1
    assert page.count('alt="what spoke for ') == page.count('<span class="pair">') > 0
    assert page.count(f'alt="{tmp_path / "a.png"}"') > page.count('<span class="pair">')
    assert "by Grad-CAM" in page


def test_heat_map_is_of_the_class_that_the_image_was_taken_for(tmp_path):
    pixels = np.zeros((32, 32, 3), dtype=np.uint8)
    pixels[:16, :16] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    bright, dark = (np.asarray(heat_map_of(make_light_meter())(tmp_path / "a.png", name)).astype(int) for name in ("bright", "dark"))
    assert np.abs(bright - pixels)[:14, :14].max() > 50
    assert np.abs(bright - pixels)[20:, 20:].max() < 5
    assert np.abs(dark - pixels)[20:, 20:].max() > 50


def test_evaluate_and_train_explain_their_mistakes(inceptions, pictures, tmp_path, monkeypatch):  # noqa: F811
    pages = []

    def write_plainly(report, folder):
        pages.append(report.heat_map and report.heat_map(report.paths[0], report.classes[0]).mode)
        (folder / "report.html").write_text("page")

    monkeypatch.setattr("inceptions.evaluation.report.write_report", write_plainly)
    model = save_tiny(tmp_path / "model")
    for more in (("--explain",), ()):
        done = inceptions("evaluate", model, "--data", pictures, "--output", tmp_path / f"e{len(more)}", "--workers", 0, *more)
        assert done.code == 0, done.err
    settings = ("--output", tmp_path / "run", "--epochs", 1, "--workers", 0, "--weights", model, "--explain")
    done = inceptions("train", pictures, *settings)
    assert done.code == 0, done.err
    assert pages == ["RGB", None, "RGB"]


@pytest.mark.parametrize("command", ["evaluate", "train"])
def test_a_missing_library_is_told_before_anything_is_computed(inceptions, pictures, tmp_path, monkeypatch, command):  # noqa: F811
    from inceptions import extras

    found = extras.find_spec
    monkeypatch.setattr("inceptions.extras.find_spec", lambda name: None if name == "captum" else found(name))
    given = (command, tmp_path / "none", "--data", pictures) if command == "evaluate" else (command, pictures, "--output", tmp_path / "run")
    done = inceptions(*given, "--explain")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"{command} --explain needs captum, not installed here; pip install 'inceptions[explain]'" in done.err
    assert not (tmp_path / "run").exists()


def test_what_does_not_explain_imports_nothing_of_it():
    code = """
import sys
import inceptions, inceptions.cli.commands, inceptions.cli.predict, inceptions.cli.evaluate, inceptions.cli.train
import inceptions.inference.predict
found = [name for name in sys.modules if name.startswith(("inceptions.explain", "captum", "matplotlib"))]
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True)
