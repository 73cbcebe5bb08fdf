"""What a server says of a model: enters a version, leaves what stands in `GET /v1/models/NAME`. No path of this machine goes out."""

from __future__ import annotations

from typing import Any

from inceptions.data.folders import name_source
from inceptions.evaluation.interval import tested
from inceptions.serving.models import Version
from inceptions.weights.card import ModelCard

_TRAINED_ON = ("recipe", "date", "weights")


def summarise(name: str, version: Version) -> dict[str, Any]:
    """Return what stands in the list of all models."""
    card = version.card
    return {
        "name": name,
        "version": version.name,
        "network": card.network.name,
        "classes": len(card.classes),
        "image_size": card.preprocess.image_size,
    }


def describe(name: str, version: Version) -> dict[str, Any]:
    """Return all that is said of a model: its classes, what it was trained on, how often it is right, what it takes for what."""
    card = version.card
    found = tested(card.metrics)
    accuracy = None
    if found is not None:
        part, images, share = found
        accuracy = {"value": share.value, "low": share.low, "high": share.high, "images": images, "part": part}
    confusions = None
    if card.confusions is not None:
        confusions = [{"truth": truth, "predicted": predicted, "count": count} for truth, predicted, count in card.confusions]
    return {
        **summarise(name, version),
        "title": card.network.title,
        "class_names": list(card.classes),
        "trained_on": _trained_on(card),
        "metrics": card.metrics,
        "accuracy": accuracy,
        "confusions": confusions,
        "preprocess": card.preprocess.to_dict(),
        "licence": card.licence,
        "engine": version.process.about["engine"],
        "precision": version.process.about["precision"],
    }


def _trained_on(card: ModelCard) -> dict[str, Any] | None:
    data = card.provenance.get("data")
    if data is None and card.split is None:
        return None
    said = {name: card.provenance[name] for name in _TRAINED_ON if isinstance(card.provenance.get(name), str)}
    if "weights" in said:
        said["weights"] = _without_path(said["weights"])
    images = dict(card.split.images) if card.split else None
    return {"data": _without_path(str(data)) if data is not None else None, **said, "images": images}


def _without_path(source: str) -> str:
    """Return the last part of a path; words stay as they are."""
    return name_source(source) if source.startswith(("/", "~", ".", "\\")) or source[1:3] == ":\\" else source
