"""Model folders: enters a torch module with its card, leaves `model.safetensors` and `model.json`; and back. No pickle anywhere."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from inceptions.data.preprocess import Preprocess
from inceptions.data.splits import SplitRecord
from inceptions.errors import ModelFolderError
from inceptions.files import cannot_write, whole_folder, write_whole
from inceptions.networks.modules.models import Classifier, ClassifierWithAux
from inceptions.weights.card import CARD_NAME, WEIGHTS_NAME, ModelCard, read_card


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to be used: the module in evaluation mode, and its card."""

    module: Classifier
    card: ModelCard


def save_model(
    module: Classifier,
    folder: str | Path,
    *,
    preprocess: Preprocess,
    classes: tuple[str, ...] = (),
    licence: str | None = None,
    provenance: dict[str, Any] | None = None,
    metrics: dict[str, float] | None = None,
    split: SplitRecord | None = None,
    temperature: float = 1.0,
    kernels: torch.dtype = torch.float32,
) -> ModelCard:
    """Write `module` with everything that travels with it as a model folder; an older one there is replaced, whole, at the end.

    classes: names in the order of the outputs. temperature: of the card; `module` doesn't divide by it yet.
    kernels: how those of convolutions and classifier are stored; bfloat16 is half as large.
    Raises ModelFolderError: as many classes as outputs are needed; a folder that is no model's.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / CARD_NAME).is_file():
        raise ModelFolderError(f"{folder} exists and is not a model folder; give another, or delete it")
    card = ModelCard(module.network, preprocess, classes, "classification", licence, provenance or {}, metrics or {}, split=split)
    card = replace(card, temperature=temperature)
    tensors = {key: _stored(value.detach().cpu(), kernels) for key, value in module.state_dict().items()}
    with whole_folder(folder) as target:
        weights = target / WEIGHTS_NAME
        try:
            safetensors.torch.save_file(tensors, weights)
        except SafetensorError as error:  # what it makes of a full disk
            raise cannot_write(folder, OSError(str(error))) from error
        weights.chmod(0o644)  # safetensors lets nobody else read
        written = replace(card, sha256=_sha256(weights))
        (target / CARD_NAME).write_text(written.to_json(), encoding="utf-8")
    return written


def _stored(tensor: torch.Tensor, kernels: torch.dtype) -> torch.Tensor:
    return (tensor.to(kernels) if tensor.ndim > 1 else tensor).contiguous()


def update_metrics(folder: Path, metrics: dict[str, float], *, confusions: Sequence[tuple[str, str, int]] | None = None) -> None:
    """Add `metrics`, by name, to the card of a model folder, and the commonest confusions where there are any."""
    card = read_card(folder)
    found = card.confusions if confusions is None else tuple(confusions)
    write_whole(folder / CARD_NAME, replace(card, metrics={**card.metrics, **metrics}, confusions=found).to_json())


def keep_temperature(folder: Path, temperature: float, *, record: dict[str, Any]) -> None:
    """Write into the card of a model folder what its logits are to be divided by; record: how that was found.

    Raises UserError where the card can't be written; the one that was there stays.
    """
    card = read_card(folder)
    written = replace(card, temperature=temperature, provenance={**card.provenance, "calibration": record})
    try:
        write_whole(folder / CARD_NAME, written.to_json())
    except OSError as error:
        raise cannot_write(folder / CARD_NAME, error) from error


def apply_temperature(module: Classifier, temperature: float) -> None:
    """Have `module` give its logits divided by the temperature, by the weights of its last layer; auxiliary heads stay as they are.

    No other place divides: what is compiled, exported, quantised or served is made of a module that does already.
    """
    if temperature == 1:
        return
    for parameter in module.classifier.parameters():
        parameter.data = parameter.data / temperature


def load_model(folder: str | Path, *, aux: bool = False, calibrated: bool = True) -> LoadedModel:
    """Return the model in `folder`, in evaluation mode on the CPU and in float32; with `aux`, its auxiliary heads too.

    calibrated: with logits divided by the card's temperature, to be used; not so, with the weights as they were trained, to go on from.

    Raises ModelFolderError: not a model folder, a file that is damaged, or tensors that are not the network's.
    """
    folder = Path(folder)
    card = read_card(folder)
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        raise ModelFolderError(f"{folder} has no {WEIGHTS_NAME}; copy the whole model folder")
    if card.sha256 and _sha256(path) != card.sha256:
        raise ModelFolderError(f"{path} is not the file that {CARD_NAME} describes (SHA-256 differs); copy the model folder again")
    with torch.device("meta"):
        module = ClassifierWithAux(card.network) if aux else Classifier(card.network)
    expected = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    tensors = _read_tensors(path, expected)
    module.load_state_dict(tensors, assign=True)
    if calibrated:
        apply_temperature(module, card.temperature)
    return LoadedModel(module.eval(), card)


def _utf8_name(path: Path, opened: BinaryIO) -> str:
    """Return a name of the open file that safetensors takes: where its own is no UTF-8, which only Linux knows, Linux's of open files."""
    try:
        os.fsencode(path).decode()
    except UnicodeDecodeError:
        return f"/proc/self/fd/{opened.fileno()}"
    return str(path)


def _read_tensors(path: Path, expected: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    try:
        with path.open("rb") as opened, safe_open(_utf8_name(path, opened), framework="pt") as file:
            found = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}
            if any(key.startswith("aux.") for key in expected) and not any(key.startswith("aux.") for key in found):
                raise ModelFolderError(f"{path} has no weights of auxiliary heads; take a model that was trained with them")
            for key, shape in expected.items():
                if found.get(key) != shape:
                    has = f"has shape {found[key]}" if key in found else "is missing"
                    raise ModelFolderError(f"{path}: tensor {key!r} {has}; the network wants {shape}")
            for key in found:
                if key not in expected and not key.startswith("aux."):
                    raise ModelFolderError(f"{path}: tensor {key!r} is not one of the network's")
            tensors = {key: file.get_tensor(key) for key in expected}
            return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    except SafetensorError as error:
        raise ModelFolderError(f"{path} is damaged or no safetensors file ({error})") from None
    except OSError as error:
        raise ModelFolderError(f"{path} can't be read ({error.strerror or error})") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
