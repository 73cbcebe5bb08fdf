"""Files that are damaged, or made to harm: one clear line for each, and nothing executed, written, or taken into memory."""

import gzip
import io
import json
import os
import pickle
import tarfile
import tempfile
import tracemalloc
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.numpy
import torch

from inceptions.errors import WeightsError
from inceptions.weights.importer import import_tensors
from inceptions.weights.readers import foreign, read_tensors
from tests.golden import rule
from tests.weights.checkpoint_files import (
    blob,
    caffe_layer,
    caffemodel,
    field,
    numbers,
    onnx_model,
    onnx_tensor,
    safetensors_bytes,
    varint,
    write_keras,
    write_legacy_h5,
    write_saved_h5,
)

TB = 10**12
MARKER = "it_ran"
FEW_BYTES = 64 * 2**20
LONGEST_LINE = 600
CASES = {}


def refused(message):
    """Put a function that writes a file into the table, with what its error must say."""

    def add(write):
        CASES[write.__name__] = (write, message)
        return write

    return add


def save(path, content):
    path.write_bytes(content)
    return path


# ---- What isn't weights at all


@refused("is empty; the download went wrong")
def empty_file(folder):
    return save(folder / "a.pth", b"")


@refused("it is a folder; give the file")
def folder_for_a_file(folder):
    (folder / "a.pth").mkdir()
    return folder / "a.pth"


@refused("there is no such file")
def missing_file(folder):
    return folder / "a.safetensors"


@refused("it is no file")
def pipe_that_would_wait_for_ever(folder):
    os.mkfifo(folder / "a.pth")
    return folder / "a.pth"


