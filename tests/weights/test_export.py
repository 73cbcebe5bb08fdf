"""Weights written for torchvision, timm and Keras load there and give the same logits; written and read again they are the same bits."""

import json
import os
import subprocess
import sys
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from inceptions.data.preprocess import INCEPTION
from inceptions.errors import UserError, WeightsError
from inceptions.networks import reshape
from inceptions.networks.modules.models import training_module
from inceptions.networks.registry import get_network
from inceptions.weights.adapters.catalog import ADAPTERS
from inceptions.weights.exporter import EXPORTABLE, export_tensors
from inceptions.weights.folder import load_model, save_model
from inceptions.weights.importer import import_tensors
from inceptions.weights.writers import write_tensors

LARGE = ("inception_v4", "inception_resnet_v2", "xception65", "xception71", "xception65p")  # smaller ones have their kinds of layers
FORMS = [adapter for adapter in ADAPTERS if adapter.framework in EXPORTABLE]


def fill(network, *, classes=7, gamma=True):
    """Return a network of few classes with weights and batch statistics that matter."""
    torch.manual_seed(1)
    network = reshape.with_classes(network, classes)
    module = training_module(network)
    for name, tensor in module.state_dict().items():
        if name.endswith(("running_var", "bn.weight")) and (gamma or "running" in name):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "bn.bias")):
            tensor.normal_(std=0.1)
    return module.eval()


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, id=f"{form.framework}-{form.network.name}", marks=pytest.mark.exhaustive if form.network.name in LARGE else ())
        for form in FORMS
    ],
)
def test_there_and_back_is_the_same_to_the_bit(form):
    module = fill(form.network, gamma=form.scale)
    again, audit = import_tensors(export_tensors(module, framework=form.framework), framework=form.framework)
    assert again.network.stages == module.network.stages
    assert type(again) is type(module)
    assert audit.classes == 7
    ours, theirs = module.state_dict(), again.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def peer(framework, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision warns of its own initialisation
        if framework == "timm":
            import timm

            return timm.create_model({"xception": "legacy_xception"}.get(name, name), pretrained=False, num_classes=7)
        import torchvision

        maker = torchvision.models.googlenet if name == "googlenet_bn" else torchvision.models.inception_v3
        return maker(weights=None, num_classes=7, init_weights=False, aux_logits=True, transform_input=False)


THERE = {  # in which kind of file each is tried in short: what is in a file doesn't depend on it
    ("torchvision", "googlenet_bn"): ".pth",
    ("torchvision", "inception_v3"): ".safetensors",
    ("timm", "inception_v3"): ".pth",
    ("timm", "inception_v4"): "",  # of these test_golden has the names, test_parity the logits
    ("timm", "inception_resnet_v2"): "",
    ("timm", "xception"): ".pth",
    ("timm", "xception41"): ".safetensors",
    ("timm", "xception41p"): "",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "name", "suffix"),
    [
        pytest.param(*peer, suffix, marks=() if THERE[peer] == suffix else pytest.mark.exhaustive)
        for peer in THERE
        for suffix in (".pth", ".safetensors")
    ],
)
def test_file_that_we_write_loads_there_and_gives_the_same_logits(tmp_path, framework, name, suffix):
    form = next(form for form in FORMS if (form.framework, form.network.name) == (framework, name))
    module = fill(form.network)
    save_model(module, tmp_path / "m", preprocess=INCEPTION, classes=tuple("abcdefg"))
    write_tensors(tmp_path / "m", tmp_path / f"theirs{suffix}", framework=framework)
    if suffix == ".pth":
        tensors = torch.load(tmp_path / "theirs.pth", weights_only=True)
    else:
        from safetensors.torch import load_file

        tensors = load_file(tmp_path / "theirs.safetensors")
    theirs = peer(framework, name)
    theirs.load_state_dict(tensors)
    images = torch.rand(1, 3, 139, 139) * 2 - 1
    with torch.inference_mode():
        want = theirs.eval()(images)
        got = module.forward_head(module.stages(images))
    assert (got - want).abs().max() < 1e-5 * want.abs().max()  # float rounding


