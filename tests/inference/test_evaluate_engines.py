"""Evaluation through an engine is evaluation: the same views, the same averages, the same answers."""

import numpy as np
import pytest
import torch

import inceptions
from inceptions.data.preprocess import for_training
from inceptions.inference.engines.torch import TorchEngine, read_part
from inceptions.inference.evaluate import load_for
from inceptions.inference.predict import EngineModel
from inceptions.networks.modules.models import create_model
from inceptions.weights.folder import LoadedModel, load_model, save_model
from tests.pictures import COLOURS

pytestmark = pytest.mark.usefixtures("plain_report")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder of a small network with random weights, larger than its last layer's own so that classes differ."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("models") / "small"
    module = create_model("inception_small", num_classes=3).eval()
    module.classifier.weight.data *= 30
    save_model(module, place, preprocess=for_training(16), classes=tuple(COLOURS))
    return place


@pytest.mark.parametrize("crops", [1, (1, 10)])
def test_what_an_engine_answers_is_scored_and_averaged_as_what_torch_answers(folder, pictures, crops):
    (pictures / "train" / "amber" / "broken.png").write_bytes(b"no picture")
    model = load_model(folder)
    by_engine = EngineModel(TorchEngine(read_part(folder, None)), model.card)
    from inceptions.data.folders import load_splits
    from inceptions.evaluation.evaluate import evaluate

    splits = load_splits(pictures)
    numbers = (crops,) if isinstance(crops, int) else crops
    plain, run = (
        evaluate({"m": which}, splits.train, splits.classes, crops=numbers, batch_size=16, workers=0) for which in (model, by_engine)
    )
    for one, other in zip(plain.rows, run.rows, strict=True):
        assert one.score.count == other.score.count == 60
        assert len(other.score.unreadable) == 1
        assert one.score.predicted.tolist() == other.score.predicted.tolist()
        assert np.abs(one.score.confidence - other.score.confidence).max() < 1e-5  # float32, in another order of operations


def test_torch_is_what_evaluates_unless_another_engine_is_asked_for(folder, pictures):
    assert isinstance(load_for(folder), LoadedModel)
    assert isinstance(load_for(folder, engine="torch"), LoadedModel)
    found = inceptions.evaluate(folder, pictures, part="test", workers=0, device="cpu")
    assert found.rows[0].score.count == 12


def test_what_was_loaded_is_run_by_torch_alone(folder):
    with pytest.raises(inceptions.errors.UserError, match="runs model folders; give the folder or the tag"):
        load_for(load_model(folder), engine="openvino")
