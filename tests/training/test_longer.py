"""Runs that go on to another number of epochs than they began with, finished or not."""

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch

from inceptions.data.folders import load_splits
from inceptions.errors import UserError
from inceptions.evaluation.compare import read_run
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training.loop import Pace, fit, prepare, resume
from inceptions.training.progress import Reporter
from inceptions.training.recipes import QUICK
from inceptions.training.run import Run
from inceptions.training.run_folder import RunFolder, read_state, write_state
from inceptions.training.schedules import Constant, lr_factor
from inceptions.training.trackers import _name_run
from inceptions.weights.card import read_card
from tests.pictures import paint

pytestmark = pytest.mark.usefixtures("plain_report")

TINY = reshape.scale_width(get_network("inception_small"), 0.25)
STEADY = replace(QUICK, epochs=2, batch_size=16, precision="float32", schedule=Constant())
PACE = Pace(workers=0)
WITHOUT_TIMES = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr")


class Dies(Reporter):
    """Ends the process, as far as the run can tell, after a step; keeps what it is told at the start."""

    def __init__(self, epoch=0, step=0):
        self.when = (epoch, step)

    def started(self, start):
        self.start = start

    def stepped(self, epoch, step, *_):
        if (epoch, step) == self.when:
            raise MemoryError


def begin(pictures, folder, recipe=STEADY, **changes):
    setup = prepare(TINY, load_splits(pictures), replace(recipe, **changes), source=str(pictures), image_size=16, device="cpu")
    return fit(setup, folder, pace=PACE)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with `pictures`, and of them the runs `two` and `four`, of so many epochs, which nothing interrupts."""
    folder = tmp_path_factory.mktemp("base")
    paint(folder / "pictures" / "train", each=22, seed=1)
    paint(folder / "pictures" / "test", each=4, seed=2)
    begin(folder / "pictures", folder / "two")
    begin(folder / "pictures", folder / "four", epochs=4)
    return folder


@pytest.fixture
def run(base, tmp_path):
    """A copy of the run of two epochs."""
    return Path(shutil.copytree(base / "two", tmp_path / "run"))


def rows_of(folder):
    rows = csv.DictReader((folder / "metrics.csv").read_text().splitlines())
    return [[row[name] for name in WITHOUT_TIMES] for row in rows]


def assert_same_run(one, other):
    for name in ("best", "last"):
        first, second = (safetensors.torch.load_file(folder / name / "model.safetensors") for folder in (one, other))
        assert all(torch.equal(first[key], second[key]) for key in first)
    assert rows_of(one) == rows_of(other)
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}
    assert [read_run(folder).settings["recipe.epochs"] for folder in (one, other)] == ["4", "4"]
    assert read_run(one).accuracy == read_run(other).accuracy


def contents(folder):
    """What people find in a run folder, but for what it goes on by."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    inside = [path.relative_to(folder) for path in files]
    own = {"checkpoints", "longer", "resume.json", "finished.json"}
    return {path: (folder / path).read_bytes() for path in inside if path.parts[0] not in own}


def test_two_epochs_and_two_more_are_four_to_the_bit_and_those_two_stay_whole_until_the_end(base, run, monkeypatch):
    before, name = contents(run), _name_run(run)
    with pytest.raises(MemoryError):
        resume(run, epochs=4, reporter=Dies(4, 2), pace=PACE)
    assert contents(run) == before
    assert len(rows_of(run / "longer")) == 3
    heard = Dies()
    with monkeypatch.context() as patch:  # killed as it puts the longer run in the place of the shorter
        placed = []

        def place(source, target):
            placed.append(target)
            if len(placed) == 2:
                raise MemoryError

        patch.setattr("inceptions.training.run_folder.copy_whole", place)
        with pytest.raises(MemoryError):
            resume(run, reporter=heard, pace=PACE)
    assert (heard.start.epoch, heard.start.step, heard.start.epochs) == (4, 0, 4)
    resume(run, pace=PACE)
    assert_same_run(base / "four", run)
    assert not (run / "longer").exists()
    assert _name_run(run) == name  # so a tracker goes on with it too


def test_a_run_that_was_stopped_goes_on_to_more_epochs_or_fewer(base, tmp_path):
    pictures = base / "pictures"
    setup = prepare(TINY, load_splits(pictures), replace(STEADY, epochs=9), source=str(pictures), image_size=16, device="cpu")
    with pytest.raises(MemoryError):
        fit(setup, tmp_path / "run", reporter=Dies(2, 3), pace=Pace(workers=0, steps=1))
    with pytest.raises(UserError, match="has 1 epoch and 2 steps already; epochs, how many there are to be in all, is 1; give 2 or more"):
        resume(tmp_path / "run", epochs=1)
    resume(tmp_path / "run", epochs=4, pace=PACE)
    assert_same_run(base / "four", tmp_path / "run")


