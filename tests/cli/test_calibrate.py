"""calibrate, and evaluate without the temperature, as they are typed."""

import json

import pytest

from inceptions.cli.predict import Counted
from inceptions.weights.card import read_card
from inceptions.weights.folder import save_model
from tests.evaluation.models import make_model
from tests.pictures import paint

CLASSES = ("amber", "blue", "green")


@pytest.fixture
def given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = make_model(CLASSES)
    save_model(model.module, tmp_path / "model", preprocess=model.card.preprocess, classes=CLASSES)
    for seed, (part, each) in enumerate((("train", 1), ("val", 12), ("test", 5))):
        paint(tmp_path / "data" / part, each=each, seed=seed)
    return tmp_path / "model", tmp_path / "data"


@pytest.mark.usefixtures("plain_report_here")
def test_a_model_is_calibrated_and_measured_with_and_without(inceptions, given, tmp_path):
    model, data = given
    done = inceptions("calibrate", model, "--data", data)
    assert done.code == 0, done.err
    assert "fitted on 36 validation images" in done.out
    assert "calibration error on 15 images (test): " in done.out
    temperature = read_card(model).temperature
    record = read_card(model).provenance["calibration"]
    used = json.loads(inceptions("evaluate", model, "--data", data, "--json", "--output", tmp_path / "used").out)
    assert used["temperatures"] == {str(model): temperature}
    assert used["rows"][0]["calibration_error"] == pytest.approx(record["calibration_error"], abs=1e-6)
    trained = inceptions("evaluate", model, "--data", data, "--output", tmp_path / "trained", "--uncalibrated")
    assert f"{100 * record['calibration_error_undivided']:.1f} %" in trained.out.splitlines()[1].split("\t")
    assert f"{temperature:.3g}, left aside (--uncalibrated)" in trained.err


def test_a_tag_needs_a_folder_to_be_kept_in(inceptions, given):
    refused = inceptions("calibrate", "inception_small.cifar10", "--data", given[1])
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "--output FOLDER" in refused.err


def test_without_a_temperature_only_torch_measures(inceptions, given):
    refused = inceptions("evaluate", given[0], "--data", given[1], "--uncalibrated", "--engine", "onnxruntime")
    assert refused.code == 2
    assert "a whole network is measured that torch runs" in refused.err


def test_a_prediction_that_was_stopped_does_not_go_on_at_another_temperature(inceptions, given, tmp_path, monkeypatch):
    model, data = given
    table = ("predict", data / "test", "--model", model, "--output", tmp_path / "p.jsonl", "--batch-size", "4")
    count, counted = Counted._count, []

    def stop(self, item):
        counted.append(count(self, item))
        if len(counted) == 6:  # in the second batch
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Counted, "_count", stop)
        assert inceptions(*table).code == 130
    assert inceptions("calibrate", model, "--data", data).code == 0
    refused = inceptions(*table, "--resume")
    assert (refused.code, "temperature" in refused.err) == (2, True), refused.err
