import io
import json
import os
import subprocess
import sys
import textwrap
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from inceptions.errors import WeightsError
from inceptions.weights.importer import import_tensors
from inceptions.weights.keras_order import name_layers
from inceptions.weights.readers import read_tensors
from inceptions.weights.readers.tensorflow_checkpoint import read_tensorflow
from tests.golden import rule
from tests.weights.checkpoint_files import (
    caffe_layer,
    caffemodel,
    numbers,
    onnx_model,
    onnx_tensor,
    write_keras,
    write_legacy_h5,
    write_saved_h5,
)

GOLDEN = Path(rule.__file__).parent
STATE = {"conv.weight": torch.from_numpy(numbers(4, 3, 3, 3)), "bn.running_mean": torch.from_numpy(numbers(4, seed=1))}


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def assert_same(found, wanted):
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert np.array_equal(np.asarray(found[name]), np.asarray(array)), name


# ---- PyTorch and safetensors


@pytest.mark.parametrize("zipped", [True, False])
def test_state_dict_of_torch_is_read_in_either_form(tmp_path, zipped):
    state = OrderedDict(STATE)
    state._metadata = OrderedDict({"": {"version": 1}})
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found = read_tensors(tmp_path / "a.pth")
    assert_same(found.tensors, STATE)
    assert (found.format, found.notes) == ("torch", ())


def test_tensors_of_a_zipped_file_are_views_of_it(tmp_path):
    torch.save(STATE, tmp_path / "a.pt")
    maps = Path("/proc/self/maps")
    tensors = read_tensors(str(tmp_path / "a.pt")).tensors
    if not maps.exists():
        pytest.skip("this system doesn't say what is mapped into memory")
    assert str(tmp_path / "a.pt") in maps.read_text()
    assert len(tensors) == 2


def test_parameters_and_16_bit_numbers_are_read(tmp_path):
    state = {"a": torch.nn.Parameter(torch.ones(2)), "b": torch.ones(3, dtype=torch.bfloat16), "c": torch.arange(2)}
    torch.save(state, tmp_path / "a.bin")
    assert_same(
        {name: tensor.detach().float() for name, tensor in read_tensors(tmp_path / "a.bin").tensors.items()},
        {name: tensor.detach().float() for name, tensor in state.items()},
    )


def test_views_that_share_a_storage_are_read(tmp_path):
    whole = torch.arange(12.0)
    torch.save({"a": whole[:6].view(2, 3).T, "b": whole[6:]}, tmp_path / "a.pth")
    assert_same(read_tensors(tmp_path / "a.pth").tensors, {"a": whole[:6].view(2, 3).T, "b": whole[6:]})


@pytest.mark.parametrize(
    ("nest", "chosen"),
    [
        ({"state_dict": STATE}, "state_dict"),
        ({"model": STATE, "epoch": 3, "best": 0.5}, "model"),
        ({"model_state_dict": STATE, "optimizer_state_dict": {"state": {0: {"step": torch.tensor(1.0)}}}}, "model_state_dict"),
        ({"state_dict": {"conv.weight": torch.zeros(1)}, "state_dict_ema": STATE}, "state_dict_ema"),
        ({"model": {"conv.weight": torch.zeros(1)}, "model_ema": STATE}, "model_ema"),
        ({"state_dict": {"conv.weight": torch.zeros(1)}, "state_dict_ema": None}, None),
    ],
)
def test_weights_are_taken_out_of_a_training_state_and_averaged_ones_first(tmp_path, nest, chosen):
    torch.save(nest, tmp_path / "a.pth")
    found = read_tensors(tmp_path / "a.pth")
    if chosen is None:
        assert_same(found.tensors, nest["state_dict"])
        return
    assert_same(found.tensors, STATE)
    assert found.notes[0].startswith(f"the weights are those under '{chosen}'")
    assert all(repr(key) in found.notes[0] for key in nest)


