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
from inceptions.weights.readers import MAX_TENSORS, read_tensors
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


def torch_legacy(path, content, *, keys=("0",), storages=bytes(24)):
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, content, list(keys)]
    return save(path, b"".join(pickled(part) for part in parts) + storages)


@refused(r"holds more than tensors \('posix.system'\), and loading that would run code; ask for")
def pickle_with_a_payload(folder):
    return save(folder / "a.pth", pickle.dumps(Payload(folder), 2))


@refused("holds more than tensors")
def pickle_of_a_newer_protocol_with_a_payload(folder):
    return save(folder / "a.pt", pickle.dumps({"state_dict": Payload(folder)}, 5))


@refused("no checkpoint that is known here")
def pickle_in_text_with_a_payload(folder):
    return save(folder / "a.pth", pickle.dumps(Payload(folder), 0))


@refused(r"holds more than tensors \('posix.system'\)")
def payload_in_a_zipped_file(folder):
    torch.save({"conv.weight": torch.ones(2), "extra": Payload(folder)}, folder / "a.pth")
    return folder / "a.pth"


@refused("holds more than tensors")
def payload_in_an_old_file(folder):
    torch.save({"conv.weight": torch.ones(2), "extra": Payload(folder)}, folder / "a.pth", _use_new_zipfile_serialization=False)
    return folder / "a.pth"


@refused("holds more than tensors")
def payload_in_the_header_of_an_old_file(folder):
    return save(folder / "a.bin", pickled(0x1950A86A20F9469CFC6C) + pickled(Payload(folder)))


@refused(r"holds more than tensors \('__builtin__.eval'\)")
def payload_as_a_key(folder):
    return torch_zip(folder / "a.pth", {Call(eval, f"open({str(folder / MARKER)!r}, 'w')"): 1})


@refused(r"holds more than tensors \('__builtin__.bytearray'\)")
def call_that_takes_a_terabyte(folder):
    return torch_zip(folder / "a.pth", {"a": Call(bytearray, TB)})


@refused(r"holds more than tensors \('torch.nn.modules.linear.Linear'\)")
def whole_model(folder):
    torch.save(torch.nn.Linear(2, 2), folder / "a.pt")
    return folder / "a.pt"


@refused(r"TorchScript program, not weights; where you trust it, load it with torch\.jit\.load and write")
def program_of_torchscript(folder):
    return torch_zip(folder / "a.pt", {}, members=[("a/constants.pkl", pickled(())), ("a/code/__torch__.py", "")])


@refused("storage '0' has 16 bytes where its pickle claims 4,000,000,000,000|claims the shape")
def storage_that_claims_a_terabyte(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers(TB), (TB,), (1,))})


@refused("claims the shape")
def storage_that_claims_a_terabyte_in_an_old_file(folder):
    return torch_legacy(folder / "a.pth", {"a": tensor(Numbers(TB), (TB,), (1,))})


@refused("it claims 80,008 bytes of tensors and has 24; the download was cut short")
def storage_that_an_old_file_has_not(folder):
    return torch_legacy(folder / "a.pth", {"a": tensor(Numbers(20_000), (20_000,), (1,))})


@refused("the storages in it are not those that its pickle names")
def storages_of_other_names_in_an_old_file(folder):
    return torch_legacy(folder / "a.pth", {"a": tensor(Numbers())}, keys=("1",))


@refused("its storage '7' is missing")
def storage_that_is_missing(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers(key="7"))})


@refused("says that the storage '0' has two sizes")
def storage_of_two_sizes(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers()), "b": tensor(Numbers(length=2), (2,), (1,))})


@refused(r"its pickle claims a tensor of shape \(3, 3\) at 0 of the 4 numbers")
def shape_that_is_larger_than_its_storage(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers(), (3, 3), (3, 1))})


@refused(r"its pickle claims a tensor of shape \(-2, 2\)")
def shape_below_zero(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers(), (-2, 2))})


@refused("its pickle claims a tensor of shape")
def offset_before_the_storage(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers(), offset=-4)})


@refused("tensor 'a' claims the shape .1000000, 1000000., more than such a file can hold")
def one_number_that_claims_to_be_a_terabyte_of_them(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers(), (10**6, 10**6), (0, 0))})


@refused("keys that are no names")
def key_that_is_a_tuple_in_a_tuple_in_a_tuple(folder):
    return torch_zip(folder / "a.pth", b"\x80\x02})" + b"\x85" * 500_000 + b"K\x01s.")


