"""A model that exists gets its temperature: from images that it was not trained on, into its card, or a copy's."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.folders import load_splits
from inceptions.data.splits import Sample
from inceptions.errors import UserError
from inceptions.evaluation.calibrate import calibrate_model
from inceptions.evaluation.metrics import calibration_error
from inceptions.evaluation.score import logits_of, score_at
from inceptions.files import write_whole
from inceptions.weights.card import CARD_NAME, WEIGHTS_NAME, read_card
from inceptions.weights.folder import load_model, save_model
from tests.evaluation.models import make_model
from tests.pictures import paint

CLASSES = ("green", "amber", "blue")  # in another order than the folders
CPU = torch.device("cpu")


@pytest.fixture
def data(tmp_path):
    """Pictures, of which three for validation and one for the test lie in the folder of another class."""
    for seed, (part, each) in enumerate((("train", 1), ("val", 12), ("test", 5))):
        paint(tmp_path / "data" / part, each=each, seed=seed)
    for part, count in (("val", 3), ("test", 1)):
        for number in range(count):
            place = tmp_path / "data" / part
            (place / "amber" / f"{number:03}.png").rename(place / "blue" / f"of-amber-{number}.png")
    return tmp_path / "data"


@pytest.fixture
def folder(data):
    """A model that tells the colours apart by what the network makes of one picture of each, and is not sure of it."""
    model = copy.deepcopy(make_model(CLASSES))
    (batch,) = loader_of(data, "train", model.card)
    with torch.no_grad():
        vectors = model.module.forward_head(model.module.forward_features(batch.images(CPU)), pre_logits=True)[batch.labels.argsort()]
        weight = vectors - vectors.mean(0)
        weight /= weight.square().sum()
        model.module.classifier.weight.copy_(weight)
        model.module.classifier.bias.copy_(-(weight * (vectors + vectors.mean(0))).sum(1) / 2)
    save_model(model.module, data.parent / "model", preprocess=model.card.preprocess, classes=CLASSES)
    return data.parent / "model"


def loader_of(data, part, card):
    """Labels are places among the model's classes."""
    splits = load_splits(data)
    samples = [Sample(sample.path, card.classes.index(splits.classes[sample.label])) for sample in splits.parts[part]]
    return image_loader(ImageDataset(samples, card.preprocess), batch_size=8, shuffle=False, workers=0)


def test_the_card_has_the_temperature_of_the_validation_images_and_its_errors_on_test(folder, data):
    weights = (folder / WEIGHTS_NAME).read_bytes()
    found = calibrate_model(folder, str(data), workers=0)
    card = read_card(folder)
    trained = load_model(folder, calibrated=False).module
    logits, labels = logits_of(trained, loader_of(data, "val", card), device=CPU)
    losses = [float(functional.cross_entropy(logits.double() / (card.temperature * factor), labels)) for factor in (0.99, 1.0, 1.01)]
    assert losses[1] < min(losses[0], losses[2])
    scores = score_at((1.0, card.temperature), trained, loader_of(data, "test", card), device=CPU)
    assert [found.error_undivided, found.error] == pytest.approx([calibration_error(score) for score in scores])
    assert found.temperature == card.temperature != 1
    assert (found.fitted_on, found.part, found.judged_on, found.judged_part, found.before) == (36, "val", 15, "test", 1)
    assert card.provenance["calibration"]["temperature_before"] == 1
    assert (folder / WEIGHTS_NAME).read_bytes() == weights


def test_calibrating_again_begins_with_the_weights_that_were_trained(folder, data):
    first, second = (calibrate_model(folder, str(data), workers=0) for _ in range(2))
    assert replace(second, before=1.0) == first
    assert second.before == first.temperature


def test_a_copy_is_calibrated_and_the_folder_left_as_it_was(folder, data, tmp_path):
    card = (folder / CARD_NAME).read_bytes()
    found = calibrate_model(folder, str(data), target=tmp_path / "copy", workers=0)
    assert (folder / CARD_NAME).read_bytes() == card
    assert read_card(tmp_path / "copy").temperature == found.temperature
    with pytest.raises(UserError, match="exists already"):
        calibrate_model(folder, str(data), target=tmp_path / "copy", workers=0)


def test_without_test_images_each_half_is_judged_by_the_temperature_of_the_other(folder, tmp_path):
    paint(tmp_path / "two" / "train", each=1)
    paint(tmp_path / "two" / "val", each=20, seed=4)
    found = calibrate_model(folder, str(tmp_path / "two"), workers=0)
    assert (found.judged_on, found.judged_part) == (60, "val, each half by the other")


def test_images_that_the_model_was_trained_on_are_told(folder, tmp_path):
    paint(tmp_path / "three" / "train", each=8)
    paint(tmp_path / "three" / "val", each=1)
    split = load_splits(tmp_path / "three").record("three")
    write_whole(folder / CARD_NAME, replace(read_card(folder), split=split).to_json())
    with pytest.raises(UserError, match="there are 3 images to fit it on, and 20 are needed"):
        calibrate_model(folder, str(tmp_path / "three"), workers=0)
    found = calibrate_model(folder, str(tmp_path / "three"), part="train", workers=0)
    assert f"train: {folder} was trained on 24 of these images" in found.notes


@pytest.mark.parametrize("fault", ["features", "int8", "part", "replaced", "not mine"])
def test_what_cannot_be_calibrated_is_told_and_changes_nothing(fault, folder, data, monkeypatch):
    card, said = read_card(folder), "changed"
    match fault:
        case "features":
            card, said = replace(card, classes=(), network=replace(card.network, classes=0)), "no classes"
        case "int8":
            card, said = replace(card, provenance={"int8": {}}), "calibrate first, then quantize"
        case "part":
            data, said = data / "val", "there are no val images|are needed"
        case "not mine":
            said = "can't be written to"
            monkeypatch.setattr("inceptions.files.os.access", lambda *_: False)
            monkeypatch.setattr("inceptions.evaluation.calibrate.load_splits", lambda *_, **__: pytest.fail("it begins all the same"))
        case "replaced":
            said = "was replaced by another"
            monkeypatch.setattr("inceptions.evaluation.calibrate.logits_of", lambda *given, **how: replaced(folder, *given, **how))
    write_whole(folder / CARD_NAME, card.to_json())
    with pytest.raises(UserError, match=said):
        calibrate_model(folder, str(data), workers=0)
    assert "temperature" not in json.loads((folder / CARD_NAME).read_text())


def replaced(folder, *given, **how):
    """Put another model into the folder while the first is asked."""
    found = logits_of(*given, **how)
    other = make_model(CLASSES, seed=1)
    save_model(other.module, folder, preprocess=other.card.preprocess, classes=CLASSES)
    return found
