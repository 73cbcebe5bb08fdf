"""A model as one file of another runtime: enters a model folder, leaves ONNX, OpenVINO's form or torch.export's, checked. Needs torch.

    model.onnx    ONNX, for ONNX Runtime and most others        images -> logits
    model.xml     OpenVINO, with model.bin beside it
    model.pt2     torch.export, for torch and what builds on it

Inputs are "images", float32 (N, C, S, S), scaled as the model's preprocessing says, and outputs "logits" (N, K). With the preprocessing in
the file, inputs are "pixels", uint8 (N, S, S, C) as a decoded and cropped picture has them, and outputs "probabilities" (N, K). A network
that ends in an embedding gives "vectors". N is free. Class names and preprocessing are in the file's metadata, as JSON under "inceptions".

What was written is run by its own runtime on real pictures and compared with torch, a file of integers with those that were judged; where
it disagrees, no file is left.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from inceptions.errors import UserError
from inceptions.extras import require
from inceptions.files import cannot_write, whole_folder
from inceptions.inference.engines import openvino as openvino_engine
from inceptions.inference.engines.base import softmax
from inceptions.inference.engines.graph import Normalize, export_graph, write_onnx
from inceptions.inference.engines.prepare import real_pixels
from inceptions.names import shown
from inceptions.networks.modules.models import Classifier
from inceptions.weights.card import ModelCard
from inceptions.weights.folder import LoadedModel, load_model

METADATA = "inceptions"
ALLOWED = 1e-3
"""How much a probability, or a part of the largest number of a vector, may differ in float32."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the file and all its bytes; its input and output; how it compares on `pictures` real pictures with `against`.

    difference: the largest, of a probability; without classes, of a vector's number, in parts of the largest. same: pictures of the same
    likeliest class. notes: what else there is to say.
    """

    file: Path
    form: str
    size: int
    input: str
    output: str
    pictures: int
    same: int
    difference: float
    notes: tuple[str, ...]
    against: str = "torch"


class _Scaled(nn.Module):
    """Images (N, C, S, S) as the network reads them, to logits or the embedding."""

    def __init__(self, module: Classifier) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        return self.module(images)


class _Whole(nn.Module):
    """Pixels (N, S, S, C), uint8, to probabilities, or to the embedding."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.normalize, self.module, self.has_classes = Normalize(model.card.preprocess), model.module, bool(model.card.network.classes)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.module(self.normalize(pixels))
        return x.softmax(1) if self.has_classes else x


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of file: what it is called, what has to be installed for it, how it is written and run.

    write(module, example, file, metadata, names of input and output); run(file, input array) gives the output's.
    """

    name: str
    modules: tuple[str, ...]
    write: Callable[[nn.Module, Tensor, Path, str, tuple[str, str]], None]
    run: Callable[[Path, np.ndarray], np.ndarray]


def _write_onnx(module: nn.Module, example: Tensor, file: Path, metadata: str, names: tuple[str, str]) -> None:
    import onnx

    write_onnx(module, example, file, names=names)
    model = onnx.load(file)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, metadata
    model.producer_name = "inceptions"
    onnx.checker.check_model(model)
    onnx.save(model, file)


def _run_onnx(file: Path, array: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: array})[0])


def _write_openvino(module: nn.Module, example: Tensor, file: Path, metadata: str, names: tuple[str, str]) -> None:
    import openvino

    model = openvino_engine.convert(export_graph(module, example), example.shape[1:], names)
    model.set_rt_info(metadata, METADATA)
    openvino.save_model(model, file, compress_to_fp16=False)


def _run_openvino(file: Any, array: np.ndarray) -> np.ndarray:
    compiled = openvino_engine.core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(array)[0].copy()


def _write_torch(module: nn.Module, example: Tensor, file: Path, metadata: str, names: tuple[str, str]) -> None:
    torch.export.save(export_graph(module, example), file, extra_files={METADATA: metadata})


@torch.inference_mode()
def _run_torch(file: Path, array: np.ndarray) -> np.ndarray:
    return torch.export.load(file).module()(torch.from_numpy(array)).numpy()


FORMS: dict[str, Form] = {
    ".onnx": Form("onnx", ("onnx", "onnxscript", "onnxruntime"), _write_onnx, _run_onnx),
    ".xml": Form("openvino", ("openvino",), _write_openvino, _run_openvino),
    ".pt2": Form("torch", ("torch",), _write_torch, _run_torch),
}


def check_file(file: Path, to: str | None = None, *, replace_it: bool = False) -> Form:
    """Return the form that a file's ending, or `to`, names.

    Raises UserError where they disagree, what it needs is not installed, or there is such a file and it is not to be replaced.
    """
    # in another case libraries that go by the ending don't know their own files
    form = FORMS.get(file.suffix)
    if form is None or (to is not None and to != form.name):
        wanted = ", ".join(f"{form.name} to {ending}" for ending, form in FORMS.items())
        raise UserError(f"{shown(file)} can't hold {to or 'a model'}: {wanted}, all in lower case")
    require("export", *form.modules, needed_for=f"writing and checking {form.name}")
    for path in _partners(file, form):
        if path.is_dir():
            raise UserError(f"{shown(path)} is a folder; give a file")
        if path.exists() and not replace_it:
            raise UserError(f"{shown(path)} exists already; give another file, or say that it may be written over (--force)")
    return form


def _partners(file: Path, form: Form) -> list[Path]:
    return [file, file.with_suffix(".bin")] if form.name == "openvino" else [file]


def export_model(folder: Path, file: Path, *, to: str | None = None, preprocess: bool = False, replace_it: bool = False) -> Exported:
    """Write the model in `folder` as `file`, whose ending says the form, and compare what was written.

    preprocess: put the scaling of pixels and the softmax into the file. replace_it: write over a file that is there.

    Raises UserError: another ending, a file that is there, a library that is missing, or a file that disagrees (none is left).
    """
    form = check_file(file, to, replace_it=replace_it)
    model = load_model(folder)
    module = (_Whole(model) if preprocess else _Scaled(model.module)).eval()
    pixels = real_pixels(model.card.preprocess)
    array = pixels if preprocess else model.card.preprocess.normalize_pixels(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    names = _names(model.card, preprocess)
    with whole_folder(_scratch(file)) as scratch:
        written = scratch / file.name
        metadata = describe(model.card, preprocess=preprocess)
        if in_integers := preprocess and form.name == "openvino" and "int8" in model.card.provenance:
            _write_integers(folder, written, metadata)
        else:
            form.write(module, torch.from_numpy(array[:2].copy()), written, metadata, names)
        wanted = _answers_in_integers(folder, array) if in_integers else _answers(module, array)
        found = _compare(form, written, array, wanted, names[1])
        size = sum(path.stat().st_size for path in scratch.iterdir())
    try:
        for path in reversed(_partners(file, form)):  # the .bin first, without which an .xml is nothing
            (_scratch(file) / path.name).replace(path)
    except OSError as error:
        raise cannot_write(file, error) from error
    finally:
        shutil.rmtree(_scratch(file), ignore_errors=True)
    against = "the integers that were judged" if in_integers else "torch"
    return Exported(file, form.name, size, names[0], names[1], *found, _notes(model.card, in_integers), against)


def _scratch(file: Path) -> Path:
    return file.parent / f".{file.name}.new"


def _names(card: ModelCard, preprocess: bool) -> tuple[str, str]:
    output = "vectors" if not card.network.classes else "probabilities" if preprocess else "logits"
    return "pixels" if preprocess else "images", output


def describe(card: ModelCard, *, preprocess: bool) -> str:
    """Return what travels in a file's metadata: JSON with the network, the class names in order, and what is to be done to pictures."""
    told = {"network": card.network.name, "classes": list(card.classes), "preprocess": card.preprocess.to_dict()}
    told |= {"scaling_in_file": preprocess, "licence": card.licence, "weights_sha256": card.sha256, "temperature_in_file": card.temperature}
    return json.dumps(told)  # escapes all that isn't ASCII: any reader takes it


