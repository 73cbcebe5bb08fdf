import errno
import html
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inceptions.evaluation.saved import read_predictions
from inceptions.weights.folder import save_model
from tests.evaluation.models import make_model

ROOT = Path(__file__).parents[2]


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where runs/evaluate-... goes
    for seed, name in enumerate(("first", "second")):
        model = make_model(CLASSES, seed=seed)
        save_model(model.module, tmp_path / name, preprocess=model.card.preprocess, classes=CLASSES)
    return tmp_path / "first", tmp_path / "second"


CLASSES = ("amber", "blue", "green")


def test_the_papers_table_of_models_and_crops(inceptions, models, pictures, tmp_path):
    result = inceptions("evaluate", *models, "--data", pictures, "--crops", "1,10")
    assert result.code == 0, result.err
    assert "2 models averaged" in result.out
    assert result.out.count("base") >= 1
    assert "12 test images" in result.err
    assert (tmp_path / "runs" / "evaluate-pictures" / "report.html").is_file()
    assert (tmp_path / "runs" / "evaluate-pictures" / "predictions.parquet").is_file()


def test_json_has_every_number(inceptions, models, pictures):
    result = inceptions("evaluate", models[0], "--data", pictures, "--json", "--part", "all")
    found = json.loads(result.out)
    assert found["part"] == "all"
    (row,) = found["rows"]
    assert row["images"] == 78
    assert row["top1_interval"][0] <= row["top1_error"] <= row["top1_interval"][1]
    assert row["error_difference_points"] == 0
    assert (row["top5_error"], row["top5_interval"], row["nan_outputs"]) == (None, None, 0)
    assert [cls["images"] for cls in found["per_class"]] == [26, 26, 26]
    right = sum(cls["recall"] * cls["images"] for cls in found["per_class"])
    assert right / 78 == pytest.approx(1 - row["top1_error"])
    assert (Path(found["folder"]) / "report.html").is_file()


def test_json_has_null_where_nothing_is_known(inceptions, models, pictures, tmp_path):
    shutil.rmtree(pictures / "test" / "blue")
    found = json.loads(inceptions("evaluate", models[0], "--data", pictures, "--json", "--output", tmp_path / "e").out)
    assert {cls["name"]: cls["recall"] for cls in found["per_class"]}["blue"] is None


