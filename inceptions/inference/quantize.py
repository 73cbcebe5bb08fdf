"""A model in 8-bit integers, judged before it is kept: enters a model folder and labelled images, leaves a model folder. Needs NNCF.

Ranges of activations come from training images. What the integers cost is controlled on other images: layers that cost too much go back to
floating point, until no more is lost than allowed (NNCF, accuracy-aware quantisation). The result is judged on images that had no part in
that, side by side with float32: the difference is paired, with an interval.

The folder that is written has all of the old one, and the integers beside it (`int8.xml`, `int8.bin`, in OpenVINO's form).
"""

from __future__ import annotations

import io
import logging
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inceptions.data.folders import load_splits
from inceptions.data.splits import Sample, Splits
from inceptions.errors import UserError
from inceptions.evaluation.interval import Interval
from inceptions.evaluation.labels import match_labels
from inceptions.evaluation.metrics import error_difference
from inceptions.evaluation.score import Score, score_of
from inceptions.extras import require
from inceptions.files import whole_folder
from inceptions.inference.engines import openvino as engine
from inceptions.inference.engines.graph import PixelClassifier, export_graph
from inceptions.inference.engines.prepare import real_pixels
from inceptions.inference.pipeline import labelled_batches
from inceptions.names import shown
from inceptions.versions import now, versions
from inceptions.weights.card import CARD_NAME, ModelCard
from inceptions.weights.folder import load_model

CALIBRATED_ON = 300  # NNCF's own number
CONTROLLED_ON = 1_000
LEAST_CALIBRATED, LEAST_JUDGED = 50, 100
_BATCH = 16

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Quantized:
    """What was judged: on `judged` images of `part`, accuracy (0 to 1) in float32 and int8; lost, in points, with its paired interval.

    calibrated, controlled: numbers of images. kept: convolutions and linear layers of `layers` that stay in floating point, by name.
    """

    part: str
    calibrated: int
    controlled: int
    judged: int
    float32: float
    int8: float
    lost: Interval
    layers: int
    kept: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields in JSON's types, for a model's provenance."""
        return {
            "calibrated_on": self.calibrated,
            "controlled_on": self.controlled,
            "judged_on": self.judged,
            "judged_part": self.part,
            "accuracy_float32": self.float32,
            "accuracy_int8": self.int8,
            "lost_points": self.lost.value,
            "lost_points_interval": [self.lost.low, self.lost.high],
            "layers": self.layers,
            "kept_in_floating_point": list(self.kept),
        }


@dataclass(frozen=True, slots=True)
class _Images:
    """Samples to find the ranges on, to choose layers by, and to judge on; the part that these are of, and what there is to say."""

    calibration: Sequence[Sample]
    control: Sequence[Sample]
    judged: Sequence[Sample]
    part: str
    notes: tuple[str, ...]


def quantize_model(folder: Path, data: str, target: Path, *, most_lost: float = 0.5, seed: int = 0, tell: Tell = logging.info) -> Quantized:
    """Write the model in `folder` with its int8 form as the folder `target`.

    data: labelled images, as `load_splits` takes them. most_lost: how many points of accuracy may be lost. seed: of the choice of images.

    Raises UserError: NNCF isn't installed, too few images, no classes, or more lost than allowed; then nothing is written.
    """
    require("quantize", "nncf", "openvino", needed_for="quantising")
    if target.exists():
        raise UserError(f"{shown(target)} exists already; give another folder, or delete it")
    if not 0 <= most_lost <= 100:
        raise UserError(f"most_lost is {most_lost}; it must be points of accuracy, 0 to 100")
    model = load_model(folder)
    if not model.card.classes:
        raise UserError(f"{model.card.network.name} has no classes; what quantising costs is judged by the classes of images")
    images = _choose(load_splits(data, seed=model.card.split.seed if model.card.split else 0), model.card, data, seed)
    pixels = real_pixels(model.card.preprocess, 2)
    program = export_graph(PixelClassifier(model.module, model.card.preprocess), torch.from_numpy(pixels)).run_decompositions()
    plain = engine.convert(program, pixels.shape[1:])
    _name_layers(plain, program)
    tell(f"finding ranges on {len(images.calibration)} images, and what the integers cost on {len(images.control)} others")
    quantized = _quantize(plain, images, model.card, most_lost)
    tell(f"judging on {len(images.judged)} images")
    before, after = (_score(_compiled(which), images.judged, model.card) for which in (plain, quantized))
    kept, layers = _kept_layers(quantized)
    lost = error_difference(before, after)
    found = Quantized(
        images.part,
        len(images.calibration),
        len(images.control),
        before.count,
        before.accuracy,
        after.accuracy,
        lost,
        layers,
        kept,
        images.notes,
    )
    if lost.value > most_lost:
        raise UserError(
            f"{lost.value:.2f} points of accuracy are lost ({lost.low:.2f} to {lost.high:.2f}), where {most_lost:g} are allowed; "
            "nothing is written: allow more, or give more images of training to find the ranges on"
        )
    _write(folder, target, model.card, quantized, found)
    return found


def _choose(splits: Splits, card: ModelCard, source: str, seed: int) -> _Images:
    """Return images by what they are for; those to judge on are not among the others."""
    rng = np.random.default_rng(seed)
    train, notes = match_labels(splits.train, splits.classes, card.classes)
    part = "test" if splits.test else "val" if splits.val else ""
    judged = match_labels(splits.parts[part], splits.classes, card.classes)[0] if part else []
    if len(train) < LEAST_CALIBRATED or len(judged) < LEAST_JUDGED:
        raise UserError(
            f"{source} has {len(train)} images of training and {len(judged)} of test or validation in classes of the model; "
            f"{LEAST_CALIBRATED} are needed to find ranges on and {LEAST_JUDGED}, labelled, to judge on"
        )
    order = [train[place] for place in rng.permutation(len(train))]
    calibration, rest = order[:CALIBRATED_ON], order[CALIBRATED_ON:]
    control = rest
    if part == "test" and splits.val:
        val = match_labels(splits.val, splits.classes, card.classes)[0]
        control = [val[place] for place in rng.permutation(len(val))]
    if len(control) < LEAST_JUDGED:  # a small set: what is lost is still judged elsewhere
        control = order
        notes = [*notes, "the layers were chosen by images that the ranges were found on too, for there are few"]
    return _Images(calibration, control[:CONTROLLED_ON], judged, part, tuple(notes))


def _quantize(plain: Any, images: _Images, card: ModelCard, most_lost: float) -> Any:
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # which NNCF imports, and which misses CUDA
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    calibration = [pixels[None] for batch, _ in _pixels(images.calibration, card) for pixels in batch]
    control = [
        (pixels[None], label) for batch, labels in _pixels(images.control, card) for pixels, label in zip(batch, labels, strict=True)
    ]

    def validate(compiled: Any, items: Iterable[Any]) -> tuple[float, list[float]]:  # a value for each item: NNCF takes some of them
        right = [float(compiled(pixels)[0].argmax() == label) for pixels, label in items]
        return float(np.mean(right)), right

    with redirect_stdout(io.StringIO()):  # its own progress bars
        return nncf.quantize_with_accuracy_control(
            plain,
            nncf.Dataset(calibration),
            nncf.Dataset(control),
            validate,
            max_drop=most_lost / 100,
            drop_type=nncf.DropType.ABSOLUTE,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(calibration),
        )


def _pixels(samples: Sequence[Sample], card: ModelCard) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return labelled_batches(samples, card.preprocess, batch_size=_BATCH)


def _compiled(model: Any) -> Any:
    return engine.core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def _score(compiled: Any, samples: Sequence[Sample], card: ModelCard) -> Score:
    logits, labels = [], []
    for pixels, wanted in _pixels(samples, card):
        logits.append(compiled(pixels)[0].copy())
        labels.append(wanted)
    if not logits:
        raise UserError("none of the images can be read")
    place = np.arange(sum(map(len, labels)))
    return score_of(torch.from_numpy(np.concatenate(logits)).log_softmax(1), torch.from_numpy(np.concatenate(labels)), place)


def _layers(model: Any) -> list[Any]:
    return [node for node in model.get_ordered_ops() if node.get_type_name() in ("Convolution", "GroupConvolution", "MatMul")]


def _name_layers(model: Any, program: torch.export.ExportedProgram) -> None:
    """Give OpenVINO's layers the names that ours have in the network, such as "5b.conv5x5.1", by the nodes that they were made of."""
    paths = {node.name: [path for path, _ in node.meta.get("nn_module_stack", {}).values()][-1:] for node in program.graph.nodes}
    for layer in _layers(model):
        made_of = (name.partition(":")[0] for output in _outputs(layer) for name in output.get_tensor().get_names())
        path = next((path[0] for name in made_of if (path := paths.get(name))), None)
        if path is not None:
            layer.set_friendly_name(re.sub(r"^module\.(stages\.)?|\.(conv|bn)$", "", path))


