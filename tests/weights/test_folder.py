import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from inceptions.data.preprocess import for_training
from inceptions.data.splits import SplitRecord
from inceptions.errors import ModelFolderError, UserError
from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier, ClassifierWithAux
from inceptions.networks.registry import get_network
from inceptions.weights.card import CARD_NAME, WEIGHTS_NAME, read_card
from inceptions.weights.folder import load_model, save_model, update_metrics

SMALL = reshape.with_classes(reshape.scale_width(get_network("inception_small"), 0.25), 3)
CLASSES = ("ant", "bee", "wasp")
PREPROCESS = for_training(28)


@pytest.fixture
def module():
    torch.manual_seed(0)
    made = Classifier(SMALL)
    for buffer in made.buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    return made


@pytest.fixture
def folder(tmp_path, module):
    save_model(module, tmp_path / "model", preprocess=PREPROCESS, classes=CLASSES, metrics={"val_accuracy": 0.5})
    return tmp_path / "model"


def test_model_comes_back_with_its_outputs_and_its_card(module, folder):
    loaded = load_model(folder)
    images = torch.rand(2, 3, 28, 28)
    with torch.inference_mode():
        assert torch.equal(loaded.module(images), module.eval()(images))
    assert not loaded.module.training
    assert loaded.card.classes == CLASSES
    assert loaded.card.network == SMALL
    assert loaded.card.preprocess == PREPROCESS
    assert loaded.card.metrics == {"val_accuracy": 0.5}


def test_numerics_travel_with_the_weights(tmp_path):
    network = reshape.with_numerics(SMALL, bn_epsilon=0.25)
    save_model(Classifier(network), tmp_path / "m", preprocess=PREPROCESS, classes=CLASSES)
    assert json.loads((tmp_path / "m" / CARD_NAME).read_text())["numerics"] == {"type": "Numerics", "bn_epsilon": 0.25}
    assert all(m.eps == 0.25 for m in load_model(tmp_path / "m").module.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_auxiliary_heads_are_kept_and_loaded_when_asked(tmp_path):
    network = reshape.with_classes(reshape.scale_width(get_network("googlenet_bn"), 0.125), 3)
    trained = ClassifierWithAux(network)
    save_model(trained, tmp_path / "m", preprocess=for_training(224), classes=CLASSES)
    assert not any(key.startswith("aux.") for key in load_model(tmp_path / "m").module.state_dict())
    again = load_model(tmp_path / "m", aux=True).module.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in trained.state_dict().items())


def test_saving_again_replaces_the_whole_folder(module, folder):
    save_model(module, folder, preprocess=PREPROCESS, classes=("a", "b", "c"))
    assert read_card(folder).classes == ("a", "b", "c")
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_failed_save_leaves_the_old_folder(module, folder, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    with pytest.raises(UserError, match="No space"):
        save_model(module, folder, preprocess=PREPROCESS, classes=("a", "b", "c"))
    assert load_model(folder).card.classes == CLASSES
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_folder_of_something_else_is_not_replaced(tmp_path, module):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(ModelFolderError, match="is not a model folder"):
        save_model(module, tmp_path / "photos", preprocess=PREPROCESS, classes=CLASSES)


def test_as_many_class_names_as_outputs_are_wanted(tmp_path, module):
    with pytest.raises(ModelFolderError, match="2 class names were given for a network with 3 outputs"):
        save_model(module, tmp_path / "m", preprocess=PREPROCESS, classes=("ant", "bee"))


def test_how_the_images_were_divided_travels_with_the_weights_and_may_be_missing(tmp_path, module, folder):
    split = SplitRecord(3, "ab12", {"train": 80, "val": 10, "test": 10}, "photos")
    save_model(module, tmp_path / "m", preprocess=for_training(32), classes=CLASSES, split=split)
    update_metrics(tmp_path / "m", {"test_accuracy": 0.5})
    assert load_model(tmp_path / "m").card.split == split
    assert "split" not in json.loads((folder / CARD_NAME).read_text())
    assert load_model(folder).card.split is None


def test_metrics_can_be_added(folder):
    update_metrics(folder, {"test_accuracy": 0.75})
    assert read_card(folder).metrics == {"val_accuracy": 0.5, "test_accuracy": 0.75}
    load_model(folder)


def test_confusions_stay_with_the_metrics_and_may_be_missing(folder):
    assert read_card(folder).confusions is None
    update_metrics(folder, {"test_accuracy": 0.75}, confusions=[("ant", "bee", 3)])
    update_metrics(folder, {"epoch": 2})
    assert read_card(folder).confusions == (("ant", "bee", 3),)
    values = json.loads((folder / CARD_NAME).read_text()) | {"confusions": [["ant", 3]]}
    (folder / CARD_NAME).write_text(json.dumps(values))
    with pytest.raises(ModelFolderError, match="confusions must be a list of"):
        read_card(folder)


def test_missing_folder_and_run_folder_are_told_apart(tmp_path, module):
    with pytest.raises(ModelFolderError, match="there is no such folder"):
        load_model(tmp_path / "nothing")
    save_model(module, tmp_path / "run" / "best", preprocess=PREPROCESS, classes=CLASSES)
    with pytest.raises(ModelFolderError, match="its models are in best and last"):
        load_model(tmp_path / "run")


def test_damaged_weights_are_noticed(folder):
    weights = folder / WEIGHTS_NAME
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelFolderError, match="SHA-256 differs"):
        load_model(folder)
    weights.unlink()
    with pytest.raises(ModelFolderError, match=r"has no model\.safetensors"):
        load_model(folder)


