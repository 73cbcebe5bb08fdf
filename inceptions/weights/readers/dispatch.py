"""Which reader a file needs, by what is in it: enters a path, leaves its tensors, or one line that says what is wrong and what to do."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from inceptions.errors import WeightsError
from inceptions.names import shown
from inceptions.weights.readers.arrays import read_npz, read_safetensors
from inceptions.weights.readers.caffemodel import read_caffemodel
from inceptions.weights.readers.foreign import AGAIN, ForeignTensors, quote, require_size, some
from inceptions.weights.readers.keras_file import CONFIG, WEIGHTS, read_keras
from inceptions.weights.readers.onnx_file import read_onnx
from inceptions.weights.readers.protobuf import parse
from inceptions.weights.readers.tensorflow_checkpoint import is_checkpoint, read_tensorflow

_HEAD_BYTES = 512
_MAX_LINE = 500
_TORCH, _SAFETENSORS, _HDF5, _KERAS, _NPZ = "PyTorch's", "safetensors", "Keras' HDF5", "Keras' zip", "NumPy's"
_CAFFE, _ONNX, _TENSORFLOW = "Caffe's", "ONNX", "TensorFlow's"
_SUFFIXES = {
    **{".pth": _TORCH, ".pt": _TORCH, ".bin": _TORCH, ".safetensors": _SAFETENSORS, ".h5": _HDF5, ".hdf5": _HDF5, ".keras": _KERAS},
    **{".caffemodel": _CAFFE, ".onnx": _ONNX, ".npz": _NPZ},
}
_KNOWN = "known are PyTorch, safetensors, Keras, Caffe, ONNX, TensorFlow checkpoints and NumPy's npz"
_NOT_WEIGHTS = (
    (b"<", "it is a web page or XML, not weights: the download went wrong; open the address in a browser, then download it again"),
    (b"version https://git-lfs", "it only points to a file in Git LFS; fetch that with git lfs pull"),
    (b"model_checkpoint_path", "it only names the newest TensorFlow checkpoint of its folder; give that one"),
    (b"{", "it is JSON, not weights; give the file with the weights"),
    (b"\x1f\x8b", "it is packed with gzip; unpack it (tar xf, or gunzip), and give the file with the weights"),
    (b"BZh", "it is packed with bzip2; unpack it, and give the file with the weights"),
    (b"\xfd7zXZ", "it is packed with xz; unpack it, and give the file with the weights"),
    (b"7z\xbc\xaf", "it is packed with 7-Zip; unpack it, and give the file with the weights"),
)
_TAR = "it is a tar archive; unpack it and give the file with the weights, or save it anew if torch before 0.1.10 wrote it"


def _read_torch(path: Path) -> ForeignTensors:
    from inceptions.weights.readers.torch_file import read_torch

    return read_torch(path)


_READERS: dict[str, Callable[[Path], ForeignTensors]] = {
    **{_TORCH: _read_torch, _SAFETENSORS: read_safetensors, _HDF5: read_keras, _KERAS: read_keras, _NPZ: read_npz},
    **{_CAFFE: read_caffemodel, _ONNX: read_onnx, _TENSORFLOW: read_tensorflow},
}


def read_tensors(path: str | Path) -> ForeignTensors:
    """Return the tensors of a checkpoint file, under its own names and in its own layout. What it is goes by its content, not its name.

    path: a file, or the prefix of a TensorFlow checkpoint. Raises WeightsError: one line that begins with the path.
    """
    path, kind = Path(path), ""
    try:
        kind = _choose(path)
        found = _READERS[kind](path)
        if not found.tensors:
            raise WeightsError("there are no tensors in it; give the file with the weights")
        require_size(sum(_count_bytes(tensor) for tensor in found.tensors.values()), "its tensors have")
    except WeightsError as error:
        aside = _contradiction(path, kind)
        raise WeightsError(_line(path, f"{error} ({aside})" if aside else str(error))) from None
    except OSError as error:
        raise WeightsError(_line(path, f"it can't be read ({error.strerror or error}); check the path and its permissions")) from None
    aside = _contradiction(path, kind)
    return replace(found, notes=(aside, *found.notes)) if aside else found


def _contradiction(path: Path, kind: str) -> str:
    says = _SUFFIXES.get(path.suffix.lower(), kind)
    return f"its name ends in {path.suffix}, its content is {kind}" if kind and says != kind else ""


def _count_bytes(tensor: Any) -> int:
    """Return the bytes that a tensor's shape asks for, which may be many more than are stored."""
    return math.prod(tensor.shape) * tensor.dtype.itemsize


def _choose(path: Path) -> str:
    """Return whose file it is."""
    if is_checkpoint(path):
        return _TENSORFLOW
    if path.is_dir():
        raise WeightsError("it is a folder; give the file with the weights in it")
    if not path.is_file():
        raise WeightsError("it is no file; check the path" if path.exists() else "there is no such file; check the path")
    require_size(path.stat().st_size, "it has")
    with path.open("rb") as file:
        return _choose_by_head(path, file.read(_HEAD_BYTES))


def _choose_by_head(path: Path, head: bytes) -> str:
    """Return whose file it is that begins with `head`. Raises WeightsError for what holds no weights, or isn't known."""
    if not head:
        raise WeightsError("it is empty; the download went wrong: download it again")
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _HDF5
    if head.startswith(b"PK"):
        return _choose_zip(path)
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return _TORCH
    if head[7:9] == b"\0{" or (path.suffix.lower() == ".safetensors" and head[:1] != b"<"):
        return _SAFETENSORS
    if head[257:262] == b"ustar":
        raise WeightsError(_TAR)
    for magic, reason in _NOT_WEIGHTS:
        if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(magic):
            raise WeightsError(reason)
    return _choose_protobuf(path, head)


def _choose_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            require_size(sum(member.file_size for member in archive.infolist()), "unpacked it would have")
    except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeDecodeError) as error:
        raise WeightsError(f"its zip archive can't be read ({error}); {AGAIN}") from None
    if any(name.endswith((".pkl", "/version", "/byteorder")) for name in names):
        return _TORCH
    if WEIGHTS in names or CONFIG in names:
        return _KERAS
    if names and all(name.endswith(".npy") for name in names):
        return _NPZ
    raise WeightsError(f"it is a zip archive of something else ({some(names) or 'nothing'}); unpack it and give the file with the weights")


def _choose_protobuf(path: Path, head: bytes) -> str:
    """Tell Caffe and ONNX apart by what is in them; where they are cut short, the name decides which of them complains."""
    kind = _SUFFIXES.get(path.suffix.lower(), "")
    try:
        content = path.read_bytes()
        model = parse("onnx.Model", content)
        net = parse("caffe.Net", content)
        if model.ir_version and model.HasField("graph"):
            kind = _ONNX
        elif net.layer or net.layers:
            kind = _CAFFE
    except WeightsError:
        pass
    if kind in (_CAFFE, _ONNX):
        return kind
    raise WeightsError(f"it is no checkpoint that is known here (it begins with {quote(head[:16])}); {_KNOWN}")


def _line(path: Path, reason: str) -> str:
    """Return the message in one line."""
    reason = " ".join("".join(letter if letter.isprintable() else " " for letter in reason).split())
    return f"{shown(path)}: {reason if len(reason) <= _MAX_LINE else reason[:_MAX_LINE] + '…'}"