@refused("its pickle refers to|download it again")
def list_in_a_list_in_a_list_for_a_storage(folder):
    return torch_zip(folder / "a.pth", b"\x80\x02]" + b"\x85" * 500_000 + b"Q.")


@refused("more than 2,097,152 bytes")
def millions_of_entries(folder):
    return torch_zip(folder / "a.pth", b"\x80\x02}(" + b"X\x01\x00\x00\x00aK\x01" * 500_000 + b"u.")


@refused("its pickle has more than 2,097,152 bytes beside tensors")
def millions_of_entries_in_an_old_file(folder):
    entries = b"\x80\x02}(" + b"X\x01\x00\x00\x00aK\x01" * 500_000 + b"u."
    return save(folder / "a.pth", b"".join(pickled(part) for part in (0x1950A86A20F9469CFC6C, 1001, {})) + entries)


@refused("holds a list, not a state dict")
def index_that_would_make_a_memo_of_gigabytes(folder):
    return torch_zip(folder / "a.pth", b"\x80\x02]r\xff\xff\xff\x7f.")


@refused("its pickle is damaged")
def buffer_that_claims_a_terabyte(folder):
    return torch_zip(folder / "a.pth", b"\x80\x05\x96" + TB.to_bytes(8, "little") + b"x.")


@refused("no tensors under its keys|not a state dict")
def mapping_that_is_in_itself(folder):
    nest = {}
    nest["model"] = nest
    return torch_zip(folder / "a.pth", nest)


@refused(r"its pickle refers to \('module'")
def reference_to_code(folder):
    reference = Numbers()
    reference.id = ("module", torch.FloatStorage, "source.py", "print(1)")
    return torch_zip(folder / "a.pth", {"a": reference})


@refused("there are no tensors under its keys .'epoch', 'args'")
def training_state_without_weights(folder):
    torch.save({"epoch": 1, "args": {}}, folder / "a.pth")
    return folder / "a.pth"


@refused("compressed after it was saved")
def zip_of_torch_that_was_compressed(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers())}, compression=zipfile.ZIP_DEFLATED)


@refused(r"its member '\.\./\.\./it_ran' would be put outside of the folder")
def member_of_a_zip_that_climbs_out(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers())}, members=[(f"../../{MARKER}", "x")])


@refused("would be put outside of the folder")
def member_of_a_zip_from_the_root(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers())}, members=[(f"{folder}/{MARKER}", "x")])


@refused("would be put outside of the folder")
def member_of_a_zip_that_climbs_out_on_windows(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers())}, members=[("a\\..\\..\\it_ran", "x")])


@refused("it has two members 'a/data.pkl'")
def member_of_a_zip_that_is_there_twice(folder):
    return torch_zip(folder / "a.pth", {"a": tensor(Numbers())}, members=[("a/data.pkl", pickled(Payload(folder)))])


@refused("zip directory has more than")
def directory_of_a_zip_that_is_huge(folder):
    path = torch_zip(folder / "a.pth", {"a": tensor(Numbers())})
    content = bytearray(path.read_bytes())
    content[-10:-6] = b"\xff\xff\xff\x7f"
    return save(path, bytes(content))


@refused("a zip archive of something else")
def zip_of_photos(folder):
    with zipfile.ZipFile(folder / "a.pth", "w") as archive:
        archive.writestr("photo.jpg", b"\xff\xd8")
    return folder / "a.pth"


# ---- Safetensors

ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@refused("its header claims 1,000,000,000,000 bytes, but the file has")
def header_that_claims_a_terabyte(folder):
    return save(folder / "a.safetensors", TB.to_bytes(8, "little") + b"{}")


