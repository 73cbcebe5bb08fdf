"""What training leaves is as sure as it is right: a temperature from validation images, in model folders, metrics and report."""

import re
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.folders import load_splits
from inceptions.evaluation.calibrate import calibrate_model
from inceptions.evaluation.metrics import calibration_error
from inceptions.evaluation.score import logits_of, score
from inceptions.evaluation.temperature import Confidence
from inceptions.files import copy_whole
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training.loop import Pace, fit, prepare
from inceptions.training.recipes import QUICK
from inceptions.training.report import Judges, _calibrate
from inceptions.training.run_folder import RunFolder
from inceptions.weights.card import read_card
from inceptions.weights.folder import load_model, save_model
from tests.evaluation.models import make_model
from tests.pictures import paint
from tests.training.test_processes import SMALL, finish, start

TINY = reshape.scale_width(get_network("inception_small"), 0.25)
RECIPE = replace(QUICK, epochs=2, batch_size=8, precision="float32")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    base = tmp_path_factory.mktemp("painted")
    for seed, (part, each) in enumerate((("train", 10), ("val", 12), ("test", 6))):
        paint(base / part, each=each, seed=seed)
    return base


def set_up(painted, recipe=RECIPE):
    return prepare(TINY, load_splits(painted, seed=0), recipe, source="painted", image_size=16, device="cpu")


@pytest.fixture(scope="module")
def trained(painted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    return fit(set_up(painted), folder, pace=Pace(workers=0)), folder


def loader_of(painted, part, card):
    return image_loader(ImageDataset(load_splits(painted).parts[part], card.preprocess), batch_size=8, shuffle=False, workers=0)


@pytest.mark.parametrize("name", ["best", "last"])
def test_both_models_have_the_temperature_of_the_validation_images(name, trained, painted):
    card = read_card(trained[1] / name)
    logits, labels = logits_of(load_model(trained[1] / name, calibrated=False).module, loader_of(painted, "val", card), device=CPU)
    if bool((logits.argmax(1) == labels).all()):
        assert (logits / card.temperature).softmax(1).amax(1).mean() == pytest.approx(37 / 38, abs=1e-4)
    else:
        losses = [float(functional.cross_entropy(logits.double() / (card.temperature * factor), labels)) for factor in (0.99, 1.0, 1.01)]
        assert losses[1] < min(losses[0], losses[2])
    assert card.temperature != 1
    assert card.provenance["calibration"]["fitted_on"] == 36


def test_what_is_measured_is_the_model_as_it_is_used_and_the_report_has_both_errors(trained, painted):
    result, folder = trained
    card = read_card(folder / "best")
    used, before = (
        score(load_model(folder / "best", calibrated=calibrated).module, loader_of(painted, "test", card), device=CPU)
        for calibrated in (True, False)
    )
    errors = [calibration_error(one) for one in (used, before)]
    assert [card.metrics["test_calibration_error"], card.metrics["test_calibration_error_undivided"]] == pytest.approx(errors, abs=1e-6)
    assert card.metrics["test_loss"] == pytest.approx(used.loss, rel=1e-5)
    assert result.score.accuracy == used.accuracy == before.accuracy
    page = " ".join(re.sub(r"<[^>]+>", " ", (folder / "report.html").read_text()).split())
    assert f"calibration error {100 * errors[0]:.1f} %, and {100 * errors[1]:.1f} % without its temperature" in page
    assert f"Temperature: {card.temperature:.3g}, fitted on 36 validation images" in page


def test_without_validation_images_there_is_no_temperature_and_the_report_says_why(painted, tmp_path, monkeypatch):
    reports = []
    monkeypatch.setattr("inceptions.evaluation.report.write_report", lambda report, folder: reports.append(report))
    fit(set_up(painted, replace(RECIPE, epochs=1, train_on_val=True)), tmp_path / "run", pace=Pace(workers=0))
    card = read_card(tmp_path / "run" / "best")
    assert card.temperature == 1
    assert "test_calibration_error_undivided" not in card.metrics
    assert reports[0].confidence == Confidence("none is fitted, for there are no validation images: they train too (train_on_val)")


def test_the_last_model_has_a_temperature_of_its_own_where_it_is_not_the_best(painted, tmp_path):
    folder, judged = RunFolder(tmp_path), []
    for place, path in enumerate((folder.best, folder.last)):
        model = make_model(("amber", "blue", "green"), seed=place)
        save_model(model.module, path, preprocess=model.card.preprocess, classes=("amber", "blue", "green"))

    def logits(module, samples):
        """Those of each model in turn, the second twice as sure."""
        torch.manual_seed(0)
        judged.append(len(samples))
        found = torch.randn(400, 3)
        return len(judged) * found, torch.multinomial(found.softmax(1), 1)[:, 0]

    model, fitted = _calibrate(set_up(painted), folder, Judges(lambda *_: [], logits), writes=True)
    best, last = (read_card(path).temperature for path in (folder.best, folder.last))
    assert (model.card.temperature, fitted.temperature) == (best, best)
    assert last == pytest.approx(2 * best, rel=1e-4)
    assert judged == [36, 36]
    trained = load_model(folder.best, calibrated=False).module.classifier.weight
    assert torch.equal(model.module.classifier.weight, trained / best)


@pytest.mark.exhaustive  # two processes take twelve seconds to start
def test_two_processes_find_the_temperature_that_one_finds(painted, tmp_path):
    """To four digits, for a batch of another size is rounded otherwise."""
    finish(start("inceptions", "train", painted, "--output", tmp_path / "run", *SMALL, "--epochs", "1", processes=2))
    copy_whole(tmp_path / "run" / "best", tmp_path / "again")
    found = calibrate_model(tmp_path / "again", str(painted), workers=0)
    assert found.before == pytest.approx(found.temperature, rel=1e-4)
    assert found.before != 1
