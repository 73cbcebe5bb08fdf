"""What people want to know of a model: enters its folder, leaves JSON's types: trained on what, how often right, what for what.

The page shows it, of a server and without one. What isn't known is None: an error that was not measured, mistakes of a model whose run
folder isn't there. Needs no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inceptions.data.folders import name_source
from inceptions.evaluation.interval import wilson
from inceptions.extras import missing_modules
from inceptions.names import shown
from inceptions.weights.card import ModelCard, read_card

CONFUSIONS = "confusions"  # in the provenance of a model whose run folder stayed behind
MOST_CONFUSIONS = 5
_PREDICTIONS = "predictions.parquet"  # of a run folder: the test of its best model


def describe_model(folder: Path, name: str) -> dict[str, Any]:
    """Return what is known of the model in `folder`, called `name`.

    Raises ModelFolderError where it is no model folder.
    """
    card = read_card(folder)
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
        "confusions": card.provenance.get(CONFUSIONS) or _confusions(folder),
        "preprocess": card.preprocess.to_dict(),
        "licence": card.licence,
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
        told["images"] = card.split.images.get("train")
    path = Path(str(made["data"]))
    return {"data": path.name if path.is_absolute() else shown(made["data"]), **told}


def _accuracy(card: ModelCard) -> dict[str, Any] | None:
    """Return the share of right answers with Wilson's 95 % interval, and on what it was measured, where it was."""
    part = next((name for name in ("test", "val") if card.metrics.get(f"{name}_images")), None)
    if part is None or f"{part}_accuracy" not in card.metrics:
        return None
    images = int(card.metrics[f"{part}_images"])
    return {**asdict(wilson(round(card.metrics[f"{part}_accuracy"] * images), images)), "images": images, "part": part}


def _confusions(folder: Path) -> list[dict[str, Any]] | None:
    """Return the commonest mistakes in the test of a run's best model, where the run folder has it."""
    file = folder.resolve().parent / _PREDICTIONS
    if folder.resolve().name != "best" or not file.is_file() or missing_modules("pyarrow"):
        return None
    from pyarrow import parquet

    with file.open("rb") as content:
        table = parquet.read_table(content, columns=["models", "true", "predicted"])
    if len(set(table["models"].to_pylist())) != 1:
        return None
    return commonest_mistakes(zip(table["true"].to_pylist(), table["predicted"].to_pylist(), strict=True))


def commonest_mistakes(pairs: Iterable[tuple[str | None, str | None]]) -> list[dict[str, Any]]:
    """Return what was taken for what and how often, the commonest first, of the true and the predicted name of each image."""
    counts = Counter(pair for pair in pairs if pair[0] != pair[1] and None not in pair)
    return [{"truth": truth, "predicted": said, "count": count} for (truth, said), count in counts.most_common(MOST_CONFUSIONS)]