def edit(folder, **changes):
    data = json.loads((folder / CARD_NAME).read_text())
    data.update(changes)
    (folder / CARD_NAME).write_text(json.dumps({key: value for key, value in data.items() if value is not ...}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 99}, "schema_version is 99"),
        ({"classes": ...}, "the key 'classes' is missing"),
        ({"classes": "ant"}, "classes is 'ant'"),
        ({"classes": [1, 2, 3]}, "classes must be a list of names"),
        ({"classes": ["ant"]}, "1 class names were given"),
        ({"preprocess": {"image_size": "large"}}, "image_size"),
        ({"network": {"type": "Network"}}, "is missing"),
        ({"split": {"seed": 0}}, "split is .* it must have a seed, a fingerprint, images"),
        ({"split": {"seed": 0, "fingerprint": "a", "source": "b", "images": {"train": 1}}}, "split is"),
        ({"numerics": {"type": "Numerics", "bn_epsilon": "tiny"}}, r"numerics\.bn_epsilon is 'tiny'"),
    ],
)
def test_wrong_card_names_the_key(folder, changes, message):
    edit(folder, **changes)
    with pytest.raises(ModelFolderError, match=message):
        load_model(folder)


def test_card_that_is_not_json_is_told(folder):
    (folder / CARD_NAME).write_text("{")
    with pytest.raises(ModelFolderError, match="not valid JSON"):
        load_model(folder)


def test_tensors_of_another_network_are_refused(folder, tmp_path):
    other = reshape.with_classes(get_network("inception_small"), 3)
    save_model(Classifier(other), tmp_path / "other", preprocess=PREPROCESS, classes=CLASSES)
    (tmp_path / "other" / WEIGHTS_NAME).replace(folder / WEIGHTS_NAME)
    edit(folder, sha256="")
    with pytest.raises(ModelFolderError, match=r"tensor 'stages.conv1.conv.weight' has shape \(96, 3, 3, 3\); the network wants \(24, "):
        load_model(folder)


def test_card_reads_without_the_weights(folder):
    (folder / WEIGHTS_NAME).unlink()
    card = read_card(folder)
    pixels = card.preprocess(Image.fromarray(np.full((40, 30, 3), 255, dtype=np.uint8)))
    assert pixels.shape == (3, 28, 28)
    assert replace(card, classes=()).network == SMALL


def test_kernels_in_bfloat16_are_half_as_large_and_come_back_rounded_in_float32(tmp_path, module, folder):
    save_model(module, tmp_path / "half", preprocess=PREPROCESS, classes=CLASSES, kernels=torch.bfloat16)
    sizes = [(path / WEIGHTS_NAME).stat().st_size for path in (tmp_path / "half", folder)]
    assert sizes[0] < 0.6 * sizes[1]
    for key, value in load_model(tmp_path / "half").module.state_dict().items():
        whole = module.state_dict()[key]
        assert value.dtype == whole.dtype
        assert torch.equal(value, whole.bfloat16().float() if whole.ndim > 1 else whole)


def test_two_classes_of_one_name_are_refused_when_a_model_is_saved_and_when_it_is_read(folder, module, tmp_path):
    said = "classes 0, 2 are all called 'ant'; give each class a name of its own"
    with pytest.raises(ModelFolderError, match=said):
        save_model(module, tmp_path / "other", preprocess=PREPROCESS, classes=("ant", "bee", "ant"))
    assert not (tmp_path / "other").exists()
    card = json.loads((folder / CARD_NAME).read_text())
    (folder / CARD_NAME).write_text(json.dumps({**card, "classes": ["ant", "bee", "ant"]}))
    with pytest.raises(ModelFolderError, match=said):
        load_model(folder)


def test_a_disk_that_is_full_as_weights_are_saved_is_one_line(tmp_path, module, full_disk):
    with full_disk(), pytest.raises(UserError, match=r"^can't write .*model \(.*File too large.*\); make room, or give another place$"):
        save_model(module, tmp_path / "model", preprocess=PREPROCESS, classes=CLASSES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("key", "value"),
    [("network", {"type": []}), ("network", {"type": {"a": 1}}), ("preprocess", {"image_size": 1e400}), ("temperature", [])],
)
def test_a_card_of_values_that_nobody_writes_is_told(folder, key, value):
    file = folder / CARD_NAME
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(ModelFolderError, match=r"model\.json"):
        read_card(folder)