@pytest.mark.parametrize(
    ("arguments", "said"), [(("--crops", "7"), "1, 2, 6, 10, 12"), (("--protocol", "tim"), "timm"), (("--data", "nowhere"), "nowhere")]
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


def test_what_was_measured_is_said_on_the_terminal_in_the_report_and_in_json(inceptions, models, pictures, tmp_path):
    """Of a plain folder a tenth was measured, and standard error alone said so."""
    arguments = ("evaluate", models[0], "--data", pictures / "train", "--part", "test", "--split-seed", "3", "--output")
    printed = inceptions(*arguments, tmp_path / "a").err
    said = "6 test images of 66, set aside by split seed 3"
    unknown = "whether these images were trained on isn't known"
    assert said in printed
    assert f"note: {unknown}" in printed
    page = html.unescape((tmp_path / "a" / "report.html").read_text())
    assert said in page
    assert unknown in page
    found = json.loads(inceptions(*arguments, tmp_path / "b", "--json").out)["measured"]
    assert found.pop("notes")[0].startswith(unknown)
    assert found == {"part": "test", "images": 6, "of": 66, "split_seeds": [3], "trained_on": {str(models[0]): None}}


def test_the_same_difference_has_the_same_sign_everywhere(inceptions, models, pictures, tmp_path):
    arguments = ("evaluate", *models, "--data", pictures, "--output")
    printed = inceptions(*arguments, tmp_path / "a").out
    rows = json.loads(inceptions(*arguments, tmp_path / "b", "--json").out)["rows"]
    points = [row["error_difference_points"] for row in rows[1:]]
    errors = [row["top1_error"] for row in rows]
    assert points == pytest.approx([100 * (error - errors[0]) for error in errors[1:]])
    assert any(points)
    page = (tmp_path / "a" / "report.html").read_text()
    for value in points:
        assert f"{value:+.2f}" in printed
        assert f"<td>{value:+.2f} " in page


def test_the_table_is_printed_whatever_becomes_of_the_files(inceptions, models, pictures, tmp_path, monkeypatch):
    """A disk that was full, or a folder that couldn't be made, lost everything; and the retry said that the folder exists already."""

    def full(*_args, **_settings):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    arguments = ("evaluate", models[0], "--data", pictures, "--output", tmp_path / "e")
    with monkeypatch.context() as patch:
        patch.setattr("inceptions.evaluation.report.write_report", full)
        failed = inceptions(*arguments)
    assert failed.code == 2
    assert "12 test images" in failed.err
    assert "what was found is printed, but report.html can't be written" in failed.err
    assert "No space left" in failed.err
    assert (tmp_path / "e" / "predictions.parquet").is_file()
    with monkeypatch.context() as patch:
        patch.setattr("inceptions.evaluation.saved.write_predictions", full)
        failed = inceptions(*arguments, "--json")
    assert json.loads(failed.out)["rows"]
    assert "predictions.parquet and report.html can't be written" in failed.err
    done = inceptions(*arguments)
    assert done.code == 0, done.err
    assert sorted(path.suffix for path in (tmp_path / "e").iterdir()) == [".html", ".parquet", ".png", ".png"]
    assert "exists already" in inceptions(*arguments).err


def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(inceptions, models, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("inceptions.evaluation.evaluate.evaluate", None)
    (tmp_path / "file").write_text("")
    refused = inceptions("evaluate", models[0], "--data", pictures, "--output", tmp_path / "file" / "e")
    assert refused.code == 2
    assert "can't write" in refused.err


def test_what_fails_before_anything_is_written_leaves_no_folder(inceptions, models, pictures, tmp_path):
    (pictures / "test").rename(pictures / "val")
    for model, part, said in (("nowhere/best", "auto", "not a model folder"), (models[0], "test", "there are no test images")):
        failed = inceptions("evaluate", model, "--data", pictures, "--part", part, "--output", tmp_path / "e")
        assert (failed.code, said in failed.err) == (2, True)
        assert not (tmp_path / "e").exists()


def test_the_table_fits_eighty_columns(inceptions, models, pictures):
    printed = inceptions("evaluate", *models, "--data", pictures, "--crops", "1,10", width=80).out
    assert "ECE" in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert "averaged" in printed


@pytest.fixture
def loose(pictures, tmp_path):
    """A folder of twelve pictures without class folders."""
    folder = tmp_path / "loose"
    folder.mkdir()
    for path in (pictures / "test").glob("*/*.png"):
        path.rename(folder / f"{path.parent.name}-{path.name}")
    return folder


def test_of_images_without_labels_only_predictions_are_written(inceptions, models, loose, tmp_path):
    result = inceptions("evaluate", models[0], "--data", loose)
    assert result.code == 0, result.err
    assert "12 pictures and no folder of pictures for each class, so nothing can be measured" in result.err
    assert "12 images of" in result.err
    assert "error" not in result.out
    assert [path.name for path in (tmp_path / "runs" / "evaluate-loose").iterdir()] == ["predictions.parquet"]


def test_json_counts_what_images_without_labels_are_taken_for(inceptions, models, loose):
    found = json.loads(inceptions("evaluate", *models, "--data", loose, "--crops", "1,10", "--json", "--part", "all").out)
    assert [len(row["models"]) for row in found["rows"]] == [1, 1, 2, 1, 1, 2]
    for row in found["rows"]:
        assert row["images"] == sum(row["predicted"].values()) == 12
        assert set(row["predicted"]) <= set(CLASSES)
        assert 1 / 3 < row["mean_confidence"] <= 1


def test_json_of_pictures_that_can_not_be_read_has_null_and_no_nan(inceptions, models, loose):
    for path in loose.iterdir():
        path.write_bytes(b"no picture")
    found = json.loads(inceptions("evaluate", models[0], "--data", loose, "--json").out, parse_constant=pytest.fail)
    assert [row["mean_confidence"] for row in found["rows"]] == [None]


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_images_without_labels_have_no_parts(inceptions, models, loose, part):
    result = inceptions("evaluate", models[0], "--data", loose, "--part", part)
    assert result.code == 2
    assert f"--part {part}:" in result.err
    assert "leave out --part" in result.err


def test_a_folder_without_any_picture_is_refused_as_before(inceptions, models, tmp_path):
    (tmp_path / "nothing" / "inside").mkdir(parents=True)
    assert "no pictures in its folders" in inceptions("evaluate", models[0], "--data", tmp_path / "nothing").err
    assert "an empty folder" in inceptions("evaluate", models[0], "--data", tmp_path / "nothing" / "inside").err


def torchrun(*arguments, module="inceptions"):
    """Run two processes of a module; what they print, and how they ended."""
    command = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", module, *arguments)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.exhaustive
def test_two_processes_find_what_one_does_and_one_of_them_writes(inceptions, models, pictures, tmp_path):
    """Losses within float32's rounding, as batches differ."""
    (pictures / "test" / "blue" / "000.png").write_bytes(b"no picture")
    arguments = ("evaluate", *models, "--data", pictures, "--crops", "1,10", "--device", "cpu", "--json", "--output")
    one, done = json.loads(inceptions(*arguments, tmp_path / "one").out), torchrun(*arguments, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    two = json.loads(done.stdout)
    for row, other in zip(one["rows"], two["rows"], strict=True):
        assert row["images"] == 11
        assert all(row[name] == other[name] for name in ("models", "crops", "images", "top1_error", "top5_error", "multiply_adds"))
        assert row["loss"] == pytest.approx(other["loss"], abs=1e-5)
    saved, read = (read_predictions(tmp_path / name / "predictions.parquet") for name in ("one", "two"))
    assert read.images == saved.images
    for key, score in saved.scores.items():
        assert read.scores[key].predicted.tolist() == score.predicted.tolist()
        assert read.scores[key].losses == pytest.approx(score.losses, abs=1e-5)
    assert (tmp_path / "two" / "report.html").is_file()


@pytest.mark.exhaustive
def test_what_two_processes_can_not_do_is_said_once(models, pictures):
    refused = torchrun("evaluate", "nowhere", "--data", pictures, "--device", "cpu")
    assert refused.returncode == 1
    assert refused.stderr.count("inceptions: nowhere is not a model folder") == 1
    assert refused.stdout == ""


@pytest.mark.exhaustive
def test_where_one_process_fails_both_end_and_the_first_says_why():
    refused = torchrun(module="tests.cli.second_fails")
    assert refused.returncode == 1
    assert refused.stderr.count("inceptions: the second has no disk") == 1
    assert "done" not in refused.stdout