def _answers(module: nn.Module, array: np.ndarray) -> np.ndarray:
    """Return what torch answers to the pictures."""
    with torch.inference_mode():
        return np.concatenate([module(torch.from_numpy(array[start : start + 8])).numpy() for start in range(0, len(array), 8)])


def _answers_in_integers(folder: Path, array: np.ndarray) -> np.ndarray:
    """Return the probabilities of a quantised model as it was judged."""
    return softmax(_one_and_many(_run_openvino, openvino_engine.read_integers(folder), array))


def _one_and_many(run: Callable[[Any, np.ndarray], np.ndarray], file: Any, array: np.ndarray) -> np.ndarray:
    return np.concatenate([run(file, array[:1]), run(file, array[1:])])


def _compare(form: Form, file: Path, array: np.ndarray, wanted: np.ndarray, output: str) -> tuple[int, int, float]:
    """Return how many pictures were compared, how many have the same class, and the largest difference; UserError if it is too large."""
    found = _one_and_many(form.run, file, array)
    if output == "vectors":
        same = len(array)
        difference = worst = float(np.abs(found - wanted).max() / max(1e-12, np.abs(wanted).max()))
    else:
        if output == "logits":
            wanted, found = softmax(wanted), softmax(found)
        best = found.argmax(1)
        same = int((best == wanted.argmax(1)).sum())
        difference = float(np.abs(found - wanted).max())
        worst = max(difference, float((wanted.max(1) - wanted[np.arange(len(wanted)), best]).max()))  # between two classes, of one likelier
    if not worst <= ALLOWED:
        raise UserError(
            f"what {form.name} makes of the file differs from what it should by {worst:.2g}, where {ALLOWED:g} is allowed "
            f"({same} of {len(array)} pictures of the same class); no file is left: please report it, with the network's name"
        )
    return len(array), same, difference


def _write_integers(folder: Path, file: Path, metadata: str) -> None:
    """Write the integers of a quantised model as they were judged, with a softmax behind them."""
    import openvino
    from openvino import opset13

    model = openvino_engine.read_integers(folder)
    logits = next(result for result in model.get_results() if "logits" in result.output(0).get_tensor().get_names())
    probabilities = opset13.softmax(logits.input_value(0), axis=1)
    probabilities.output(0).get_tensor().set_names({"probabilities"})
    make: Any = openvino.Model  # whose two types the checker can't bring together
    whole = make([opset13.result(probabilities)], model.get_parameters())
    whole.set_rt_info(metadata, METADATA)
    openvino.save_model(whole, file, compress_to_fp16=False)


def _notes(card: ModelCard, in_integers: bool) -> tuple[str, ...]:
    if "int8" not in card.provenance:
        return ()
    if in_integers:
        return ("the file has the integers of the quantised network; what they lose stands in the model's card",)
    return ("the weights are those of float32; the integers go into .xml, with the preprocessing",)
