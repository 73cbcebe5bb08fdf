"""Checkpoint files as model folders and back: enters a file of another framework, leaves a model folder and what became of each tensor."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from inceptions.errors import WeightsError
from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier
from inceptions.versions import now
from inceptions.weights.folder import save_model
from inceptions.weights.importer import Audit, find_forms, import_tensors, name_outputs
from inceptions.weights.readers import read_tensors
from inceptions.weights.readers.tensorflow_checkpoint import checkpoint_files

_TORCH = ("torchvision", "timm", "cadene", "pytorch_fid", "facenet_pytorch")
_FRAMEWORKS_OF = {
    "caffemodel": ("caffe",),
    "onnx": ("onnx",),
    "keras_h5": ("keras",),
    "weights_h5": ("keras",),
    "keras": ("keras",),
    "tf_checkpoint": ("tf_slim", "tf_deeplab", "tf_facenet"),
}


def import_file(path: Path, *, framework: str | None = None, network: str | None = None, no_top: bool = False) -> tuple[Classifier, Audit]:
    """Return the model in a checkpoint file, and the audit.

    framework, network: where they are not given, the tensors' names and shapes must leave no choice that changes what is computed.
    no_top: whether a model that ends in its features is wanted; a classifier is then taken off.

    Raises WeightsError.
    """
    found = read_tensors(path)
    notes = list(found.notes)
    if framework is None:
        framework, network, why = detect(found.tensors, found.format, network=network)
        notes.append(why)
    module, audit = import_tensors(found.tensors, framework=framework, network=network)
    expects_classes = bool(module.network.classes) or module.network.embedding != ()
    if not expects_classes and not no_top:
        raise WeightsError(f"{path}: there is no classifier in it; ask for a model that ends in its features (--no-top)")
    if no_top and module.network.classes:
        module = _without_top(module)
        notes.append(f"the classifier of {audit.classes} classes was taken off")
    return module, replace(audit, notes=(*notes, *audit.notes), classes=module.network.classes)


def _without_top(module: Classifier) -> Classifier:
    bare = Classifier(reshape.without_aux(reshape.with_classes(module.network, 0)))
    state = module.state_dict()
    bare.load_state_dict({key: state[key] for key in bare.state_dict()})
    return bare.eval()


def detect(tensors: Mapping[str, Any], file_format: str, *, network: str | None = None) -> tuple[str, str, str]:
    """Return framework and network of a checkpoint by its tensors' names and shapes, and how sure that is.

    Raises WeightsError when nothing fits.
    """
    frameworks = _FRAMEWORKS_OF.get(file_format, _TORCH)
    forms = find_forms(tensors, frameworks, network=network)
    if not forms:
        raise WeightsError(
            f"no known network has these tensors (such as {', '.join(map(repr, list(tensors)[:3]))}) in {', '.join(frameworks)}; "
            "name its framework and its network to see what is missing"
        )
    chosen = forms[0]
    layers = chosen.network.stages, chosen.network.numerics
    others = [form for form in forms[1:] if (form.network.stages, form.network.numerics) != layers]
    if others:
        raise WeightsError(
            f"these tensors fit {chosen.framework} and {', '.join(form.framework for form in others)} alike, which compute differently; "
            "name its framework"
        )
    alike = [form.framework for form in forms[1:]]
    sure = f"; {', '.join(alike)} has the same names and arithmetic, but perhaps other pixels: name it if it is that" if alike else ""
    return chosen.framework, chosen.network.name, f"tensor names and shapes are those of {chosen.framework}'s {chosen.network.name}{sure}"


def save_converted(module: Classifier, audit: Audit, source: Path, folder: Path, *, classes: tuple[str, ...] | None = None) -> None:
    """Write an imported model as a model folder; classes without names get their numbers, and background is put before 1000 names of 1001.

    Raises WeightsError when the folder exists, ModelFolderError when the names are too few or too many.
    """
    if folder.exists():
        raise WeightsError(f"{folder} exists already; give another folder, or delete it")
    if classes is None:
        classes = name_outputs(audit.classes)
    elif (len(classes), audit.classes) == (1000, 1001):
        classes = (name_outputs(1001)[0], *classes)
    digests = {}
    for part in checkpoint_files(source):
        with part.open("rb") as file:
            digests[part.name] = hashlib.file_digest(file, "sha256").hexdigest()
    provenance = {
        "made_by": f"inceptions {version('inceptions')} convert",
        "files": digests,
        "date": now(),
        "framework": audit.framework,
        "numerics_because": audit.numerics_because,
        "notes": list(audit.notes),
    }
    save_model(module, folder, preprocess=audit.preprocess, classes=classes, provenance=provenance)
