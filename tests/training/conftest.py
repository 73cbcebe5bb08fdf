from __future__ import annotations

import pytest

from inceptions.data.preprocess import for_training
from inceptions.networks import reshape
from inceptions.weights.folder import save_model
from tests.training.trained import V3, trained


@pytest.fixture
def saved(tmp_path):
    def save(network, *, preprocess=None, classes=None):
        module = trained(network)
        classes = tuple(str(n) for n in range(network.classes)) if classes is None else classes
        save_model(module, tmp_path / "model", preprocess=preprocess or for_training(network.image_size), classes=classes)
        return tmp_path / "model"

    return save


@pytest.fixture(scope="module")
def v3_75(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "v3"
    network = reshape.with_classes(reshape.with_image_size(reshape.without_aux(V3), 75), 3)
    save_model(trained(network), folder, preprocess=for_training(75), classes=("a", "b", "c"))
    return folder