def test_old_file_that_a_gpu_wrote_is_read(tmp_path):
    torch.save(STATE, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(content.replace(b"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n"))
    assert_same(read_tensors(tmp_path / "a.pth").tensors, STATE)


def test_state_of_an_optimiser_and_a_schedule_does_no_harm(tmp_path):
    layer = torch.nn.Linear(2, 3)
    optimizer = torch.optim.Adam(layer.parameters())
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = {"model": layer.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    torch.save({**state, "size": torch.Size([2]), "device": torch.device("cpu"), "kind": torch.float32}, tmp_path / "a.pth")
    assert_same(read_tensors(tmp_path / "a.pth").tensors, layer.state_dict())


def test_whatever_torch_takes_as_weights_alone_is_taken(tmp_path):
    seen = {"pairs": {(1, 2): 3}, "names": {"ant", "bee"}, "small": torch.ones(2, dtype=torch.float8_e5m2), "blob": bytearray(b"x")}
    torch.save({"state_dict": STATE, "seen": seen}, tmp_path / "a.pth")
    assert_same(read_tensors(tmp_path / "a.pth").tensors, STATE)


def test_values_beside_tensors_are_left_out_with_a_note(tmp_path):
    torch.save({**STATE, "epoch": 3}, tmp_path / "a.pth")
    found = read_tensors(tmp_path / "a.pth")
    assert_same(found.tensors, STATE)
    assert found.notes == ("values that are no tensors were left out: 'epoch'",)


def test_safetensors_are_read(tmp_path):
    safetensors.torch.save_file(STATE, tmp_path / "a.safetensors", metadata={"format": "pt"})
    found = read_tensors(tmp_path / "a.safetensors")
    assert_same(found.tensors, STATE)
    assert found.format == "safetensors"


def test_content_counts_and_a_name_that_says_otherwise_is_noted(tmp_path):
    safetensors.torch.save_file(STATE, tmp_path / "a.pth")
    found = read_tensors(tmp_path / "a.pth")
    assert_same(found.tensors, STATE)
    assert found.notes == ("its name ends in .pth, its content is safetensors",)
    torch.save(STATE, tmp_path / "a.h5")
    assert read_tensors(tmp_path / "a.h5").notes == ("its name ends in .h5, its content is PyTorch's",)


def test_arrays_of_numpy_are_read(tmp_path):
    np.savez(tmp_path / "a.npz", **{"conv/kernel": numbers(3, 3, 2, 4), "f": np.asfortranarray(numbers(2, 3))})
    found = read_tensors(tmp_path / "a.npz")
    assert_same(found.tensors, {"conv/kernel": numbers(3, 3, 2, 4), "f": numbers(2, 3)})
    assert found.format == "npz"


# ---- Keras

LEGACY = {
    "input_1": {},
    "conv2d_1": {"conv2d_1/kernel:0": numbers(3, 3, 2, 4)},
    "batch_normalization_1": {f"batch_normalization_1/{end}:0": numbers(4) for end in ("beta", "moving_mean", "moving_variance")},
}
LEGACY_TENSORS = {f"{layer}/{weight.split('/')[1]}": array for layer, weights in LEGACY.items() for weight, array in weights.items()}


@pytest.mark.parametrize("form", [{}, {"group": "model_weights"}, {"split": True}])
def test_legacy_file_of_keras_is_read_whether_of_weights_or_of_a_model(tmp_path, form):
    write_legacy_h5(tmp_path / "a.h5", LEGACY, **form)
    found = read_tensors(tmp_path / "a.h5")
    assert_same(found.tensors, LEGACY_TENSORS)
    assert (found.format, found.notes) == ("keras_h5", ())


def test_layer_is_named_by_its_group_where_a_process_made_the_model_twice(tmp_path):
    write_legacy_h5(tmp_path / "a.h5", {"conv2d_1": {"conv2d_1_1/kernel:0": numbers(3)}})
    assert list(read_tensors(tmp_path / "a.h5").tensors) == ["conv2d_1/kernel:0"]


def test_model_within_a_model_keeps_its_layers_names(tmp_path):
    weights = {"conv2d/kernel:0": numbers(3), "conv2d_1/kernel:0": numbers(4)}
    write_legacy_h5(tmp_path / "a.h5", {"inception_v3": weights, "dense": {"dense/bias:0": numbers(2)}})
    assert sorted(read_tensors(tmp_path / "a.h5").tensors) == [
        "dense/bias:0",
        "inception_v3/conv2d/kernel:0",
        "inception_v3/conv2d_1/kernel:0",
    ]


def test_names_of_keras_1_become_todays(tmp_path):
    layers = {
        "convolution2d_1": {"convolution2d_1_W:0": numbers(1), "convolution2d_1_b:0": numbers(2)},
        "batchnormalization_1": {f"batchnormalization_1_{end}:0": numbers(3) for end in ("gamma", "beta", "running_mean", "running_std")},
        "block1_conv1": {"block1_conv1_W:0": numbers(4)},
    }
    write_legacy_h5(tmp_path / "a.h5", layers)
    found = read_tensors(tmp_path / "a.h5")
    ends = ("gamma", "beta", "moving_mean", "moving_variance")
    norm = {f"batch_normalization_1/{end}" for end in ends}
    assert set(found.tensors) == {"conv2d_1/kernel", "conv2d_1/bias", *norm, "block1_conv1/kernel"}
    assert found.notes == ("layers and weights that older Keras named otherwise have today's names",)


SAVED = {
    "conv2d": ("first", [numbers(3, 3, 3, 4)]),
    "conv2d_1": ("third", [numbers(1, 1, 4, 4), numbers(4)]),
    "conv2d_2": ("second", [numbers(1, 1, 4, 5)]),
    "separable_conv2d": ("sep", [numbers(3, 3, 4, 1), numbers(1, 1, 4, 6)]),
    "batch_normalization": ("bn", [numbers(4, seed=seed) for seed in range(3)]),
    "batch_normalization_1": ("scaled", [numbers(4, seed=seed) for seed in range(4)]),
    "dense": ("predictions", [numbers(6, 2), numbers(2)]),
}
SAVED_TENSORS = {
    "first/kernel": numbers(3, 3, 3, 4),
    "third/kernel": numbers(1, 1, 4, 4),
    "third/bias": numbers(4),
    "second/kernel": numbers(1, 1, 4, 5),
    "sep/depthwise_kernel": numbers(3, 3, 4, 1),
    "sep/pointwise_kernel": numbers(1, 1, 4, 6),
    **{f"bn/{end}": numbers(4, seed=seed) for seed, end in enumerate(("beta", "moving_mean", "moving_variance"))},
    **{f"scaled/{end}": numbers(4, seed=seed) for seed, end in enumerate(("gamma", "beta", "moving_mean", "moving_variance"))},
    "predictions/kernel": numbers(6, 2),
    "predictions/bias": numbers(2),
}
CLASSES = [
    *(("InputLayer", "input"), ("Conv2D", "first"), ("BatchNormalization", "bn"), ("Conv2D", "third"), ("Activation", "relu")),
    *(("Conv2D", "second"), ("SeparableConv2D", "sep"), ("BatchNormalization", "scaled"), ("Dense", "predictions")),
]
CONFIG = [(kind, {"name": name}) for kind, name in CLASSES]
NAMELESS = {group: (None, arrays) for group, (_, arrays) in SAVED.items()}


@pytest.mark.parametrize("container", ["layers", "_layer_checkpoint_dependencies"])
def test_saved_weights_of_keras_are_named_by_their_layers(tmp_path, container):
    write_saved_h5(tmp_path / "a.weights.h5", SAVED, container=container)
    found = read_tensors(tmp_path / "a.weights.h5")
    assert_same(found.tensors, SAVED_TENSORS)
    assert (found.format, found.notes) == ("weights_h5", ())


@pytest.mark.parametrize("layers", [SAVED, NAMELESS], ids=["named in the weights", "named in the configuration"])
def test_saved_model_of_keras_is_read(tmp_path, layers):
    write_saved_h5(tmp_path / "w.h5", layers)
    write_keras(tmp_path / "a.keras", tmp_path / "w.h5", CONFIG)
    found = read_tensors(tmp_path / "a.keras")
    assert_same(found.tensors, SAVED_TENSORS)
    assert found.format == "keras"


def test_normalisation_with_a_scale_but_no_shift_is_told_by_the_configuration(tmp_path):
    write_saved_h5(tmp_path / "w.h5", {"batch_normalization": ("bn", [numbers(4)] * 3)})
    write_keras(tmp_path / "a.keras", tmp_path / "w.h5", [("BatchNormalization", {"name": "bn", "scale": True, "center": False})])
    assert sorted(read_tensors(tmp_path / "a.keras").tensors) == ["bn/gamma", "bn/moving_mean", "bn/moving_variance"]


def test_model_within_a_saved_model_is_walked_through(tmp_path):
    inner = {"class_name": "Conv2D", "config": {"name": "conv2d_7"}}
    write_saved_h5(tmp_path / "w.h5", {"functional/layers/conv2d": (None, [numbers(3)]), "dense": (None, [numbers(2)])})
    write_keras(tmp_path / "a.keras", tmp_path / "w.h5", [("Functional", {"name": "body", "layers": [inner]}), ("Dense", {"name": "head"})])
    assert sorted(read_tensors(tmp_path / "a.keras").tensors) == ["conv2d_7/kernel", "head/kernel"]


def test_state_of_random_layers_and_optimisers_is_left_out_with_a_note(tmp_path):
    write_saved_h5(tmp_path / "a.weights.h5", {"conv2d": ("c", [numbers(3)]), "dropout/seed_generator": ("s", [np.arange(2)])})
    import h5py

    with h5py.File(tmp_path / "a.weights.h5", "a") as file:
        file["optimizer/vars/0"] = numbers(2)
    found = read_tensors(tmp_path / "a.weights.h5")
    assert list(found.tensors) == ["c/kernel"]
    assert found.notes == ("left out, for they are no weights of layers: 'optimizer', 'dropout/seed_generator'",)


@pytest.mark.parametrize("name", ["keras-InceptionV3", "keras-InceptionResNetV2", "keras-Xception"])
def test_layers_of_files_without_names_are_those_that_keras_lists(tmp_path, name):
    layers, counts = {}, {}
    for tensor, *_ in golden(name)["tensors"]:
        layers.setdefault(tensor.split("/")[0], []).append(tensor)
    saved, wanted = {}, {}
    for number, (layer, tensors) in enumerate(layers.items()):
        ends = " ".join(tensors)
        kind = next(
            kind
            for kind, sign in (
                ("separable_conv2d", "depthwise"),
                ("batch_normalization", "moving"),
                ("dense", "predictions"),
                ("conv2d", "kernel"),
            )
            if sign in ends
        )
        counts[kind] = counts.get(kind, 0) + 1
        group = f"{kind}_{counts[kind] - 1}" if counts[kind] > 1 else kind
        arrays = [np.array([number, place], dtype=np.float32) for place in range(len(tensors))]
        saved[group] = (None, arrays)
        wanted |= dict(zip(tensors, arrays, strict=True))
        assert layer in tensors[0]
    write_saved_h5(tmp_path / "a.weights.h5", saved)
    assert_same(read_tensors(tmp_path / "a.weights.h5").tensors, wanted)


def test_layers_of_an_unknown_network_without_names_are_refused(tmp_path):
    assert name_layers({"conv2d": 3}) is None
    write_saved_h5(tmp_path / "a.weights.h5", NAMELESS)
    with pytest.raises(WeightsError, match=r"doesn't tell its layers' names.*save the whole model as \.keras"):
        read_tensors(tmp_path / "a.weights.h5")


def test_missing_h5py_says_what_to_install(tmp_path, monkeypatch):
    write_legacy_h5(tmp_path / "a.h5", LEGACY)
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "h5py.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    with pytest.raises(WeightsError, match=r"pip install 'inceptions\[keras\]'"):
        read_tensors(tmp_path / "a.h5")


@pytest.mark.slow
def test_real_checkpoint_of_keras_without_top_gives_stable_features():
    folder = os.environ.get("INCEPTIONS_TEST_DATA")
    if not folder:
        pytest.skip("INCEPTIONS_TEST_DATA, the folder with inception_v3_keras_notop.h5, is not set")
    found = read_tensors(Path(folder) / "inception_v3_keras_notop.h5")
    module, audit = import_tensors(found.tensors, framework="keras")
    assert (found.format, audit.network, audit.classes) == ("keras_h5", "inception_v3", 0)
    ramp = torch.linspace(-1, 1, 299)
    images = torch.stack([ramp.expand(3, 299, 299), ramp.flip(0).expand(3, 299, 299)])
    with torch.inference_mode():
        features, again = module(images), module(images[:1])
    assert features.shape == (2, 2048)
    assert torch.isfinite(features).all()
    assert torch.allclose(features[:1], again, rtol=1e-4, atol=1e-5)
    assert features.mean(1).tolist() == pytest.approx([0.00192418, 0.00369834], rel=1e-4)  # what Keras 3.15.1 computes with this file


# ---- Caffe


def caffe_layers(arrays, *, legacy):
    """Return a layer for each `_w_0` of a network, its bias with it."""
    layers = []
    for name, weight in arrays.items():
        if name.endswith("_w_0"):
            layer = name.removesuffix("_w_0")
            kind = "InnerProduct" if layer.endswith("classifier") else "Convolution"
            blobs = [weight] + [arrays[f"{layer}_b_0"]] * (f"{layer}_b_0" in arrays)
            layers.append(caffe_layer(layer, kind, "data", layer, blobs, legacy=legacy))
    return layers


@pytest.mark.parametrize("legacy", [False, True], ids=["layer", "layers"])
def test_caffemodel_of_either_form_is_imported(tmp_path, legacy):
    arrays = dict(rule.checkpoint(golden("onnx-googlenet_caffe_pools")))
    (tmp_path / "a.caffemodel").write_bytes(caffemodel(*caffe_layers(arrays, legacy=legacy)))
    found = read_tensors(tmp_path / "a.caffemodel")
    assert found.format == "caffemodel"
    assert_same(found.tensors, {name: found.tensors[name] for name in arrays})
    module, audit = import_tensors(found.tensors, framework="caffe")
    reference, _ = import_tensors(arrays, framework="caffe")
    assert audit.network == "googlenet"
    assert_same(module.state_dict(), reference.state_dict())


@pytest.mark.parametrize("in_place", [True, False])
def test_normalisation_in_caffe_takes_the_convolutions_name(tmp_path, in_place):
    mean, variance, gamma, beta = (numbers(4, seed=seed) for seed in range(4))
    tops = ["c"] * 3 if in_place else ["c", "n", "s"]
    layers = [
        caffe_layer("conv", "Convolution", "data", tops[0], [numbers(4, 3, 1, 1)]),
        caffe_layer("norm", "BatchNorm", tops[0], tops[1], [mean * 8, variance * 8, np.array([8.0])]),
        caffe_layer("affine", "Scale", tops[1], tops[2], [gamma, beta]),
        caffe_layer("relu", "ReLU", tops[2], tops[2]),
        caffe_layer("next", "Convolution", tops[2], "next", [numbers(4, 4, 1, 1)]),
    ]
    (tmp_path / "a.caffemodel").write_bytes(caffemodel(*layers))
    wanted = {"conv/bn_mean_0": mean, "conv/bn_var_0": variance, "conv/bn_scale_0": gamma, "conv/bn_bias_0": beta}
    wanted |= {"conv_w_0": numbers(4, 3, 1, 1), "next_w_0": numbers(4, 4, 1, 1)}
    assert_same(read_tensors(tmp_path / "a.caffemodel").tensors, wanted)


def test_normalisation_of_four_blobs_and_a_second_affine_map_are_told_apart(tmp_path):
    scale, bias, mean, variance = (numbers(1, 4, 1, 1, seed=seed) for seed in range(4))
    layers = [
        caffe_layer("conv", "Convolution", "data", "c", [numbers(4, 3, 1, 1)]),
        caffe_layer("norm", "BN", "c", "c", [scale, bias, mean, variance]),
        caffe_layer("affine", "Scale", "c", "c", [numbers(4, seed=5), numbers(4, seed=6)]),
    ]
    (tmp_path / "a.caffemodel").write_bytes(caffemodel(*layers))
    found = read_tensors(tmp_path / "a.caffemodel").tensors
    assert_same(
        {name: found[f"conv/bn_{name}_0"] for name in ("scale", "bias", "mean", "var")},
        {name: array.reshape(4) for name, array in zip(("scale", "bias", "mean", "var"), (scale, bias, mean, variance), strict=True)},
    )
    assert np.array_equal(found["conv/bn/sc_w_0"], numbers(4, seed=5))
    assert np.array_equal(found["conv/bn/sc_b_0"], numbers(4, seed=6))


def test_normalisation_after_an_activation_keeps_its_own_name(tmp_path):
    layers = [
        caffe_layer("conv", "Convolution", "data", "c", [numbers(4, 3, 1, 1)]),
        caffe_layer("relu", "ReLU", "c", "c"),
        caffe_layer("norm", "BatchNorm", "c", "c", [numbers(4), numbers(4), np.ones(1)]),
    ]
    (tmp_path / "a.caffemodel").write_bytes(caffemodel(*layers))
    assert sorted(read_tensors(tmp_path / "a.caffemodel").tensors) == ["conv_w_0", "norm_b_0", "norm_blob_2", "norm_w_0"]


# ---- ONNX


@pytest.mark.parametrize("packed", [False, True], ids=["raw", "packed"])
def test_initialisers_of_onnx_are_imported(tmp_path, packed):
    arrays = dict(rule.checkpoint(golden("onnx-light-inception_v1")))
    model = onnx_model(
        *(onnx_tensor(name, array, packed=packed) for name, array in arrays.items()),
        onnx_tensor("OC2_DUMMY_1", np.array([1, 1024]), data_type=7),
    )
    (tmp_path / "a.onnx").write_bytes(model)
    found = read_tensors(tmp_path / "a.onnx")
    assert_same(found.tensors, arrays)
    assert found.notes == ("initialisers that are no weights were left out: 'OC2_DUMMY_1'",)
    assert import_tensors(found.tensors, framework="onnx")[1].network == "googlenet"


def test_other_kinds_of_numbers_in_onnx_are_read(tmp_path):
    model = onnx_model(
        onnx_tensor("half", np.array([1.5, -2], dtype="<f2"), data_type=10),
        onnx_tensor("double", np.array([1.5, -2], dtype="<f8"), data_type=11),
        onnx_tensor("bfloat16", np.array([0x3FC0, 0xC000], dtype="<u2"), data_type=16),
    )
    (tmp_path / "a.onnx").write_bytes(model)
    found = read_tensors(tmp_path / "a.onnx").tensors
    assert {name: array.tolist() for name, array in found.items()} == {name: [1.5, -2.0] for name in ("half", "double", "bfloat16")}


# ---- TensorFlow

FAKE = """
    import sys, types
    import numpy as np

    assert "torch" not in sys.modules

    class errors:
        class OpError(Exception):
            pass

    class Kind:
        def __init__(self, number):
            self.is_floating, self.is_integer, self.size = number, False, 4

    class Reader:
        shapes = {shapes}

        def get_variable_to_shape_map(self):
            return self.shapes

        def get_variable_to_dtype_map(self):
            return {{name: Kind(name != "text") for name in self.shapes}}

        def get_tensor(self, name):
            return np.ones(self.shapes[name], dtype=np.float32)

    def load_checkpoint(prefix):
        assert prefix.endswith("model.ckpt")
        print("chatter")
        {action}

    train = types.SimpleNamespace(load_checkpoint=load_checkpoint)
"""


@pytest.fixture
def fake_tensorflow(tmp_path, monkeypatch):
    """What makes a module `tensorflow` for the other process, which does `action` when it is asked for a checkpoint."""

    def make(action="return Reader()", shapes="{'a/weights': [2, 3], 'text': []}"):
        folder = tmp_path / "modules"
        folder.mkdir()
        (folder / "tensorflow.py").write_text(textwrap.dedent(FAKE).format(action=action, shapes=shapes))
        monkeypatch.setenv("PYTHONPATH", str(folder))

    return make


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "model.ckpt.index").write_bytes(bytes(40) + bytes.fromhex("57fb808b247547db"))
    (tmp_path / "model.ckpt.data-00000-of-00001").write_bytes(bytes(24))
    return tmp_path / "model.ckpt"


@pytest.mark.parametrize("ending", ["", ".index", ".data-00000-of-00001"])
def test_checkpoint_of_tensorflow_is_read_in_another_process(checkpoint, fake_tensorflow, ending):
    fake_tensorflow()
    found = read_tensors(f"{checkpoint}{ending}")
    assert_same(found.tensors, {"a/weights": np.ones((2, 3))})
    assert found.format == "tf_checkpoint"
    assert found.notes == ("left out, for they are no numbers: 'text'",)
    assert "tensorflow" not in sys.modules


def test_checkpoint_of_the_first_version_is_one_file(tmp_path, fake_tensorflow):
    fake_tensorflow()
    (tmp_path / "model.ckpt").write_bytes(bytes(400) + bytes.fromhex("57fb808b247547db"))
    assert list(read_tensors(tmp_path / "model.ckpt").tensors) == ["a/weights"]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("raise ValueError('bad\\nblock')", r"TensorFlow can't read it \('bad\\nblock'\); download it again"),
        ("raise errors.OpError('checksum')", "TensorFlow can't read it"),
        ("import os; os.kill(os.getpid(), 11)", "TensorFlow broke down as it read it .*SIGSEGV"),
        ("raise SystemError('inside')", "TensorFlow broke down as it read it .*SystemError: inside"),
    ],
)
def test_checkpoint_that_tensorflow_refuses_or_dies_of_is_one_line(checkpoint, fake_tensorflow, action, message):
    fake_tensorflow(action)
    with pytest.raises(WeightsError, match=message) as caught:
        read_tensors(checkpoint)
    assert "\n" not in str(caught.value)