@refused("it is a web page")
def error_page_of_a_server(folder):
    return save(folder / "a.pth", b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n")


@refused("it is a web page")
def error_page_that_is_called_safetensors(folder):
    return save(folder / "a.safetensors", b"<html>Access denied</html>")


@refused("git lfs pull")
def pointer_of_git_lfs(folder):
    return save(folder / "a.safetensors.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")


@refused("it is JSON, not weights")
def error_in_json(folder):
    return save(folder / "a.onnx", b'{"error": "not found"}')


@refused("packed with gzip; unpack it")
def packed_file(folder):
    return save(folder / "inception_v3.ckpt", gzip.compress(b"weights"))


@refused("it is a tar archive; unpack it")
def tar_archive(folder):
    with tarfile.open(folder / "a.pt", "w") as archive:
        archive.add(__file__, "storages")
    return folder / "a.pt"


@refused("no checkpoint that is known here")
def random_bytes(folder):
    return save(folder / "a.pth", np.random.default_rng(0).bytes(5000))


@refused("no checkpoint that is known here")
def magic_of_nothing_known(folder):
    return save(folder / "a.h5", b"\x89PNG\r\n\x1a\n" + bytes(1000))


@refused("more than 4,294,967,296; it is no checkpoint of these networks")
def file_of_a_terabyte(folder):
    with (folder / "a.caffemodel").open("wb") as file:
        file.truncate(TB)
    return folder / "a.caffemodel"


# ---- PyTorch


class Payload:
    """Leaves a marker when it is unpickled by whoever trusts it."""

    def __init__(self, folder):
        self.command = f"touch {folder / MARKER}"

    def __reduce__(self):
        return os.system, (self.command,)


class Call:
    """A call that a pickle asks for."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Numbers:
    """A storage, by its key and how many numbers it claims."""

    def __init__(self, length=4, key="0"):
        self.id = ("storage", torch.FloatStorage, key, "cpu", length)


def tensor(storage, shape=(2, 2), strides=(2, 1), offset=0):
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, shape, strides, False, OrderedDict())


class TorchPickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.id if isinstance(obj, Numbers) else None


def pickled(content, protocol=2):
    buffer = io.BytesIO()
    TorchPickler(buffer, protocol).dump(content)
    return buffer.getvalue()


def torch_zip(path, content, *, members=(), compression=zipfile.ZIP_STORED):
    """Write what torch.save would for a pickle, or for an object; members: more names and contents."""
    content = content if isinstance(content, bytes) else pickled(content)
    with zipfile.ZipFile(path, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that is there twice
        for name, member in (("a/data.pkl", content), ("a/byteorder", "little"), ("a/data/0", bytes(16)), ("a/version", "3\n"), *members):
            archive.writestr(name, member)
    return path


@refused(r"holds more than tensors \('posix.system'\), and loading that would run code; ask for")
def pickle_with_a_payload(folder):
    return save(folder / "a.pth", pickle.dumps(Payload(folder), 2))


@refused("torch can't load it as weights alone .*Unsupported operand")
def pickle_of_a_newer_protocol_with_a_payload(folder):
    return save(folder / "a.pt", pickle.dumps({"state_dict": Payload(folder)}, 5))


@refused(r"holds more than tensors \('posix.system'\)")
def payload_in_a_zipped_file(folder):
    torch.save({"conv.weight": torch.ones(2), "extra": Payload(folder)}, folder / "a.pth")
    return folder / "a.pth"


@refused("holds more than tensors")
def payload_in_an_old_file(folder):
    torch.save({"conv.weight": torch.ones(2), "extra": Payload(folder)}, folder / "a.pth", _use_new_zipfile_serialization=False)
    return folder / "a.pth"


@refused("holds more than tensors \\('eval'\\)")
def payload_as_a_key(folder):
    return torch_zip(folder / "a.pth", {Call(eval, f"open({str(folder / MARKER)!r}, 'w')"): 1})


@refused(r"holds more than tensors \('torch.nn.modules.linear.Linear'\)")
def whole_model(folder):
    torch.save(torch.nn.Linear(2, 2), folder / "a.pt")
    return folder / "a.pt"


@refused(r"TorchScript program, not weights; where you trust it, load it with torch\.jit\.load and write")
def program_of_torchscript(folder):
    return torch_zip(folder / "a.pt", {}, members=[("a/constants.pkl", pickled(())), ("a/code/__torch__.py", "")])


@refused("torch can't load it as weights alone .*storage")
def storage_that_claims_a_terabyte(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers(TB), (TB,), (1,))})


@refused("torch can't load it as weights alone .*data/7")
def storage_that_is_missing(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers(key="7"))})


@refused("torch can't load it as weights alone .*storage")
def shape_that_is_larger_than_its_storage(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers(), (3, 3), (3, 1))})


@refused("its tensors have 4,000,000,000,000 bytes, more than")
def one_number_that_claims_to_be_a_terabyte_of_them(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers(), (10**6, 10**6), (0, 0))})


@refused("no tensors under its keys|not a state dict")
def mapping_that_is_in_itself(folder):
    nest = {}
    nest["model"] = nest
    return torch_zip(folder / "a.pth", nest)


@refused("there are no tensors under its keys .'epoch', 'args'")
def training_state_without_weights(folder):
    torch.save({"epoch": 1, "args": {}}, folder / "a.pth")
    return folder / "a.pth"


@refused("compressed after it was saved")
def zip_of_torch_that_was_compressed(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers())}, compression=zipfile.ZIP_DEFLATED)


@refused("a zip archive of something else")
def zip_of_photos(folder):
    with zipfile.ZipFile(folder / "a.pth", "w") as archive:
        archive.writestr("photo.jpg", b"\xff\xd8")
    return folder / "a.pth"


# ---- Safetensors

ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@refused("no whole safetensors file .*header too large")
def header_that_claims_a_terabyte(folder):
    return save(folder / "a.safetensors", TB.to_bytes(8, "little") + b"{}")


@refused("no whole safetensors file .*not fully covered")
def tensor_that_claims_a_terabyte(folder):
    return save(folder / "a.safetensors", safetensors_bytes({"a": {"dtype": "F32", "shape": [TB // 4], "data_offsets": [0, TB]}}, bytes(8)))


@refused("no whole safetensors file .*invalid shape")
def shape_that_does_not_fit_the_numbers(folder):
    return save(folder / "a.safetensors", safetensors_bytes({"a": {**ENTRY, "shape": [3, 5]}}, bytes(8)))


# ---- Keras

LAYER = {"conv2d": {"conv2d/kernel:0": numbers(3, 3, 2, 4)}}


def keras_h5(folder, change, *, name="a.h5"):
    """Write a legacy file of one layer, and change it: `change` has the file and the layer's group, in which to make `kernel`."""
    write_legacy_h5(folder / name, {"conv2d": {}})
    with h5py.File(folder / name, "a") as file:
        file["conv2d"].attrs["weight_names"] = [b"kernel"]
        change(file, file["conv2d"])
    return folder / name


@refused("its HDF5 can't be read .*kernel")
def weight_that_is_not_there(folder):
    return keras_h5(folder, lambda file, group: None)


@refused("two weights in it are named 'conv2d/kernel'")
def layer_that_is_there_twice(folder):
    def change(file, group):
        group["kernel"] = numbers(2)
        file.attrs["layer_names"] = [b"conv2d", b"conv2d"]

    return keras_h5(folder, change)


@refused("HDF5, but not of Keras")
def hdf5_of_something_else(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file["secret"] = numbers(4)
    return folder / "a.h5"


@refused("its groups are within each other")
def groups_within_each_other(folder):
    write_saved_h5(folder / "a.weights.h5", {"functional/layers/conv2d": ("c", [numbers(2)])})
    with h5py.File(folder / "a.weights.h5", "a") as file:
        file["layers/functional/layers/functional"] = file["layers/functional"]
    return folder / "a.weights.h5"


@refused("broke down|damaged")
def damaged_tree_of_groups(folder):
    write_legacy_h5(folder / "a.h5", LAYER)
    content = bytearray((folder / "a.h5").read_bytes())
    place = content.index(b"TREE")
    content[place + 8 : place + 200] = b"\xff" * 192
    return save(folder / "a.h5", bytes(content))


def keras_zip(folder, *, members=(), without=(), compression=zipfile.ZIP_STORED):
    write_saved_h5(folder / "w.h5", {"conv2d": ("conv2d", [numbers(3)])})
    write_keras(folder / "good.keras", folder / "w.h5", [("Conv2D", {"name": "conv2d"})], compression=compression)
    with zipfile.ZipFile(folder / "good.keras") as good, zipfile.ZipFile(folder / "a.keras", "w", compression) as archive:
        for name in good.namelist():
            if name not in (*without, *(name for name, _ in members)):
                archive.writestr(name, good.read(name))
        for name, content in members:
            archive.writestr(name, content)
    return folder / "a.keras"


@refused(r"lacks config\.json or model\.weights\.h5")
def saved_model_without_weights(folder):
    return keras_zip(folder, without=["model.weights.h5"])


@refused(r"its config\.json isn't as Keras writes it")
def configuration_without_layers(folder):
    return keras_zip(folder, members=[("config.json", '{"config": {"layers": [1, 2]}}')])


@refused("is damaged or cut short")
def weights_of_keras_that_are_no_hdf5(folder):
    return keras_zip(folder, members=[("model.weights.h5", b"<html></html>")])


# ---- Caffe and ONNX


def caffe_file(folder, *layers):
    return save(folder / "a.caffemodel", caffemodel(*layers))


def layer_of(*blobs, kind="Convolution"):
    parts = field(1, "conv") + field(2, kind) + field(3, "data") + field(4, "conv")
    return field(100, parts + b"".join(field(7, blob) for blob in blobs))


def extents(*shape):
    return field(7, field(1, b"".join(varint(extent % 2**64) for extent in shape)))


@refused("its protocol buffer ends or changes within a field")
def length_of_a_terabyte(folder):
    return save(folder / "a.caffemodel", field(1, "net") + varint(100 << 3 | 2) + varint(TB) + b"abc")


@refused(r"12 bytes of numbers where its shape \(-1, 3\) wants")
def extents_below_zero(folder):
    return caffe_file(folder, layer_of(extents(-1, 3) + field(5, bytes(12))))


@refused(r"12 bytes of numbers where its shape \(4, 3\) wants 48")
def blob_of_another_shape(folder):
    return caffe_file(folder, layer_of(extents(4, 3) + field(5, bytes(12))))


@refused(r"has 0 bytes of numbers where its shape \(2,\) wants 8")
def numbers_one_by_one(folder):
    return caffe_file(folder, layer_of(extents(2) + (varint(5 << 3 | 5) + bytes(4)) * 2))


@refused("two layers in it give a tensor 'conv_w_0'")
def two_layers_of_one_name(folder):
    layer = caffe_layer("conv", "Convolution", "data", "conv", [numbers(2)])
    return caffe_file(folder, layer, layer)


@refused("should have a mean, a variance and a factor")
def normalisation_without_a_factor(folder):
    convolution = caffe_layer("conv", "Convolution", "data", "conv", [numbers(2)])
    return caffe_file(folder, convolution, caffe_layer("norm", "BatchNorm", "conv", "conv", [numbers(2)]))


@refused("its protocol buffer ends or changes within a field")
def name_that_is_no_text(folder):
    return caffe_file(folder, field(100, field(1, b"\xff\xfe") + field(7, blob(numbers(2)))))


@refused("it keeps its weights in another file")
def weights_of_onnx_in_another_file(folder):
    location = field(13, field(1, "location") + field(2, "/etc/passwd")) + field(14, 1)
    return save(folder / "a.onnx", onnx_model(field(1, 4) + field(2, 1) + field(8, "w") + location))


@refused(r"8 bytes of numbers where its shape \(-4,\) wants")
def initialiser_of_a_shape_below_zero(folder):
    return save(folder / "a.onnx", onnx_model(field(1, -4) + field(2, 1) + field(8, "w") + field(9, bytes(8))))


@refused("it has sparse initialisers")
def initialisers_that_are_sparse(folder):
    return save(folder / "a.onnx", field(1, 8) + field(7, field(15, b"")))


@refused("two initialisers in it are named 'w'")
def two_initialisers_of_one_name(folder):
    return save(folder / "a.onnx", onnx_model(onnx_tensor("w", numbers(2)), onnx_tensor("w", numbers(2))))


@refused("no floating-point initialisers")
def graph_without_weights(folder):
    return save(folder / "a.onnx", onnx_model(onnx_tensor("shape", np.array([1, 2]), data_type=7)))


# ---- NumPy


@refused("numpy can't read it .*allow_pickle=False")
def array_of_objects(folder):
    np.savez(folder / "a.npz", a=np.array([Payload(folder)], dtype=object))
    return folder / "a.npz"


# ---- Files of every kind, cut short


def whole_files():
    state = {f"layer{n}.weight": numbers(4, 3, 3, 3, seed=n) for n in range(4)}
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    layers = [caffe_layer(name, "Convolution", "data", name, [array]) for name, array in state.items()]
    return {
        "zipped.pth": lambda path: torch.save(tensors, path),
        "old.pth": lambda path: torch.save(tensors, path, _use_new_zipfile_serialization=False),
        "a.safetensors": lambda path: safetensors.numpy.save_file(state, path),
        "a.h5": lambda path: write_legacy_h5(path, {name: {f"{name}/kernel:0": array} for name, array in state.items()}),
        "a.weights.h5": lambda path: write_saved_h5(path, {"conv2d": ("a", list(state.values())[:2])}),
        "a.keras": lambda path: keras_zip(path.parent).replace(path),
        "a.caffemodel": lambda path: path.write_bytes(caffemodel(*layers)),
        "a.onnx": lambda path: path.write_bytes(onnx_model(*(onnx_tensor(name, array) for name, array in state.items()))),
        "a.npz": lambda path: np.savez(path, **state),
    }


def cut(name, write, share):
    def cut_short(folder):
        write(folder / name)
        content = (folder / name).read_bytes()
        return save(folder / name, content[: int(len(content) * share)])

    return cut_short


CASES |= {
    f"{name}_cut_to_{share:.0%}": (cut(name, write, share), "download it again|no checkpoint")
    for name, write in whole_files().items()
    for share in (0.02, 0.5, 0.99)
}


def list_files(folder):
    return sorted((str(path), path.stat().st_size if path.is_file() else None) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", CASES)
def test_hostile_file_is_refused_in_one_line(name, tmp_path, monkeypatch):
    write, message = CASES[name]
    for folder in ("files", "here", "temporary"):
        (tmp_path / folder).mkdir()
    path = write(tmp_path / "files")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "here")
    before = list_files(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=message) as caught:
            read_tensors(path)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < LONGEST_LINE + len(str(path))
    assert list_files(tmp_path) == before
    assert taken < FEW_BYTES


def test_whole_files_are_read(tmp_path):
    for name, write in whole_files().items():
        write(tmp_path / name)
        assert read_tensors(tmp_path / name).tensors, name


def test_code_in_the_configuration_of_keras_is_not_run(tmp_path):
    code = f"__import__('pathlib').Path({str(tmp_path / MARKER)!r}).touch()"
    write_saved_h5(tmp_path / "w.h5", {"conv2d": (None, [numbers(3)])})
    layers = [("Lambda", {"name": "l", "function": {"class_name": "__lambda__", "config": {"code": code}}}), ("Conv2D", {"name": "c"})]
    write_keras(tmp_path / "a.keras", tmp_path / "w.h5", layers)
    assert list(read_tensors(tmp_path / "a.keras").tensors) == ["c/kernel"]
    assert not (tmp_path / MARKER).exists()


@pytest.mark.parametrize("name", ["a.npz", "zipped.pth", "a.safetensors"])
def test_more_than_these_networks_have_is_not_read(tmp_path, monkeypatch, name):
    whole_files()[name](tmp_path / name)
    monkeypatch.setattr(foreign, "MAX_BYTES", 1000)
    with pytest.raises(WeightsError, match=r"bytes, more than 1,000; it is no checkpoint of these networks: check the file"):
        read_tensors(tmp_path / name)


def test_compressed_zeros_are_not_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10**6, np.float32))
    monkeypatch.setattr(foreign, "MAX_BYTES", 10**6)
    with pytest.raises(WeightsError, match=r"unpacked it would have 4,000,\d+ bytes, more than 1,000,000"):
        read_tensors(tmp_path / "a.npz")


