"""How good models are, in one call: enters models and labelled pictures wherever they are, leaves a row for each of what was compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from inceptions.data.folders import load_splits
from inceptions.data.in_memory import Given, find_pictures, hold
from inceptions.data.splits import Sample, sort_names
from inceptions.data.transfer import Progress
from inceptions.devices import pick_device
from inceptions.errors import UserError
from inceptions.evaluation.evaluate import Evaluation
from inceptions.evaluation.evaluate import evaluate as evaluate_samples
from inceptions.evaluation.measured import Part, choose_images
from inceptions.evaluation.score import Score
from inceptions.inference.predict import EngineModel, open_model
from inceptions.weights.card import read_card
from inceptions.weights.folder import LoadedModel, load_model
from inceptions.weights.locate import find_model

Model = LoadedModel | str | Path


def evaluate(
    models: Model | Sequence[Model] | Mapping[str, Model],
    data: str | Path | Iterable[tuple[Given, str]],
    *,
    crops: int | Sequence[int] = 1,
    protocol: str = "model",
    part: Part = "auto",
    split_seed: int | None = None,
    batch_size: int = 64,
    workers: int | None = None,
    engine: str | None = None,
    device: str | None = None,
    most_lost: float | None = None,
) -> Evaluation[Score]:
    """Return how models do on labelled images: each alone, then averaged; `rows[0].score.accuracy` is that of the first.

    models: one or several folders, tags, or what `load_model` returned; a mapping gives them names.
    data: what `load_splits` takes, of which `part` is measured as `inceptions evaluate` does; or pairs of a picture (file, picture of
    Pillow's, or array (H, W, 3) of uint8) and the name of its class, all of which are measured.
    crops: 1, 2, 6, 10, 12 or 144, or several of them, 2 and 6 not beside the last three. protocol: how one crop is taken.
    engine: what runs the models, as `predict` takes it; None is torch in float32, and of a quantised model what runs its integers.
    most_lost: of early exits, as `inceptions exits` found them for so many points of accuracy; None goes through the whole networks.
    device: such as "cuda"; None is an accelerator, if there is one.
    split_seed, workers: None takes the models' own, and lets the machine decide.

    Raises UserError: no such model or data, classes that don't agree, no images of the part.
    """
    named = _load(models, engine=engine, device=device, most_lost=most_lost)
    notes: tuple[str, ...] = ()
    if isinstance(data, str | Path):
        cards = {name: model.card for name, model in named.items()}
        measured = choose_images(str(data), load_splits(data, seed=split_seed or 0), cards, part=part, split_seed=split_seed)
        samples, names, notes = measured.samples, measured.classes, measured.notes
    else:
        samples, names = _label(data)
    numbers = (crops,) if isinstance(crops, int) else tuple(crops)
    found = evaluate_samples(
        named, samples, names, crops=numbers, protocol=protocol, batch_size=batch_size, workers=workers, device=pick_device(device)
    )
    return replace(found, notes=(*notes, *found.notes))


def _load(models: Model | Sequence[Model] | Mapping[str, Model], **how: Any) -> dict[str, LoadedModel | EngineModel]:
    if isinstance(models, Mapping):
        return {name: load_for(model, **how) for name, model in models.items()}
    named: dict[str, LoadedModel | EngineModel] = {}
    for model in [models] if isinstance(models, str | Path | LoadedModel) else models:
        loaded = load_for(model, **how)
        name = loaded.card.network.name if isinstance(model, LoadedModel) else str(model)
        named[name if name not in named else f"{name} {len(named) + 1}"] = loaded
    if not named:
        raise UserError("no models given; give a folder, a tag or a loaded model, or several")
    return named


def load_for(
    model: Model,
    *,
    engine: str | None = None,
    device: str | None = None,
    most_lost: float | None = None,
    calibrated: bool = True,
    progress: Progress | None = None,
) -> LoadedModel | EngineModel:
    """Return a model as `evaluation.evaluate` takes it: its module, which torch runs in float32, or an engine that runs it.

    engine: None is torch, and of a quantised model what runs its integers, for these are what is to be measured.
    most_lost: of early exits, as `open_early_exit` takes it. calibrated: with logits divided by the temperature of the card; not so,
    of a folder or tag that torch runs whole.
    """
    if not calibrated:
        if isinstance(model, LoadedModel) or engine not in (None, "torch") or most_lost is not None:
            raise UserError("without its temperature a whole network is measured that torch runs, from a folder or tag; leave out the rest")
        return load_model(find_model(model, progress=progress), calibrated=False)
    if most_lost is not None:
        folder = model if isinstance(model, LoadedModel) else find_model(model, progress=progress)
        return EngineModel(*open_model(folder, engine=engine or "torch", device=device, most_lost=most_lost))
    if isinstance(model, LoadedModel):
        return model if engine in (None, "torch") else EngineModel(*open_model(model, engine=engine, device=device))
    folder = find_model(model, progress=progress)
    if engine is None:
        engine = "torch" if read_card(folder).provenance.get("int8") is None else "openvino"
    return load_model(folder) if engine == "torch" else EngineModel(*open_model(folder, engine=engine, device=device))


def _label(pairs: Iterable[tuple[Given, str]]) -> tuple[list[Sample], tuple[str, ...]]:
    """Return samples of the pairs, and the names that their labels are places in."""
    found = []
    for place, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise UserError(f"data {place} is a {type(pair).__name__}; give a folder, or pairs of a picture and the name of its class")
        image, name = pair
        pictures = find_pictures(image) if isinstance(image, str | Path) else [hold(image, f"image {place}")]
        found += [(picture, str(name)) for picture in pictures]
    if not found:
        raise UserError("no images given; give a folder, or pairs of a picture and the name of its class")
    names = sort_names({name for _, name in found})
    return [Sample(picture, names.index(name)) for picture, name in found], names
