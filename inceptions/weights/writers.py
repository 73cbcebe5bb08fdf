"""Model folders as other frameworks' files: enters a model folder, leaves a `.pth`, `.safetensors` or Keras `.h5` file, or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.numpy
import torch

from inceptions.errors import WeightsError
from inceptions.files import cannot_write, whole_file
from inceptions.weights.card import read_card
from inceptions.weights.exporter import EXPORTABLE, export_tensors
from inceptions.weights.folder import load_model

_SUFFIXES = {"torchvision": (".pth", ".pt", ".safetensors"), "timm": (".pth", ".pt", ".safetensors"), "keras": (".h5",)}


def write_tensors(source: Path, path: Path, *, framework: str) -> int:
    """Write the weights of the model folder `source`, as they were trained, as `framework`'s; return how many tensors they are.

    Raises WeightsError: an unknown framework, a suffix that it has not, or a network or numerics that it can't hold.
    """
    if framework not in EXPORTABLE:
        raise WeightsError(f"framework is {framework!r}; weights can be written for {', '.join(EXPORTABLE)}")
    if path.suffix not in _SUFFIXES[framework]:
        raise WeightsError(f"{path}: {framework} reads {', '.join(_SUFFIXES[framework])} files; give one of these suffixes")
    has_aux = bool(read_card(source).network.aux) and framework == "torchvision"
    tensors = export_tensors(load_model(source, aux=has_aux, calibrated=False).module, framework=framework)
    with whole_file(path) as part:
        try:
            if framework == "keras":
                _write_keras(tensors, part)
            elif path.suffix == ".safetensors":
                safetensors.numpy.save_file(tensors, part)
            else:
                torch.save({name: torch.from_numpy(value) for name, value in tensors.items()}, part)
        except (safetensors.SafetensorError, RuntimeError) as error:  # what safetensors and torch make of a full disk
            raise cannot_write(path, OSError(str(error).partition("\n")[0])) from error
    return len(tensors)


def _write_keras(tensors: dict[str, np.ndarray], path: Path) -> None:
    """Write Keras' legacy layout: a group for each layer, and the order of layers and weights in attributes."""
    try:
        import h5py
    except ImportError:
        raise WeightsError("writing Keras files needs h5py; pip install 'inceptions[keras]'") from None
    layers: dict[str, list[str]] = {}
    for name in tensors:
        layers.setdefault(name.rpartition("/")[0], []).append(name)
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:  # in memory: on a full disk the library crashes
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.15.0"
        for layer, names in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{name}:0".encode() for name in names]
            for name in names:
                group[f"{name}:0"] = tensors[name]
        file.flush()
        path.write_bytes(file.id.get_file_image())
