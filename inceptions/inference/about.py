"""What people want to know of a model: enters its card, leaves JSON's types: trained on what, how often right, what it takes for what.

Pages and servers say it. What isn't known is None. No path of this machine goes out. Needs no torch.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from inceptions.data.folders import name_source
from inceptions.evaluation.interval import tested
from inceptions.names import shown
from inceptions.weights.card import ModelCard


def own_name(folder: Path) -> str:
    """Return what a model is called where nobody says: as its folder, or as its run where that is best or last."""
    here = folder.resolve()
    return here.parent.name if here.name in ("best", "last") else here.name


def describe_model(card: ModelCard, name: str) -> dict[str, Any]:
    """Return what is known of a model that is called `name`."""
    confusions = None
    if card.confusions is not None:
        confusions = [{"truth": truth, "predicted": said, "count": count} for truth, said, count in card.confusions]
    return {
        **summarise_model(card, name),
        "title": card.network.title,
        "class_names": list(card.classes),
        "trained_on": _trained_on(card),
        "metrics": dict(card.metrics),
        "accuracy": _accuracy(card),
        "temperature": card.temperature,
        "confusions": confusions,
        "preprocess": card.preprocess.to_dict(),
        "licence": card.licence,
    }


def summarise_model(card: ModelCard, name: str) -> dict[str, Any]:
    """Return what tells a model from others."""
    return {
        "name": shown(name),
        "version": card.sha256[:12],
        "network": card.network.name,
        "classes": len(card.classes),
        "image_size": card.preprocess.image_size,
    }


def _trained_on(card: ModelCard) -> dict[str, Any] | None:
    """Return the images' name, without the place where they lay, their number, the recipe, what was begun from, and when."""
    made = card.provenance
    if "data" not in made:
        return None
    told = {key: made[key] for key in ("recipe", "date") if key in made}
    if "weights" in made:
        told["weights"] = name_source(str(made["weights"]))
    if card.split:
        told["images"] = dict(card.split.images)
    path = Path(str(made["data"]))
    return {"data": path.name if path.is_absolute() else shown(made["data"]), **told}


def _accuracy(card: ModelCard) -> dict[str, Any] | None:
    """Return the share of right answers with Wilson's 95 % interval, and on what it was measured, where it was."""
    found = tested(card.metrics)
    if found is None or not found[1]:
        return None
    part, images, share = found
    return {**asdict(share), "images": images, "part": part}
