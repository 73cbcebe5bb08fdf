"""What a model folder says of its weights: the network, its numerics, how images are prepared, which class is which. No torch.

Enters the JSON of a model folder, leaves a `ModelCard`, every key checked.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inceptions.data.preprocess import Preprocess
from inceptions.data.splits import SplitRecord, require_different
from inceptions.errors import DataError, ModelFolderError, UserError
from inceptions.json_text import to_json
from inceptions.networks.codec import decode_network, encode
from inceptions.networks.spec import Network, NetworkError

SCHEMA_VERSION = 1
CARD_NAME = "model.json"
WEIGHTS_NAME = "model.safetensors"
COLDEST, HOTTEST = 0.05, 20.0  # temperatures that a card may have


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Everything about a set of weights but the numbers.

    classes: names, all different, in the order of the outputs; empty for an embedding. sha256: of the weights file.
    provenance: where the weights come from; metrics: what was measured on them, by name.
    confusions: the commonest ones of the test, as true class, predicted class and how often; None where they aren't known.
    split: which images they were trained on, and how these were divided; None where it isn't known.
    temperature: what the logits are divided by, so that the network is as sure as it is right; the weights file has them undivided.
    """

    network: Network
    preprocess: Preprocess
    classes: tuple[str, ...]
    task: str = "classification"
    licence: str | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    confusions: tuple[tuple[str, str, int], ...] | None = None
    sha256: str = ""
    split: SplitRecord | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.classes and len(self.classes) != self.network.classes:
            raise ModelFolderError(f"{len(self.classes)} class names were given for a network with {self.network.classes} outputs")
        try:
            require_different(self.classes)
        except DataError as error:
            raise ModelFolderError(str(error)) from None
        if not COLDEST <= self.temperature <= HOTTEST:
            raise ModelFolderError(f"temperature is {self.temperature}; it must be a number from {COLDEST:g} to {HOTTEST:g}")
        if self.temperature != 1 and not self.network.classes:
            raise ModelFolderError(f"temperature is {self.temperature}, and a network without classes has no logits; leave it out")

    def to_json(self) -> str:
        """Return the text of `model.json`; numerics stand apart from the network, for they belong to the weights."""
        network = encode(self.network)
        numerics = network.pop("numerics", {"type": "Numerics"})
        data = {
            "schema_version": SCHEMA_VERSION,
            "task": self.task,
            "licence": self.licence,
            "classes": list(self.classes),
            "preprocess": self.preprocess.to_dict(),
            "numerics": numerics,
            "metrics": self.metrics,
            **({"confusions": [list(row) for row in self.confusions]} if self.confusions is not None else {}),
            **({"temperature": self.temperature} if self.temperature != 1 else {}),
            "provenance": self.provenance,
            **({"split": self.split.to_dict()} if self.split else {}),
            "sha256": self.sha256,
            "network": network,
        }
        return to_json(data) + "\n"


def read_card(folder: Path) -> ModelCard:
    """Return the card of a model folder.

    Raises ModelFolderError: no such folder, no card in it, a card of a newer schema, or a key that is missing or wrong.
    """
    path = folder / CARD_NAME
    if not path.is_file():
        inside = " (a run folder? its models are in best and last)" if (folder / "best" / CARD_NAME).is_file() else ""
        reason = f"there is no {CARD_NAME} in it{inside}" if folder.is_dir() else "there is no such folder"
        raise ModelFolderError(f"{folder} is not a model folder: {reason}; give a folder with the model of a run, or of a conversion")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelFolderError(f"{path} can't be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path} is not valid JSON ({error})") from None
    try:
        return _card(data)
    except (NetworkError, UserError) as error:
        raise ModelFolderError(f"{path}: {error}") from None
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:  # of values that nobody writes
        raise ModelFolderError(f"{path} is damaged ({type(error).__name__}: {error}); take it anew from where the model is from") from None


def _card(data: Any) -> ModelCard:
    if not isinstance(data, dict):
        raise ModelFolderError("it must hold one JSON object")
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ModelFolderError(f"schema_version is {version!r}; this version of inceptions reads {SCHEMA_VERSION}")
    network = decode_network({**_get(data, "network", dict), "numerics": _get(data, "numerics", dict)})
    classes = _get(data, "classes", list)
    if not all(isinstance(name, str) for name in classes):
        raise ModelFolderError("classes must be a list of names")
    return ModelCard(
        network=network,
        preprocess=Preprocess.from_dict(_get(data, "preprocess", dict)),
        classes=tuple(classes),
        task=_get(data, "task", str),
        licence=data.get("licence"),
        provenance=_get(data, "provenance", dict),
        metrics=_get(data, "metrics", dict),
        confusions=_confusions(data["confusions"]) if data.get("confusions") is not None else None,
        sha256=_get(data, "sha256", str),
        split=SplitRecord.from_dict(data["split"]) if data.get("split") is not None else None,
        temperature=_temperature(data.get("temperature", 1.0)),
    )


def _temperature(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ModelFolderError(f"temperature is {value!r}; it must be a number from {COLDEST:g} to {HOTTEST:g}")
    return float(value)


def _confusions(rows: Any) -> tuple[tuple[str, str, int], ...]:
    kinds = [[type(value) for value in row] if isinstance(row, list) else [] for row in rows] if isinstance(rows, list) else [[]]
    if any(kind != [str, str, int] for kind in kinds):
        raise ModelFolderError("confusions must be a list of [true class, predicted class, how often]")
    return tuple((true, predicted, count) for true, predicted, count in rows)


def _get(data: dict[str, Any], key: str, kind: type) -> Any:
    if key not in data:
        raise ModelFolderError(f"the key {key!r} is missing")
    if not isinstance(data[key], kind):
        raise ModelFolderError(f"{key} is {data[key]!r}; it must be of JSON type {kind.__name__}")
    return data[key]