KERAS = """
import json, sys
import numpy as np
import keras
folder, name = sys.argv[1:]
maker = {"inception_v3": keras.applications.InceptionV3, "inception_resnet_v2": keras.applications.InceptionResNetV2,
         "xception": keras.applications.Xception}[name]
model = maker(weights=None, classes=7, classifier_activation=None, input_shape=(299, 299, 3))
model.load_weights(f"{folder}/theirs.h5")
np.save(f"{folder}/logits.npy", model.predict(np.load(f"{folder}/images.npy"), verbose=0))
print(json.dumps({"backend": keras.backend.backend()}))
"""


@pytest.mark.exhaustive
@pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
@pytest.mark.parametrize("name", ["xception", "inception_v3", "inception_resnet_v2"])
def test_keras_loads_the_file_that_we_write_and_gives_the_same_logits(tmp_path, name):
    module = fill(reshape.without_aux(get_network(name)))  # a gamma too, which Keras' Inceptions have not
    save_model(module, tmp_path / "m", preprocess=INCEPTION, classes=tuple("abcdefg"))
    write_tensors(tmp_path / "m", tmp_path / "theirs.h5", framework="keras")
    images = np.random.default_rng(0).uniform(-1, 1, (1, 299, 299, 3)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    environment = {**os.environ, "KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", KERAS, str(tmp_path), name], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"backend": "torch"}
    want = torch.from_numpy(np.load(tmp_path / "logits.npy"))
    with torch.inference_mode():
        got = module(torch.from_numpy(images).permute(0, 3, 1, 2))
    assert (got - want).abs().max() < 1e-4 * want.abs().max()  # folding gamma rounds once more


def test_other_numerics_are_refused():
    module = fill(get_network("inception_v3"))
    with pytest.raises(WeightsError, match="computes with avg_pool_counts_padding True, these weights with False"):
        export_tensors(module, framework="timm")


def test_other_networks_and_variations_are_refused():
    with pytest.raises(WeightsError, match="keras has no such network as this googlenet; it has inception_v3, "):
        export_tensors(fill(get_network("googlenet")), framework="keras")
    with pytest.raises(WeightsError, match="no variations of them"):
        export_tensors(fill(reshape.scale_width(get_network("xception"), 0.125)), framework="keras")
    with pytest.raises(WeightsError, match="framework is 'caffe'; weights can be written for torchvision, timm, keras"):
        export_tensors(fill(get_network("googlenet")), framework="caffe")


def test_suffix_that_the_library_has_not_is_refused_and_nothing_written(tmp_path):
    save_model(fill(get_network("xception")), tmp_path / "m", preprocess=INCEPTION, classes=tuple("abcdefg"))
    with pytest.raises(WeightsError, match=r"keras reads \.h5 files"):
        write_tensors(tmp_path / "m", tmp_path / "theirs.pth", framework="keras")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize(("framework", "suffix"), [("torchvision", ".pth"), ("torchvision", ".safetensors"), ("keras", ".h5")])
def test_a_disk_that_is_full_is_one_line(tmp_path, full_disk, framework, suffix):
    network = reshape.without_aux(get_network("inception_v3"))
    network = reshape.with_numerics(network, avg_pool_counts_padding=True) if framework == "torchvision" else network
    save_model(fill(network, gamma=False), tmp_path / "m", preprocess=INCEPTION, classes=tuple("abcdefg"))
    with full_disk(), pytest.raises(UserError, match=r"^can't write .*theirs.* \(.*\); make room, or give another place$"):
        write_tensors(tmp_path / "m", tmp_path / f"theirs{suffix}", framework=framework)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_dropout_and_classes_do_not_matter_to_the_file():
    form = next(form for form in FORMS if form.framework == "timm" and form.network.name == "xception")
    module = fill(reshape.with_drop_rate(form.network, 0.1), classes=0)
    assert "fc.weight" not in export_tensors(module, framework="timm")


def test_folder_that_was_converted_is_written_back(tmp_path):
    form = next(form for form in FORMS if form.framework == "timm" and form.network.name == "inception_v4")
    module = fill(form.network)
    save_model(module, tmp_path / "m", preprocess=INCEPTION, classes=tuple("abcdefg"))
    write_tensors(tmp_path / "m", tmp_path / "t.safetensors", framework="timm")
    from safetensors.torch import load_file

    again, _ = import_tensors(load_file(tmp_path / "t.safetensors"), framework="timm")
    want = load_model(tmp_path / "m").module.state_dict()
    assert all(torch.equal(tensor, want[key]) for key, tensor in again.state_dict().items())