def _outputs(layer: Any) -> Iterator[Any]:
    """Yield the outputs of a layer, and of the addition behind it that holds its bias and may have its name."""
    yield layer.output(0)
    for target in layer.output(0).get_target_inputs():
        yield from target.get_node().outputs()


def _kept_layers(model: Any) -> tuple[tuple[str, ...], int]:
    """Return the layers whose weights are no integers, by name, and how many layers there are in all."""
    layers = _layers(model)
    return tuple(layer.get_friendly_name() for layer in layers if not _has_integers(layer)), len(layers)


def _has_integers(layer: Any) -> bool:
    """Whether the weights of a layer are integers with a scale: a constant behind a conversion and a multiplication."""
    node = layer.input_value(1).get_node()
    while node.get_type_name() in ("Multiply", "Subtract", "Convert", "Reshape", "FakeQuantize"):
        if node.get_type_name() == "FakeQuantize":
            return True
        node = node.input_value(0).get_node()
    return node.get_output_element_type(0).get_type_name() in ("i8", "u8")


def _write(folder: Path, target: Path, card: ModelCard, quantized: Any, found: Quantized) -> None:
    import openvino

    with whole_folder(target) as fresh:
        shutil.copytree(folder, fresh, dirs_exist_ok=True)
        openvino.save_model(quantized, fresh / engine.INT8, compress_to_fp16=False)
        record = {
            **found.to_dict(),
            "file": engine.INT8,
            "sha256": engine.digest((fresh / engine.INT8).with_suffix(ending) for ending in (".xml", ".bin")),
            "made_with": versions(("nncf", "openvino")),
            "date": now(),
        }
        written = replace(
            card,
            provenance={**card.provenance, "int8": record},
            metrics={**card.metrics, "int8_accuracy": found.int8, "int8_lost_points": found.lost.value},
        )
        (fresh / CARD_NAME).write_text(written.to_json(), encoding="utf-8")