def test_name_that_says_otherwise_is_told_in_the_error(tmp_path):
    torch_zip(tmp_path / "a.keras", {"a": Payload(tmp_path)})
    with pytest.raises(WeightsError, match=r"its name ends in \.keras, its content is PyTorch's\)$"):
        read_tensors(tmp_path / "a.keras")


# ---- Files that are whole, but whose weights are no weights


@pytest.fixture(scope="module")
def googlenet():
    golden = Path(rule.__file__).parent / "onnx-googlenet_caffe_pools.json"
    return dict(rule.checkpoint(json.loads(golden.read_text())))


def swap(array):
    return np.ascontiguousarray(array.swapaxes(0, 1))


@pytest.mark.parametrize(
    ("tensor", "change", "message"),
    [
        ("conv2/3x3_w_0", lambda array: np.where(array == array.max(), np.nan, array), "has values that are not finite"),
        ("loss3/classifier_b_0", lambda array: array * np.inf, "has values that are not finite"),
        ("inception_3a/3x3_w_0", swap, r"has shape \(96, 128, 3, 3\); googlenet wants"),
        ("inception_5b/1x1_w_0", lambda array: array[:100], "has shape"),
        ("inception_5b/1x1_b_0", lambda array: array.reshape(2, -1), "has shape"),
    ],
)
def test_weights_that_can_not_be_are_refused(tmp_path, googlenet, tensor, change, message):
    arrays = {**googlenet, tensor: change(googlenet[tensor]).astype(np.float32)}
    safetensors.numpy.save_file(arrays, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=message) as caught:
        import_tensors(read_tensors(tmp_path / "a.safetensors").tensors, framework="caffe")
    assert "\n" not in str(caught.value)
    assert repr(tensor) in str(caught.value)
