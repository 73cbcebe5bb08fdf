"""What people want to know of a model: enters its card, leaves JSON's types: trained on what, how often right, what for what.

The page shows it. What isn't known is None: an error or mistakes that were not measured. No path of the machine that it was trained on goes
out. Needs no torch.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from inceptions.data.folders import name_source
from inceptions.evaluation.interval import tested
from inceptions.names import shown
from inceptions.weights.card import ModelCard


def describe_model(card: ModelCard, name: str) -> dict[str, Any]:
    """Return what is known of the model, called `name`."""
    return {
        "name": shown(name),
        "version": card.sha256[:12],
        "network": card.network.name,
        "classes": len(card.classes),
        "image_size": card.preprocess.image_size,
        "class_names": [shown(one) for one in card.classes],
        "trained_on": _trained_on(card),
        "metrics": dict(card.metrics),
        "accuracy": _accuracy(card),
        "confusions": _confusions(card),
        "preprocess": card.preprocess.to_dict(),
        "licence": card.licence,
    }


def _trained_on(card: ModelCard) -> dict[str, Any] | None:
    """Return the images' name, without the place where they lay, how many in each part, the recipe, what was begun from, and when."""
    made = card.provenance
    if "data" not in made:
        return None
    told = {key: made[key] for key in ("recipe", "date") if key in made}
    if "weights" in made:
        told["weights"] = name_source(str(made["weights"]))
    path = Path(str(made["data"]))
    data = path.name if path.is_absolute() else shown(made["data"])
    return {"data": data, **told, "images": dict(card.split.images) if card.split else None}


def _accuracy(card: ModelCard) -> dict[str, Any] | None:
    """Return the share of right answers with Wilson's 95 % interval, and on what it was measured, where it was."""
    found = tested(card.metrics)
    if found is None:
        return None
    part, images, share = found
    return {**asdict(share), "images": images, "part": part}


def _confusions(card: ModelCard) -> list[dict[str, Any]] | None:
    if card.confusions is None:
        return None
    return [{"truth": shown(truth), "predicted": shown(predicted), "count": count} for truth, predicted, count in card.confusions]