def test_a_cycle_that_was_over_goes_on_as_in_a_run_of_the_new_length_and_says_so(base, tmp_path):
    begin(base / "pictures", tmp_path / "run", replace(STEADY, schedule=QUICK.schedule, lr=0.01))
    heard = Dies()
    result = resume(tmp_path / "run", epochs=3, reporter=heard, pace=PACE)
    steps = heard.start.steps_per_epoch
    expected = [
        0.01 * lr_factor(QUICK.schedule, epoch * steps - 1, steps_per_epoch=steps, epochs=of) for epoch, of in ((1, 2), (2, 2), (3, 3))
    ]
    assert [row.lr for row in result.rows] == pytest.approx(expected)
    begins = 0.01 * lr_factor(QUICK.schedule, 2 * steps, steps_per_epoch=steps, epochs=3)
    note = "3 epochs in all, in place of 2; all that depends on their number is from here on as in a run of 3"
    assert f"{note}: the learning rate was 4e-07 and is {begins:.3g} at the next step" in heard.start.notes


def test_as_many_epochs_as_there_are_or_fewer_are_refused(run):
    for epochs in (0, 2):
        with pytest.raises(UserError, match=f"has 2 epochs already; epochs, how many there are to be in all, is {epochs}; give 3 or more"):
            resume(run, epochs=epochs)
    assert not (run / "resume.json").exists()


def test_a_run_that_stopped_early_has_its_patience_again_also_once_killed(pictures, tmp_path):
    run, hopeless = tmp_path / "run", replace(STEADY, epochs=30, lr=1e-9, early_stop=1)
    ended = len(begin(pictures, run, hopeless).rows)
    assert ended < 30
    with pytest.raises(MemoryError):
        resume(run, epochs=40, reporter=Dies(ended + 1, 2), pace=PACE)
    assert len(resume(run, pace=PACE).rows) == ended + 1


def test_what_ended_with_an_earlier_version_says_what_it_said(run):
    (run / "finished.json").unlink()
    for epochs in (None, 5):
        with pytest.raises(UserError, match=r"finished already; train further with the weights \S+best$"):
            resume(run, epochs=epochs)


def test_a_finished_run_without_its_checkpoint_is_told_as_such(run):
    next((run / "checkpoints").iterdir()).unlink()
    with pytest.raises(UserError, match="its last checkpoint, or its best model, is no longer in it"):
        resume(run, epochs=5)


def test_rows_of_an_earlier_version_are_read_from_its_checkpoint_and_the_card_has_the_new_test(run):
    (path,) = (run / "checkpoints").iterdir()
    state = read_state(path)
    for row in state["counters"]["rows"]:
        del row["val_top5"]
    write_state(path, state)
    result = resume(run, epochs=3, pace=PACE)
    assert [math.isnan(row.val_top5) for row in result.rows] == [True] * 3  # of three classes
    metrics = read_card(run / "best").metrics
    assert (metrics["epoch"], metrics["test_accuracy"]) == (result.best_epoch, pytest.approx(result.score.accuracy))
    assert json.loads((run / "finished.json").read_text())["recipe"]["epochs"] == 3


def test_pages_that_nothing_can_write_any_more_do_not_stay_beside_a_longer_run(tmp_path):
    for name in ("best", "longer/best", "checkpoints"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("finished.json", "resume.json", "predictions.parquet", "train_batch.png", "longer/metrics.csv"):
        (tmp_path / name).write_text(name)
    RunFolder(tmp_path).conclude()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"best", "checkpoints", "finished.json", "train_batch.png", "metrics.csv"}
    assert (tmp_path / "finished.json").read_text() == "resume.json"


@pytest.mark.parametrize(("classes", "expected"), [(5, math.nan), (6, 0.75)])
def test_top_5_is_told_of_more_than_five_classes(classes, expected):
    found = SimpleNamespace(loss=1.0, accuracy=0.25, count=4, right_in=lambda k: {1: 1, 5: 3}[k])
    run = SimpleNamespace(setup=SimpleNamespace(splits=SimpleNamespace(classes=tuple(range(classes)))))
    columns = Run.validated(run, found)
    assert columns == {"val_loss": 1.0, "val_accuracy": 0.25, "val_top5": pytest.approx(expected, nan_ok=True)}
