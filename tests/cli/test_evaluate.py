import json

import pytest

from inceptions.data.preprocess import for_training
from inceptions.networks import reshape
from inceptions.networks.models import Classifier
from inceptions.networks.registry import get_network
from inceptions.weights.folder import save_model


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where runs/evaluate-... goes
    network = reshape.with_classes(reshape.scale_width(get_network("inception_small"), 0.125), 3)
    for name in ("first", "second"):
        save_model(Classifier(network).eval(), tmp_path / name, preprocess=for_training(28), classes=CLASSES)
    return tmp_path / "first", tmp_path / "second"


CLASSES = ("amber", "blue", "green")


def test_the_papers_table_of_models_and_crops(inceptions, models, pictures, tmp_path):
    result = inceptions("evaluate", *models, "--data", pictures, "--crops", "1,10")
    assert result.code == 0, result.err
    assert "2 models averaged" in result.out
    assert result.out.count("base") >= 1
    assert "12 test images" in result.out
    assert (tmp_path / "runs" / "evaluate-pictures" / "report.html").is_file()
    assert (tmp_path / "runs" / "evaluate-pictures" / "predictions.parquet").is_file()


def test_json_has_every_number(inceptions, models, pictures):
    result = inceptions("evaluate", models[0], "--data", pictures, "--json", "--part", "all")
    found = json.loads(result.out)
    assert found["part"] == "all"
    (row,) = found["rows"]
    assert row["images"] == 78
    assert row["top1_interval"][0] <= row["top1_error"] <= row["top1_interval"][1]


@pytest.mark.parametrize(
    ("arguments", "said"), [(("--crops", "7"), "1, 10, 12 or 144"), (("--protocol", "tim"), "timm"), (("--data", "nowhere"), "nowhere")]
)
def test_what_cannot_be_is_refused_in_a_line(inceptions, models, pictures, arguments, said):
    result = inceptions("evaluate", models[0], "--data", pictures, *arguments)
    assert result.code == 2
    assert said in result.err


def test_compare_prints_runs_side_by_side_and_draws_their_curves(inceptions, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, rate in (("a", "0.1"), ("b", "0.01")):
        done = inceptions("train", pictures, "--epochs", "1", "--lr", rate, "--image-size", "16", "--output", name, "--workers", "0")
        assert done.code == 0, done.err
    result = inceptions("compare", "a", "b", "--output", "curves.png")
    assert result.code == 0, result.err
    assert "recipe.lr" in result.out
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert inceptions("compare", "a").code == 2
    assert inceptions("compare", "a", "b", "--output", "curves.txt").code == 2


def test_images_that_were_set_aside_here_are_said_to_be(inceptions, models, pictures):
    assert "sets aside" in inceptions("evaluate", models[0], "--data", pictures / "train").err
    assert "sets aside" not in inceptions("evaluate", models[0], "--data", pictures).err


def test_the_table_fits_eighty_columns(inceptions, models, pictures, monkeypatch):
    monkeypatch.setattr("inceptions.cli.terminal.out._width", 80)
    printed = inceptions("evaluate", *models, "--data", pictures, "--crops", "1,10").out
    assert "ECE" in printed
    assert "averaged" in printed
