"""Two finished runs on the same pictures, side by side."""

import json
import shutil
import sys
from dataclasses import replace

import pytest

from inceptions.data.folders import load_splits
from inceptions.errors import UserError
from inceptions.evaluation import metrics
from inceptions.evaluation.compare import differing, error_difference, read_run
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training.loop import Pace, fit, prepare
from inceptions.training.recipe import Recipe
from tests.pictures import paint

pytestmark = pytest.mark.usefixtures("plain_report")

TINY = reshape.scale_width(get_network("inception_small"), 0.125)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    pictures = paint(folder / "pictures", each=10)
    splits, recipe = load_splits(pictures), Recipe(epochs=2, batch_size=16, precision="float32")
    for name, changed in {"a": recipe, "b": replace(recipe, lr=0.01, label_smoothing=0.0, seed=1)}.items():
        fit(prepare(TINY, splits, changed, source=str(pictures), device="cpu"), folder / name, pace=Pace(workers=0))
    return folder / "a", folder / "b"


def test_runs_are_read_and_compared(runs):
    first, other = map(read_run, runs)
    assert len(first.rows) == 2
    changed = differing([first, other])
    assert changed["recipe.label_smoothing"] == ["0.1", "0.0"]
    assert set(changed) == {"recipe.label_smoothing", "recipe.lr", "peak_lr"}
    assert error_difference(first, other) == metrics.error_difference(first.score, other.score)
    assert differing([first, first]) == {}


def test_other_images_are_not_compared(runs):
    first = read_run(runs[0])
    assert error_difference(first, replace(first, images={0: "elsewhere.png"})) is None


def test_the_same_images_by_another_path_are_compared(runs):
    """A run on `photos` and one on `/home/me/photos` were told to have seen other images."""
    first, other = map(read_run, runs)
    moved = replace(other, images={place: f"elsewhere/{name}" for place, name in other.images.items()})
    assert error_difference(first, moved) == error_difference(first, other)
    assert error_difference(first, replace(moved, known_by=("of others", 0))) is None
    assert error_difference(first, replace(moved, known_by=None)) is None


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_a_run_without_the_libraries_of_the_report_is_finished(tmp_path, monkeypatch, held_out):
    """It was called unfinished, for predictions.parquet is written where pyarrow is installed alone."""
    for part in ("train", held_out):
        paint(tmp_path / "pictures" / part, each=8)
    for module in ("jinja2", "matplotlib", "pyarrow"):
        monkeypatch.setitem(sys.modules, module, None)
    setup = prepare(TINY, load_splits(tmp_path / "pictures"), Recipe(epochs=1, batch_size=8), source="pictures", device="cpu")
    result = fit(setup, tmp_path / "run", pace=Pace(workers=0))
    found = read_run(tmp_path / "run")
    assert (found.accuracy, found.count) == (result.score.interval, result.score.count)
    assert error_difference(found, found) is None


def test_a_run_whose_best_model_is_not_tested_yet_is_refused(runs, tmp_path):
    run = shutil.copytree(runs[0], tmp_path / "run")
    (run / "predictions.parquet").unlink()
    card = json.loads((run / "best" / "model.json").read_text())
    card["metrics"] = {name: value for name, value in card["metrics"].items() if not name.endswith("_images")}
    (run / "best" / "model.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match="not a finished run: its best model is not tested yet; go on with it"):
        read_run(run)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("recipe.yaml", "a: ["),
        ("recipe.yaml", ""),
        ("metrics.csv", "epoch,train_loss\n1,much\n"),
        ("predictions.parquet", "no table"),
        ("best/model.json", '{"schema_version": 1, "network": {"type": []}}'),
    ],
)
def test_a_damaged_file_of_a_run_is_told_by_name(runs, tmp_path, name, content):
    run = shutil.copytree(runs[0], tmp_path / "run")
    (run / name).write_text(content)
    with pytest.raises(UserError, match=rf"{name}"):
        read_run(run)


def test_pyarrow_is_asked_for_where_there_are_predictions_to_read(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"predictions\.parquet needs pyarrow, not installed here; pip install 'inceptions\[report\]'"):
        read_run(runs[0])


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no recipe\.yaml and no metrics\.csv"):
        read_run(tmp_path)
