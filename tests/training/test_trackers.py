"""What TensorBoard is told is what metrics.csv says, also of a run that was killed and went on."""

import csv
import sys
from dataclasses import replace

import pytest
import yaml

from inceptions.data.folders import load_splits
from inceptions.errors import UserError
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training.loop import Pace, fit, prepare, resume
from inceptions.training.progress import Reporter
from inceptions.training.recipes import QUICK
from inceptions.training.trackers import check_trackers

pytestmark = pytest.mark.usefixtures("plain_report")

pytest.importorskip("accelerate")
accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

TINY = reshape.scale_width(get_network("inception_small"), 0.25)
RECIPE = replace(QUICK, epochs=3, batch_size=8, precision="float32")
STEPS = 8  # 60 images in batches of 7 and 8


def begin(pictures, folder, *, reporter=None):
    setup = prepare(TINY, load_splits(pictures), RECIPE, source=str(pictures), image_size=16, device="cpu", log_with=["tensorboard"])
    return fit(setup, folder, reporter=reporter, pace=Pace(workers=0, steps=3))


def told(folder):
    """What TensorBoard shows: by name, pairs of a step and a value."""
    events = accumulator.EventAccumulator(str(folder / "tensorboard")).Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def rows(folder):
    return list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))


def test_tensorboard_has_every_row_and_step_and_the_test(pictures, tmp_path):
    class Heard(Reporter):
        losses, rates = [], []

        def stepped(self, epoch, step, loss, images_per_second, lr):
            self.losses.append(loss)
            self.rates.append(lr)

    result = begin(pictures, tmp_path / "run", reporter=Heard())
    shown = told(tmp_path / "run")
    for column in rows(tmp_path / "run")[0].keys() - {"val_top5"}:  # which is nan, of three classes
        assert [step for step, _ in shown[f"epoch/{column}"]] == [STEPS, 2 * STEPS, 3 * STEPS]
        written = [float(row[column]) for row in rows(tmp_path / "run")]
        assert [value for _, value in shown[f"epoch/{column}"]] == pytest.approx(written, rel=1e-5)  # six digits are written
    for name, heard in (("loss", Heard.losses), ("lr", Heard.rates)):
        assert [step for step, _ in shown[f"step/{name}"]] == list(range(1, 3 * STEPS + 1))
        assert [value for _, value in shown[f"step/{name}"]] == pytest.approx(heard)
    assert shown["test/accuracy"] == [(3 * STEPS, pytest.approx(result.score.accuracy))]
    (stored,) = (tmp_path / "run" / "tensorboard").glob("*/hparams.yml")
    hyperparameters = yaml.safe_load(stored.read_text())
    assert (hyperparameters["optimizer.momentum"], hyperparameters["peak_lr"], hyperparameters["epochs"]) == (0.9, 0.05 * 8 / 64, 3)


class Dies(Reporter):
    """Ends the run at step 5 of epoch 2, two steps after a checkpoint."""

    def stepped(self, epoch, step, loss, images_per_second, lr):
        if (epoch, step) == (2, 5):
            raise RuntimeError("killed")


@pytest.mark.exhaustive
def test_a_run_that_goes_on_tells_each_step_and_epoch_once(pictures, tmp_path):
    begin(pictures, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        begin(pictures, tmp_path / "run", reporter=Dies())
    assert [step for step, _ in told(tmp_path / "run")["step/loss"]] == list(range(1, STEPS + 5))
    resume(tmp_path / "run", pace=Pace(workers=0))
    whole, run = told(tmp_path / "whole"), told(tmp_path / "run")
    assert whole.keys() == run.keys()
    for name in ("step/loss", "step/lr", "epoch/epoch", "epoch/train_loss", "epoch/val_accuracy", "test/loss"):
        assert whole[name] == run[name]


def test_unknown_tracker_is_refused_with_the_nearest_named(pictures):
    with pytest.raises(UserError, match=r"tensorbord is no tracker; did you mean tensorboard\?"):
        prepare(TINY, load_splits(pictures), RECIPE, source=str(pictures), device="cpu", log_with=["tensorbord"])
    with pytest.raises(UserError, match=r"xyz is no tracker; trackers are .*mlflow.*wandb"):
        check_trackers(["xyz"])


def test_tracker_that_is_not_installed_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    with pytest.raises(UserError, match=r"tensorboard isn't installed; pip install 'inceptions\[trackers\]'"):
        check_trackers(["tensorboard"])
    with pytest.raises(UserError, match="wandb isn't installed; pip install wandb"):
        check_trackers(["wandb"])
    monkeypatch.setitem(sys.modules, "accelerate.tracking", None)
    with pytest.raises(UserError, match=r"accelerate isn't installed; pip install 'inceptions\[trackers\]'"):
        check_trackers(["wandb"])
