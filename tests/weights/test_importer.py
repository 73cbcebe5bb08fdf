"""What import_tensors refuses, in memory: nothing is guessed, nothing dropped in silence."""

import numpy as np
import pytest
import torch

from inceptions.errors import WeightsError
from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier
from inceptions.networks.registry import get_network
from inceptions.weights import import_tensors
from inceptions.weights.adapters.catalog import find_adapter
from inceptions.weights.adapters.prepare import prepare
from inceptions.weights.adapters.styles import to_theirs
from inceptions.weights.convert import detect
from inceptions.weights.exporter import export_tensors
from inceptions.weights.importer import name_outputs


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    return export_tensors(Classifier(reshape.with_classes(reshape.without_aux(get_network("googlenet_bn")), 3)), framework="torchvision")


def test_model_is_ready_with_as_many_outputs_as_the_checkpoint(theirs):
    module, audit = import_tensors(theirs, framework="torchvision")
    assert not module.training
    assert (module.num_classes, audit.classes) == (3, 3)
    assert "no auxiliary heads in the checkpoint" in audit.notes


@pytest.mark.parametrize("width", [128, pytest.param(512, marks=pytest.mark.exhaustive)])
def test_embeddings_of_faces_have_the_width_of_their_checkpoint(width):
    bottleneck = "InceptionResnetV1/Bottleneck"
    face = reshape.with_embedding(get_network("inception_resnet_v1_facenet"), width)
    adapter = find_adapter("tf_facenet", face.name)
    module = Classifier(face)
    tensors = {
        name: to_theirs(module.state_dict()[unit.tensors[role]], unit, role, "tensorflow")
        for unit, names in adapter.units(face, aux=False)
        for role, name in names.items()
        if role != "gamma"
    }
    assert tuple(tensors[f"{bottleneck}/weights"].shape) == (1792, width)
    tensors |= {"Logits/weights": torch.zeros(width, 10575), "centers": torch.zeros(10575, width)}
    framework, name, _ = detect(tensors, "tf_checkpoint")
    loaded, _ = import_tensors(tensors, framework=framework, network=name)
    assert loaded.network.head == face.head
    assert torch.equal(loaded.state_dict()["head.2.linear.weight"], module.state_dict()["head.2.linear.weight"])


def test_numbers_of_classes_mean_the_same_with_and_without_a_background():
    assert name_outputs(1000)[:2] == ("0", "1")
    assert name_outputs(1001)[:3] == ("background", "0", "1")
    assert not set(name_outputs(1008)) & set(name_outputs(1000))
    for count in (3, 1000, 1001, 1008):
        assert len({*name_outputs(count)}) == count


def test_wrapper_of_data_parallel_is_taken_off(theirs):
    module, _ = import_tensors({f"module.{name}": value for name, value in theirs.items()}, framework="torchvision")
    assert module.num_classes == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("conv1.conv.weight"), r"1 missing, such as 'conv1\.conv\.weight'"),
        (lambda t: t.update(extra=np.zeros(2, np.float32)), "1 left over, such as 'extra'"),
        (lambda t: t.update({"conv1.bn.bias": np.full(64, np.nan, np.float32)}), r"'conv1\.bn\.bias' has values that are not finite"),
        (lambda t: t.update({"conv1.bn.running_var": np.full(64, -1, np.float32)}), "is a variance and has negative values"),
        (
            lambda t: t.update({"conv1.bn.bias": np.zeros(63, np.float32)}),
            r"'conv1\.bn\.bias' has shape \(63,\); googlenet_bn wants \(64,\)",
        ),
        (lambda t: t.update({"conv1.bn.bias": np.zeros(64, np.int8)}), "weights are floating-point numbers"),
        (lambda t: t.update({"conv1.bn.bias": "pickle"}), "is a str; a checkpoint maps names to arrays"),
        (dict.clear, "there are no tensors"),
    ],
)
def test_what_is_unexplained_is_refused(theirs, change, message):
    tensors = dict(theirs)
    change(tensors)
    with pytest.raises(WeightsError, match=message):
        import_tensors(tensors, framework="torchvision")


def test_two_keras_networks_in_one_checkpoint_are_noticed():
    tensors = {"a/conv2d/kernel:0": np.zeros(1), "b/conv2d/kernel:0": np.zeros(1)}
    with pytest.raises(WeightsError, match="more than one network"):
        prepare(tensors, "keras")


def test_scale_layer_of_another_shape_is_noticed():
    names = ("x/bn_scale_0", "x/bn_bias_0", "x/bn/sc_w_0", "x/bn/sc_b_0")
    tensors = {name: np.ones(3 if name.endswith("sc_w_0") else 2, np.float32) for name in names}
    with pytest.raises(WeightsError, match="of another shape"):
        prepare(tensors, "onnx")
    del tensors["x/bn_bias_0"]
    with pytest.raises(WeightsError, match="'x/bn_bias_0' is missing"):
        prepare(tensors, "onnx")
