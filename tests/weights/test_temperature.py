"""A card's temperature: what is loaded to be used divides by it, what goes on learning or leaves for elsewhere doesn't."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from inceptions.data.decode import read_image
from inceptions.data.preprocess import for_training
from inceptions.errors import ModelFolderError
from inceptions.files import copy_whole
from inceptions.inference.engines.prepared import describe_made
from inceptions.inference.evaluate import evaluate
from inceptions.inference.export import export_model
from inceptions.inference.predict import predict
from inceptions.networks import reshape
from inceptions.networks.modules.models import ClassifierWithAux
from inceptions.networks.registry import get_network
from inceptions.training.finetune import start_from
from inceptions.weights import writers
from inceptions.weights.card import CARD_NAME, read_card
from inceptions.weights.folder import keep_temperature, load_model, save_model
from inceptions.weights.published import create_model
from tests.tiny import CLASSES, SIZE_PX, save_tiny

TEMPERATURE = 0.3
IMAGES = torch.rand(4, 3, SIZE_PX, SIZE_PX) * 2 - 1


@pytest.fixture
def warm(tiny, tmp_path):
    """A copy of the tiny model that has a temperature."""
    copy_whole(tiny, tmp_path / "warm")
    keep_temperature(tmp_path / "warm", TEMPERATURE, record={"fitted_on": 99})
    return tmp_path / "warm"


@torch.inference_mode()
def logits_of(module):
    return module.eval()(IMAGES)


def test_a_model_that_is_used_divides_its_logits_and_the_weights_stay_what_was_trained(tiny, warm):
    """Within 1e-5: logits are sums of the same terms, each divided before."""
    trained = logits_of(load_model(tiny).module)
    assert torch.allclose(logits_of(load_model(warm).module), trained / TEMPERATURE, rtol=1e-5, atol=1e-5)
    assert torch.equal(logits_of(load_model(warm, calibrated=False).module), trained)
    assert (read_card(warm).temperature, read_card(tiny).temperature) == (TEMPERATURE, 1)
    assert read_card(warm).sha256 == read_card(tiny).sha256
    assert read_card(warm).provenance["calibration"] == {"fitted_on": 99}


def test_a_card_of_temperature_one_is_written_as_it_always_was(tiny):
    assert "temperature" not in json.loads((tiny / CARD_NAME).read_text())


def test_auxiliary_heads_are_not_divided(tmp_path):
    network = reshape.with_classes(reshape.scale_width(get_network("googlenet_bn"), 0.125), 3)
    torch.manual_seed(0)
    save_model(ClassifierWithAux(network), tmp_path / "m", preprocess=for_training(64), classes=CLASSES, temperature=2.0)
    used, trained = (load_model(tmp_path / "m", aux=True, calibrated=calibrated).module.state_dict() for calibrated in (True, False))
    differing = {key for key, value in trained.items() if not torch.equal(value, used[key])}
    assert differing == {"classifier.weight"}  # its bias is zero
    assert torch.equal(used["classifier.weight"], trained["classifier.weight"] / 2)


@pytest.mark.parametrize("value", [0, -1, 0.01, 50, float("nan"), "0.5", True, None, [1]])
def test_a_temperature_that_is_none_is_refused_and_named(value, warm):
    data = json.loads((warm / CARD_NAME).read_text())
    (warm / CARD_NAME).write_text(json.dumps({**data, "temperature": value}))
    with pytest.raises(ModelFolderError, match=r"temperature is .*; it must be a number from 0\.05 to 20"):
        read_card(warm)


def test_a_network_without_classes_has_no_temperature(tmp_path):
    card = read_card(save_tiny(tmp_path / "features", classes=()))
    with pytest.raises(ModelFolderError, match="without classes"):
        replace(card, temperature=0.5)


def test_what_goes_on_learning_and_what_leaves_for_elsewhere_has_the_weights_that_were_trained(tiny, warm, tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "export_tensors", lambda module, framework: {k: v.numpy() for k, v in module.state_dict().items()})
    trained = load_model(tiny).module.state_dict()
    further = start_from(warm, class_names=CLASSES, aux=False).module.state_dict()
    writers.write_tensors(warm, tmp_path / "theirs.safetensors", framework="timm")
    for state in (further, create_model("inception_small", weights=warm).state_dict(), load_file(tmp_path / "theirs.safetensors")):
        assert state.keys() == trained.keys()
        assert all(torch.equal(state[key], value) for key, value in trained.items())


def test_predictions_evaluation_and_files_of_other_runtimes_agree_on_the_divided_logits(tiny, warm, pictures, tmp_path):
    """Within 1e-5 of a probability, for logits are rounded in another order."""
    from inceptions.explain.attribution import explain_image

    file = pictures / "test" / "blue" / "000.png"
    pixels = load_model(tiny).card.preprocess(read_image(file))
    images = torch.from_numpy(pixels)[None]
    with torch.inference_mode():
        expected = (load_model(tiny).module(images) / TEMPERATURE).softmax(1)[0].sort(descending=True).values.numpy()
    (predicted,) = predict(warm, file, engine="torch")
    assert predicted.probabilities == pytest.approx(expected, abs=1e-5)
    (row,) = evaluate(warm, [(file, "blue")]).rows
    assert row.score.confidence == pytest.approx(expected[:1], abs=1e-5)
    export_model(warm, tmp_path / "warm.pt2")
    logits = torch.export.load(tmp_path / "warm.pt2").module()(images)
    assert logits.softmax(1)[0].sort(descending=True).values.detach().numpy() == pytest.approx(expected, abs=1e-5)
    assert explain_image(load_model(warm), file).probabilities == pytest.approx(expected, abs=1e-5)


def test_an_engine_that_was_prepared_at_another_temperature_is_another(tiny, warm):
    keys = {describe_made(folder, read_card(folder), engine="torch", precision="float32", device="cpu").model for folder in (tiny, warm)}
    assert len(keys) == 2