def test_reading_for_too_long_is_stopped(checkpoint, fake_tensorflow):
    fake_tensorflow("import time; time.sleep(60)")
    with pytest.raises(WeightsError, match=r"TensorFlow didn't read it within 1\.5 s"):
        read_tensorflow(checkpoint, time_limit_s=1.5)


def test_missing_tensorflow_says_what_to_install(checkpoint, tmp_path, monkeypatch):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "tensorflow.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    with pytest.raises(WeightsError, match=r"pip install 'inceptions\[tensorflow\]'"):
        read_tensors(checkpoint)


def test_folder_that_one_stands_in_can_not_slip_a_module_in(checkpoint, tmp_path, monkeypatch, fake_tensorflow):
    fake_tensorflow()
    (tmp_path / "numpy.py").write_text("open('slipped_in', 'w')")
    monkeypatch.chdir(tmp_path)
    assert read_tensors(checkpoint.name).tensors
    assert not (tmp_path / "slipped_in").exists()


def test_readers_are_imported_without_torch_and_tensorflow():
    code = "import sys, inceptions.weights.readers; print([name for name in ('torch', 'tensorflow', 'h5py') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_error_begins_with_the_path_and_is_one_line(tmp_path):
    with pytest.raises(WeightsError) as caught:
        read_tensors(tmp_path / "nothing.pth")
    assert str(caught.value) == f"{tmp_path / 'nothing.pth'}: there is no such file; check the path"
    buffer = io.BytesIO()
    torch.save({"a\nb": 1}, buffer)
    (tmp_path / "a.pth").write_bytes(buffer.getvalue())
    with pytest.raises(WeightsError) as caught:
        read_tensors(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)
