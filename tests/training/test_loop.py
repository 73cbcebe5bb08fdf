import csv
import math
import re
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version

import pytest
import torch
import yaml

from inceptions.data.folders import load_splits
from inceptions.errors import ImageError, UserError
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training.learner import Learner
from inceptions.training.loop import Pace, fit, prepare
from inceptions.training.processes import Processes
from inceptions.training.progress import Reporter
from inceptions.training.recipe import Adam, Finetune, RMSProp
from inceptions.training.recipes import QUICK, peak_lr
from inceptions.training.report import hyperparameters_of, settings_of
from inceptions.weights.card import read_card
from inceptions.weights.folder import load_model
from tests.pictures import paint

pytestmark = pytest.mark.usefixtures("plain_report_here")

TINY = reshape.scale_width(get_network("inception_small"), 0.25)
RECIPE = replace(QUICK, epochs=4, batch_size=8, precision="float32")


def run(pictures, folder, *, network=TINY, recipe=RECIPE, reporter=None, image_size=16):
    splits = load_splits(pictures, seed=0)
    setup = prepare(network, splits, recipe, source="pictures", image_size=image_size, device="cpu")
    return fit(setup, folder, reporter=reporter, pace=Pace(workers=0))


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """The very `pictures`, for runs that several tests look at."""
    base = tmp_path_factory.mktemp("painted")
    paint(base / "train", each=22, seed=1)
    paint(base / "test", each=4, seed=2)
    return base


