"""What a server says of a model: enters a version, leaves what stands in `GET /v1/models` and `GET /v1/models/NAME`."""

from __future__ import annotations

from typing import Any

from inceptions.inference.about import describe_model, summarise_model
from inceptions.serving.models import Version


def summarise(name: str, version: Version) -> dict[str, Any]:
    """Return what stands in the list of all models."""
    return {**summarise_model(version.card, name), "version": version.name}


def describe(name: str, version: Version) -> dict[str, Any]:
    """Return all that is said of a model: its classes, what it was trained on, how often it is right, what it takes for what."""
    about = {name: version.process.about[name] for name in ("engine", "precision")}
    return {**describe_model(version.card, name), "version": version.name, **about}
