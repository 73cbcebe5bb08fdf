"""What people want to know of a model: enters its card, leaves JSON's types: trained on what, how often right, what it takes for what.

Pages and servers say it. What isn't known is None. No path of this machine goes out, and nothing of an address but the name at its end.
Needs no torch.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inceptions.evaluation.interval import tested
from inceptions.names import shown
from inceptions.weights.card import ModelCard

_ON_THE_HUB = re.compile(r"hf:\w[\w.-]*(/\w[\w.-]*)?(@\w[\w./-]*)?(:\w[\w.-]*)?")  # hf:OWNER/NAME@REVISION:CONFIG


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
        told["weights"] = _without_place(str(made["weights"]))
    if card.split:
        told["images"] = dict(card.split.images)
    return {"data": _without_place(str(made["data"])), **told}


def _without_place(source: str) -> str:
    """Return what images or weights are called: of a path or an address its last part, without what signs it; other names and words whole.

    The text alone decides, for the path may be one of another machine.
    """
    if _ON_THE_HUB.fullmatch(source):
        return shown(source)
    text = source.removeprefix("hf:")
    if "://" in text:  # before the host may stand a password, and the query may be one
        scheme, _, address = text.partition("://")
        text = re.split("[?#]", address)[0].partition("/")[2] or scheme
    parts = [part for part in re.split(r"[/\\]", text) if part not in ("", ".")]
    return shown(parts[-1]) if parts else ""


def _accuracy(card: ModelCard) -> dict[str, Any] | None:
    """Return the share of right answers with Wilson's 95 % interval, and on what it was measured, where it was."""
    found = tested(card.metrics)
    if found is None or not found[1]:
        return None
    part, images, share = found
    return {**asdict(share), "images": images, "part": part}