@refused("lies outside of the file")
def numbers_beyond_the_end(folder):
    entry = {"dtype": "F32", "shape": [TB // 4], "data_offsets": [0, TB]}
    return save(
        folder / "a.safetensors", safetensors_bytes({"a": {**entry, "shape": [2000]}}, bytes(8)).replace(b"1000000000000", b"8000         ")
    )


@refused("more than such a file can hold")
def tensor_that_claims_a_terabyte(folder):
    return save(folder / "a.safetensors", safetensors_bytes({"a": {"dtype": "F32", "shape": [TB // 4], "data_offsets": [0, TB]}}, bytes(8)))


@refused("'b' overlaps the one before it")
def tensors_that_overlap(folder):
    return save(folder / "a.safetensors", safetensors_bytes({"a": ENTRY, "b": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12)))


@refused("'b' leaves a gap before it")
def tensors_with_something_hidden_between(folder):
    return save(folder / "a.safetensors", safetensors_bytes({"a": ENTRY, "b": {**ENTRY, "data_offsets": [12, 20]}}, bytes(20)))


@refused("its header names 'a' twice")
def name_that_is_there_twice(folder):
    entry = json.dumps(ENTRY)
    return save(folder / "a.safetensors", safetensors_bytes(f'{{"a": {entry}, "a": {entry}}}', bytes(8)))


@refused(r"8 bytes of numbers where its shape \(3, 5\) wants 60")
def shape_that_does_not_fit_the_numbers(folder):
    return save(folder / "a.safetensors", safetensors_bytes({"a": {**ENTRY, "shape": [3, 5]}}, bytes(8)))


@refused(r"claims the shape \(-2,\)")
def shape_below_zero_in_safetensors(folder):
    return save(folder / "a.safetensors", safetensors_bytes({"a": {**ENTRY, "shape": [-2]}}, bytes(8)))


@refused("numbers of kind 'OBJECT'")
def numbers_of_an_unknown_kind(folder):
    return save(folder / "a.safetensors", safetensors_bytes({"a": {**ENTRY, "dtype": "OBJECT"}}, bytes(8)))


@refused("not as it should be")
def entry_without_a_shape(folder):
    return save(folder / "a.safetensors", safetensors_bytes({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)))


@refused("its header is no valid JSON")
def header_in_a_list_in_a_list_in_a_list(folder):
    return save(folder / "a.safetensors", safetensors_bytes('{"a":' + "[" * 100_000))


@refused("its header has 6,888,891 bytes|more than 20,000 tensors|more than 4,194,304")
def millions_of_tensors(folder):
    header = "{" + ",".join(f'"{n}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for n in range(120_000)) + "}"
    return save(folder / "a.safetensors", safetensors_bytes(header))


@refused("claims more than 20,000 tensors")
def more_tensors_than_any_network(folder):
    header = {f"{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(MAX_TENSORS + 1)}
    return save(folder / "a.safetensors", safetensors_bytes(header))


# ---- Keras

LAYER = {"conv2d": {"conv2d/kernel:0": numbers(3, 3, 2, 4)}}


def keras_h5(folder, change, *, name="a.h5"):
    """Write a legacy file of one layer, and change it: `change` has the file and the layer's group, in which to make `kernel`."""
    write_legacy_h5(folder / name, {"conv2d": {}})
    with h5py.File(folder / name, "a") as file:
        file["conv2d"].attrs["weight_names"] = [b"kernel"]
        change(file, file["conv2d"])
    return folder / name


def outside(folder):
    with h5py.File(folder / "outside.h5", "w") as file:
        file["secret"] = numbers(4)
    return str(folder / "outside.h5")


@refused("'kernel' is a link, perhaps to another file")
def link_to_another_file(folder):
    return keras_h5(folder, lambda file, group: group.__setitem__("kernel", h5py.ExternalLink(outside(folder), "/secret")))


@refused("'kernel' is a link, perhaps to another file")
def link_that_is_soft(folder):
    return keras_h5(folder, lambda file, group: group.__setitem__("kernel", h5py.SoftLink("/somewhere/else")))


@refused("is a link, perhaps to another file")
def group_that_is_a_link_to_another_file(folder):
    def change(file, group):
        del file["conv2d"]
        file["conv2d"] = h5py.ExternalLink(outside(folder), "/")

    return keras_h5(folder, change)


@refused("the numbers of 'conv2d/kernel' lie in another file")
def numbers_kept_in_another_file(folder):
    (folder / "numbers.raw").write_bytes(bytes(16))
    external = [(str(folder / "numbers.raw"), 0, 16)]
    return keras_h5(folder, lambda file, group: group.create_dataset("kernel", (4,), "f4", external=external))


@refused("the numbers of 'conv2d/kernel' lie in another file")
def dataset_that_is_virtual(folder):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(outside(folder), "secret", (4,))
    return keras_h5(folder, lambda file, group: group.create_virtual_dataset("kernel", layout))


@refused("claims the shape .1000000, 1000000.")
def dataset_that_claims_a_terabyte(folder):
    return keras_h5(folder, lambda file, group: group.create_dataset("kernel", (10**6, 10**6), "f4", chunks=(1000, 1000)))


@refused("claims the shape|claims 800,000,000 bytes")
def dataset_of_which_nothing_is_stored(folder):
    def change(file, group):
        group.create_dataset("kernel", (200, 10**6), "f4", chunks=(1, 1000))
        file["ballast"] = np.random.default_rng(0).random(10**6)

    return keras_h5(folder, change)


@refused("claims 400,000,000 bytes, more than is stored")
def chunk_that_is_larger_than_its_dataset(folder):
    return keras_h5(folder, lambda file, group: group.create_dataset("kernel", (4,), "f4", chunks=(10**8,), maxshape=(None,)))


@refused("there is no 'kernel' in it, which it says it has")
def weight_that_is_not_there(folder):
    return keras_h5(folder, lambda file, group: None)


@refused("there is no 'kernel' in it|is no dataset")
def weight_that_is_a_group(folder):
    return keras_h5(folder, lambda file, group: group.create_group("kernel"))


@refused("its attribute 'weight_names' should be a list of names")
def names_that_are_numbers(folder):
    return keras_h5(folder, lambda file, group: group.attrs.__setitem__("weight_names", np.arange(3)))


@refused("has more than 20,000 names")
def names_by_the_thousand(folder):
    def change(file, group):
        for number in range(4):
            file.attrs[f"layer_names{number}"] = np.array([b"conv2d"] * 8000, dtype="S6")
        del file.attrs["layer_names"]

    return keras_h5(folder, change)


@refused("two weights in it are named 'conv2d/kernel'")
def layer_that_is_there_twice(folder):
    def change(file, group):
        group["kernel"] = numbers(2)
        file.attrs["layer_names"] = [b"conv2d", b"conv2d"]

    return keras_h5(folder, change)


@refused("HDF5, but not of Keras")
def hdf5_of_something_else(folder):
    return Path(outside(folder))


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


@refused(r"unpacks to 134,\d{3},\d{3} bytes from 1[34]\d,\d{3}")
def zip_bomb(folder):
    return keras_zip(folder, members=[("model.weights.h5", bytes(2**27))], compression=zipfile.ZIP_DEFLATED)


@refused("would be put outside of the folder it is unpacked in")
def member_of_keras_that_climbs_out(folder):
    return keras_zip(folder, members=[(f"../{MARKER}", "x")])


@refused("would be put outside of the folder it is unpacked in")
def member_of_keras_on_another_drive(folder):
    return keras_zip(folder, members=[("C:/it_ran", "x")])


@refused(r"lacks config\.json or model\.weights\.h5")
def saved_model_without_weights(folder):
    return keras_zip(folder, without=["model.weights.h5"])


@refused(r"its config\.json isn't as Keras writes it")
def configuration_in_a_list_in_a_list(folder):
    return keras_zip(folder, members=[("config.json", "[" * 100_000)])


@refused(r"its config\.json isn't as Keras writes it")
def configuration_without_layers(folder):
    return keras_zip(folder, members=[("config.json", '{"config": {"layers": [1, 2]}}')])


@refused("is damaged or cut short")
def weights_of_keras_that_are_no_hdf5(folder):
    return keras_zip(folder, members=[("model.weights.h5", b"<html></html>")])


@refused("is encrypted, or compressed in an unusual way")
def member_that_is_encrypted(folder):
    path = keras_zip(folder)
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 8] |= 1
    return save(path, bytes(content))


# ---- Caffe and ONNX


def caffe_file(folder, *layers):
    return save(folder / "a.caffemodel", caffemodel(*layers))


def layer_of(*blobs, kind="Convolution"):
    parts = field(1, "conv") + field(2, kind) + field(3, "data") + field(4, "conv")
    return field(100, parts + b"".join(field(7, blob) for blob in blobs))


def extents(*shape):
    return field(7, field(1, b"".join(varint(extent % 2**64) for extent in shape)))


@refused("field 100 at byte .* claims 1,000,000,000,000 bytes, but 3 are left")
def length_of_a_terabyte(folder):
    return save(folder / "a.caffemodel", field(1, "net") + varint(100 << 3 | 2) + varint(TB) + b"abc")


@refused("the number at byte .* has no end|no checkpoint")
def number_without_an_end(folder):
    return save(folder / "a.caffemodel", field(1, "net") + b"\xff" * 40)


@refused(r"claims the shape \(-1, 3\)")
def extents_below_zero(folder):
    return caffe_file(folder, layer_of(extents(-1, 3) + field(5, bytes(12))))


@refused("claims the shape .1000000, 1000000.")
def blob_that_claims_a_terabyte(folder):
    return caffe_file(folder, layer_of(extents(10**6, 10**6) + field(5, bytes(12))))


@refused(r"12 bytes of numbers where its shape \(4, 3\) wants 48")
def blob_of_another_shape(folder):
    return caffe_file(folder, layer_of(extents(4, 3) + field(5, bytes(12))))


@refused(r"claims the shape")
def blob_of_many_extents(folder):
    return caffe_file(folder, layer_of(extents(*[1] * 40) + field(5, bytes(4))))


@refused("no layer in it has weights|should be a name")
def message_in_a_message_in_a_message(folder):
    content = b""
    for _ in range(20_000):
        content = field(100, content)
    return save(folder / "a.caffemodel", content)


@refused("has the wire type 3")
def groups_of_an_older_protocol(folder):
    return save(folder / "a.caffemodel", field(1, "net") + field(100, field(1, "conv") + b"\x3b" * 100))


@refused("has numbers that aren't packed")
def numbers_one_by_one(folder):
    return caffe_file(folder, layer_of(extents(2) + (varint(5 << 3 | 5) + bytes(4)) * 2))


@refused("claims more than 20,000 layers")
def layers_by_the_thousand(folder):
    return caffe_file(folder, field(100, b"") * (MAX_TENSORS + 1))


@refused("more than 200,000 fields")
def fields_without_end(folder):
    return save(folder / "a.caffemodel", field(1, "net") + field(100, b"") + field(5, 1) * 200_000)


@refused("two layers give a tensor 'conv_w_0'")
def two_layers_of_one_name(folder):
    layer = caffe_layer("conv", "Convolution", "data", "conv", [numbers(2)])
    return caffe_file(folder, layer, layer)


@refused("should have a mean, a variance and a factor")
def normalisation_without_a_factor(folder):
    convolution = caffe_layer("conv", "Convolution", "data", "conv", [numbers(2)])
    return caffe_file(folder, convolution, caffe_layer("norm", "BatchNorm", "conv", "conv", [numbers(2)]))


@refused("the name at byte .* is no text")
def name_that_is_no_text(folder):
    return caffe_file(folder, field(100, field(1, b"\xff\xfe") + field(7, blob(numbers(2)))))


@refused("it keeps its weights in another file")
def weights_of_onnx_in_another_file(folder):
    location = field(13, field(1, "location") + field(2, "/etc/passwd")) + field(14, 1)
    return save(folder / "a.onnx", onnx_model(field(1, 4) + field(2, 1) + field(8, "w") + location))


@refused("claims the shape .1000000, 1000000.")
def initialiser_that_claims_a_terabyte(folder):
    return save(folder / "a.onnx", onnx_model(field(1, 10**6) + field(1, 10**6) + field(2, 1) + field(8, "w") + field(9, bytes(8))))


@refused(r"claims the shape \(-4,\)")
def initialiser_of_a_shape_below_zero(folder):
    return save(folder / "a.onnx", onnx_model(field(1, -4) + field(2, 1) + field(8, "w") + field(9, bytes(8))))


@refused("it has sparse initialisers")
def initialisers_that_are_sparse(folder):
    return save(folder / "a.onnx", field(1, 8) + field(7, field(15, b"")))


@refused("two initialisers are named 'w'")
def two_initialisers_of_one_name(folder):
    return save(folder / "a.onnx", onnx_model(onnx_tensor("w", numbers(2)), onnx_tensor("w", numbers(2))))


@refused("no floating-point initialisers")
def graph_without_weights(folder):
    return save(folder / "a.onnx", onnx_model(onnx_tensor("shape", np.array([1, 2]), data_type=7)))


# ---- NumPy


@refused("holds Python objects, which aren't unpickled")
def array_of_objects(folder):
    np.savez(folder / "a.npz", a=np.array([Payload(folder)], dtype=object))
    return folder / "a.npz"


@refused("claims the shape")
def array_that_claims_a_terabyte(folder):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)})
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        archive.writestr("a.npy", header.getvalue() + bytes(16))
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
    for share in (0.02, 0.3, 0.7, 0.99)
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
