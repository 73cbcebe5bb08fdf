import csv
import json
import shutil

import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("plain_report_here")

QUICK = ("--epochs", "2", "--batch-size", "8", "--image-size", "16", "--precision", "float32", "--workers", "0")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One small run, trained once."""
    from dataclasses import replace

    from inceptions.data.folders import load_splits
    from inceptions.networks.registry import get_network
    from inceptions.training.loop import Pace, fit, prepare
    from inceptions.training.recipes import QUICK as RECIPE
    from tests.pictures import paint

    base = tmp_path_factory.mktemp("run")
    splits = load_splits(paint(base / "pictures", each=30), seed=0)
    recipe = replace(RECIPE, epochs=3, batch_size=8, precision="float32")
    setup = prepare(get_network("inception_small"), splits, recipe, source="pictures", image_size=16, device="cpu")
    fit(setup, base / "run", pace=Pace(workers=0))
    return base


def test_train_tells_what_it_does_and_where_everything_is(inceptions, pictures, tmp_path):
    result = inceptions("train", pictures, "--output", tmp_path / "run", *QUICK)
    assert result.code == 0, result.err
    assert "  1/2  " in result.err
    assert "60 train, 6 val, 12 test images" in result.err
    assert "test accuracy" in result.out
    for name in ("best", "report.html", "metrics.csv"):
        assert str(tmp_path / "run" / name) in result.out
    assert (tmp_path / "run" / "best" / "model.safetensors").is_file()


def test_train_without_output_makes_a_new_folder_each_time(inceptions, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert inceptions("train", pictures, *QUICK, "--epochs", "1").code == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        f"inception_small-{pictures.name}",
        f"inception_small-{pictures.name}-2",
    ]


def test_predict_tells_the_classes_of_a_folder_and_writes_them(inceptions, run, tmp_path):
    result = inceptions("predict", run / "pictures", "--model", run / "run" / "best", "--output", tmp_path / "p.csv", "--top-k", "2")
    assert (result.code, result.out) == (0, "")  # the rows are in the file, and a log needn't have them too
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "class", "probability", "class_2", "probability_2", "error"]
    assert len(rows) == 90
    assert sum(row["class"] in row["file"] for row in rows) > 80
    assert all(float(row["probability"]) >= float(row["probability_2"]) for row in rows)


def test_predict_reads_one_file_and_a_glob(inceptions, run):
    one = inceptions("predict", run / "pictures" / "blue" / "000.png", "--model", run / "run" / "best")
    assert "1 image: 1 blue" in one.err
    many = inceptions("predict", f"{run}/pictures/*/00[0-4].png", "--model", run / "run" / "best")
    assert "15 images" in many.err
    several = inceptions(
        "predict", *(run / "pictures" / name for name in ("blue/001.png", "amber", "blue/000.png")), "-m", run / "run" / "best"
    )
    files = [line.split("\t")[0].removeprefix(f"{run}/pictures/") for line in several.out.splitlines()[1:]]
    assert (files[0], files[-1], len(files)) == ("blue/001.png", "blue/000.png", 32)  # as a shell makes of *.png, in the order given


def test_predictions_are_those_of_the_test_in_training(inceptions, run, tmp_path):
    """One way in: what the run measured on its test images is what predict says of the same files."""
    from inceptions.data.folders import load_splits

    test = load_splits(run / "pictures", seed=0).test
    for sample in test:
        (tmp_path / "held_out").mkdir(exist_ok=True)
        shutil.copy(sample.path, tmp_path / "held_out" / f"{sample.path.parent.name}-{sample.path.name}")
    inceptions("predict", tmp_path / "held_out", "--model", run / "run" / "best", "--output", tmp_path / "p.csv")
    with (tmp_path / "p.csv").open() as file:
        right = [row["class"] in row["file"].rsplit("/", 1)[1] for row in csv.DictReader(file)]
    measured = json.loads((run / "run" / "best" / "model.json").read_text())["metrics"]["test_accuracy"]
    assert sum(right) / len(right) == pytest.approx(measured)


def test_unreadable_file_stops_predict_where_that_is_asked_for(inceptions, run, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"not a picture")
    result = inceptions("predict", tmp_path, "--model", run / "run" / "best", "--output", tmp_path / "p.csv", "--on-error", "fail")
    assert result.code == 2
    assert str(bad) in result.err
    assert result.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.jpg"]


def test_unreadable_file_is_named_counted_and_kept_in_the_table(inceptions, run, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"not a picture")
    Image.new("RGB", (30, 30), (40, 70, 220)).save(tmp_path / "good.png")
    result = inceptions("predict", tmp_path, "--model", run / "run" / "best", "--output", tmp_path / "p.csv")
    assert result.code == 0
    assert f"left out: {tmp_path / 'bad.jpg'}: no image" in result.err
    assert "1 of 2 files can't be read" in result.err
    with (tmp_path / "p.csv").open() as file:
        rows = {row["file"].rsplit("/", 1)[1]: row for row in csv.DictReader(file)}
    assert rows["bad.jpg"]["class"] == ""
    assert rows["bad.jpg"]["error"]
    assert rows["good.png"]["class"] == "blue"


def one_class(pictures):
    for name in ("amber", "green"):
        for part in ("train", "test"):
            shutil.rmtree(pictures / part / name)


def truncated(pictures):
    path = next((pictures / "train" / "blue").iterdir())
    path.write_bytes(path.read_bytes()[:80])


def emptied(pictures):
    shutil.rmtree(pictures)
    pictures.mkdir()


@pytest.mark.parametrize("spoil", [one_class, truncated, emptied, shutil.rmtree])
def test_data_that_cannot_be_trained_on_is_one_line_and_leaves_nothing(inceptions, pictures, tmp_path, spoil):
    spoil(pictures)
    result = inceptions("train", pictures, "--output", tmp_path / "run", *QUICK)
    assert result.code == 2
    lines = [line for line in result.err.splitlines() if line.startswith("inceptions: ")]
    assert len(lines) == 1
    assert str(pictures) in lines[0]
    assert "Traceback" not in result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--image-size", "2"), "the smallest square image is 4x4"),
        (("--batch-size", "1"), "batch_size is 1"),
        (("--lr", "0"), "lr is 0.0"),
        (("--epochs", "0"), "epochs is 0"),
        (("--device", "tpu9"), "device 'tpu9' can't be used"),
    ],
)
def test_settings_that_cannot_be_are_one_line_and_leave_nothing(inceptions, pictures, tmp_path, arguments, message):
    result = inceptions("train", pictures, "--output", tmp_path / "run", *QUICK, *arguments)
    assert result.code == 2
    assert message in result.err
    assert not (tmp_path / "run").exists()


def test_existing_output_is_refused(inceptions, pictures, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").touch()
    result = inceptions("train", pictures, "--output", tmp_path / "run", *QUICK)
    assert result.code == 2
    assert "exists already" in result.err


@pytest.mark.parametrize(("model", "message"), [("nothing", "there is no such folder"), (".", "there is no model.json in it")])
def test_model_that_is_none_is_one_line(inceptions, pictures, tmp_path, monkeypatch, model, message):
    monkeypatch.chdir(tmp_path)
    result = inceptions("predict", pictures, "--model", model)
    assert result.code == 2
    assert message in result.err


def test_source_without_images_is_one_line(inceptions, run, tmp_path):
    result = inceptions("predict", tmp_path / "none*.jpg", "--model", run / "run" / "best")
    assert result.code == 2
    assert "none*.jpg" in result.err
