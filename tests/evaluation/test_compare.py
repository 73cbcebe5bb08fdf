"""Two finished runs on the same pictures, side by side."""

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


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no recipe\.yaml and no metrics\.csv"):
        read_run(tmp_path)