@pytest.fixture(scope="module")
def whole(painted, tmp_path_factory):
    """A run by the recipe: its result and its folder."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return run(painted, folder), folder


@pytest.fixture(scope="module")
def short(painted, tmp_path_factory):
    """As `whole`, of one epoch."""
    folder = tmp_path_factory.mktemp("short") / "run"
    return run(painted, folder, recipe=replace(RECIPE, epochs=1)), folder


def test_run_learns_and_writes_the_whole_folder(whole):
    result, folder = whole
    assert result.on == "test"
    assert result.score.accuracy > 0.9
    assert result.rows[-1].train_loss < result.rows[0].train_loss
    names = {path.name for path in folder.iterdir()}
    plots = {"curves.png", "confusion_matrix.png", "reliability.png", "train_batch.png"}
    goes_on = {"checkpoints", "finished.json"}  # for more epochs
    assert names == {"recipe.yaml", "metrics.csv", "predictions.parquet", "report.html", "best", "last"} | plots | goes_on


def test_metrics_have_a_row_for_each_epoch(whole):
    result, folder = whole
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert [float(row["val_accuracy"]) for row in rows] == pytest.approx([row.val_accuracy for row in result.rows], rel=1e-5)


def test_recipe_says_everything_that_was_asked_for(pictures, tmp_path):
    run(pictures, tmp_path / "run", recipe=replace(RECIPE, seed=3, epochs=1))
    written = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert written["recipe"]["seed"] == 3
    assert written["classes"] == ["amber", "blue", "green"]
    assert written["images"] == {"train": 60, "val": 6, "test": 12}
    assert written["versions"]["torch"] == version("torch")
    assert written["arithmetic"] == "float32"


def test_best_and_last_are_model_folders_with_what_they_scored(whole):
    result, folder = whole
    best, last = read_card(folder / "best"), read_card(folder / "last")
    assert best.classes == ("amber", "blue", "green")
    assert best.metrics["test_accuracy"] == result.score.accuracy
    assert best.metrics["epoch"] == result.best_epoch
    assert best.confusions is not None
    assert sum(count for _, _, count in best.confusions) == round((1 - result.score.accuracy) * result.score.count)
    assert last.confusions is None
    assert last.metrics["epoch"] == 4
    assert best.preprocess.image_size == best.network.image_size == 16
    assert load_model(folder / "last").module.num_classes == 3


def test_same_seed_gives_the_same_weights(short, pictures, tmp_path):
    run(pictures, tmp_path / "again", recipe=replace(RECIPE, epochs=1))
    a, b = (load_model(folder / "last").module.state_dict() for folder in (short[1], tmp_path / "again"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_another_seed_gives_other_weights(short, pictures, tmp_path):
    run(pictures, tmp_path / "other", recipe=replace(RECIPE, epochs=1, seed=1))
    a, b = (load_model(folder / "last").module.state_dict() for folder in (short[1], tmp_path / "other"))
    assert not torch.equal(a["classifier.weight"], b["classifier.weight"])


def test_auxiliary_heads_train_with_their_weights(pictures, tmp_path):
    network = reshape.scale_width(get_network("googlenet_bn"), 0.125)
    run(pictures, tmp_path / "run", network=network, recipe=replace(RECIPE, epochs=1), image_size=64)
    assert yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["auxiliary_heads"] == {"4a": 0.3, "4d": 0.3}
    assert load_model(tmp_path / "run" / "last", aux=True).card.network.aux == network.aux


def test_auxiliary_heads_that_do_not_fit_are_left_out_with_a_warning(pictures, tmp_path, caplog):
    network = reshape.scale_width(get_network("inception_v3"), 0.125)
    run(pictures, tmp_path / "run", network=network, recipe=replace(RECIPE, epochs=1), image_size=80)
    assert "training without auxiliary heads" in caplog.text
    assert read_card(tmp_path / "run" / "last").network.aux == ()


def test_existing_folder_is_refused_and_untouched(pictures, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already; give another output folder"):
        run(pictures, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]


def break_one(pictures):
    path = sorted((pictures / "train" / "blue").iterdir())[3]
    path.write_bytes(path.read_bytes()[:100])
    return path


def test_unreadable_image_stops_the_run_and_leaves_nothing(pictures, tmp_path):
    path = break_one(pictures)
    with pytest.raises(ImageError, match=re.escape(str(path))):
        run(pictures, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unreadable_image_is_named_once_and_counted_when_skipped(pictures, tmp_path, caplog):
    path = break_one(pictures)
    result = run(pictures, tmp_path / "run", recipe=replace(RECIPE, on_error="skip", epochs=2))
    assert result.unreadable == 1
    assert caplog.text.count(path.name) == 1
    assert result.score.accuracy > 0.3


def test_loss_that_is_no_number_stops_the_run(pictures, tmp_path):
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at epoch \d+, step \d+ .* lower lr"):
        run(pictures, tmp_path / "run", recipe=replace(RECIPE, lr=1e20, clip_norm=1e20))


def test_reporter_hears_every_step_and_epoch(pictures, tmp_path):
    class Heard(Reporter):
        def __init__(self):
            self.calls = []

        def started(self, start):
            self.calls.append(("started", start.images))

        def stepped(self, epoch, step, loss, images_per_second, lr):
            assert 0 < lr < 1
            assert math.isfinite(loss)
            assert images_per_second > 0
            self.calls.append(("stepped", epoch, step))

        def finished_epoch(self, row, *, best):
            self.calls.append(("finished", row.epoch))

    heard = Heard()
    run(pictures, tmp_path / "run", recipe=replace(RECIPE, epochs=2, batch_size=30), reporter=heard)
    steps = [("stepped", 1, 1), ("stepped", 1, 2), ("finished", 1), ("stepped", 2, 1), ("stepped", 2, 2), ("finished", 2)]
    assert heard.calls == [("started", {"train": 60, "val": 6, "test": 12}), *steps]


def test_every_image_is_trained_on_once_an_epoch_in_batches_of_the_same_size(pictures, tmp_path, monkeypatch):
    """60 images in batches of 40: a whole one would leave a third of them out of every epoch."""
    batches, learn = [], Learner.learn

    def heard(learner, batch):
        batches.append(batch.indices.tolist())
        return learn(learner, batch)

    monkeypatch.setattr(Learner, "learn", heard)
    run(pictures, tmp_path / "run", recipe=replace(RECIPE, epochs=2, batch_size=40))
    assert [len(batch) for batch in batches] == [30, 30, 30, 30]
    assert sorted(batches[0] + batches[1]) == sorted(batches[2] + batches[3]) == list(range(60))


def test_without_test_images_the_model_is_scored_on_validation(pictures, tmp_path):
    (pictures / "test").rename(pictures / "val")
    result = run(pictures, tmp_path / "run", recipe=replace(RECIPE, epochs=1))
    assert result.on == "validation"
    assert "val_accuracy" in read_card(tmp_path / "run" / "best").metrics


def test_report_opens_without_the_network_and_shows_what_was_measured(short):
    result, folder = short
    page = (folder / "report.html").read_text()
    assert f"{100 * result.score.accuracy:.2f} %" in page
    assert not re.search(r"<script[^>]+>|<link|@import|fetch\(|XMLHttpRequest", page)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)


def test_learning_rate_follows_batch_and_normalisation():
    assert peak_lr(QUICK, TINY, batch_size=64) == 0.05
    assert peak_lr(QUICK, TINY, batch_size=128) == 0.1
    assert peak_lr(QUICK, get_network("googlenet"), batch_size=64) == 0.01
    assert peak_lr(replace(QUICK, lr=0.3), TINY, batch_size=64) == 0.3


def test_each_optimizer_has_a_learning_rate_of_its_own():
    assert peak_lr(replace(QUICK, optimizer=Adam()), TINY, batch_size=128) == 0.001
    assert peak_lr(replace(QUICK, optimizer=RMSProp()), TINY, batch_size=32) == 0.045


def test_the_learning_rate_goes_by_the_images_that_there_are(pictures):
    """66 images less 6 for validation, in batches of 64."""
    setup = prepare(TINY, load_splits(pictures), QUICK, source="pictures", image_size=16, device="cpu")
    assert (setup.batch_size, setup.peak_lr) == (60, 0.05 * 60 / 64)
    assert Learner(setup, Processes(), steps_per_epoch=1).peaks[0] == setup.peak_lr
    assert settings_of(setup)["peak_lr"] == hyperparameters_of(setup)["peak_lr"] == setup.peak_lr


@pytest.mark.parametrize(
    ("field", "value"), [("epochs", 0), ("batch_size", 1), ("lr", -1.0), ("lr", math.inf), ("seed", -1), ("epochs", 2.5)]
)
def test_recipe_refuses_what_cannot_be(field, value):
    with pytest.raises(UserError, match=f"{field} is "):
        replace(QUICK, **{field: value})


def test_training_and_its_report_import_nothing_slow_that_they_do_not_need(pictures, tmp_path):
    """torchvision, scipy and torch's compiler take seconds to import; what needs them (mixup, augmented colours, a study) imports them."""
    code = f"""
import sys
from inceptions.data.folders import load_splits
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training.loop import Pace, fit, prepare
from inceptions.training.recipe import Recipe
from pathlib import Path
recipe = Recipe(epochs=1, batch_size=16, precision="float32")
network = reshape.scale_width(get_network("inception_small"), 0.125)
setup = prepare(network, load_splits({str(pictures)!r}), recipe, source="pictures", image_size=16, device="cpu")
fit(setup, Path({str(tmp_path / "run")!r}), pace=Pace(workers=0))
slow = {{"torchvision", "torchmetrics", "scipy", "datasets", "accelerate", "ray", "torch._dynamo", "sympy", "pandas"}}
print(*sorted(slow & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("\n", 0), done.stderr
    assert (tmp_path / "run" / "report.html").is_file()


def test_what_no_report_can_be_made_without_is_told_before_the_first_step(pictures, tmp_path, monkeypatch):
    class Started(Reporter):
        def started(self, start):
            self.notes = start.notes
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    reporter = Started()
    with pytest.raises(KeyboardInterrupt):
        run(pictures, tmp_path / "run", reporter=reporter)
    assert "there will be no plots and no report.html: matplotlib not installed; pip install 'inceptions[report]'" in reporter.notes


def test_a_second_run_of_a_setup_begins_with_the_same_weights(pictures, tmp_path):
    run(pictures, tmp_path / "first", recipe=replace(RECIPE, epochs=1))
    recipe = replace(RECIPE, epochs=1, finetune=Finetune())
    setup = prepare(TINY, load_splits(pictures), recipe, source="pictures", device="cpu", weights=tmp_path / "first" / "best")
    rows = [fit(setup, tmp_path / name, pace=Pace(workers=0)).rows[0] for name in ("second", "third")]
    assert rows[0].train_loss == rows[1].train_loss
    assert rows[0].val_loss == rows[1].val_loss
