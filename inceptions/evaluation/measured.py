"""Which images models are measured on: enters a data set and the models' cards, leaves those that none was trained on.

A model folder keeps how the images of its training were divided (`SplitRecord`). Of the same images, its own test part is held out; where
that can't be known, the notes say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from inceptions.data.folders import load_splits, name_source
from inceptions.data.splits import PART_NAMES, Sample, Splits, list_names
from inceptions.errors import UserError
from inceptions.files import expand_home
from inceptions.weights.card import ModelCard

Part = Literal["auto", "test", "val", "train", "all"]


@dataclass(frozen=True, slots=True)
class Measured:
    """The images that models are measured on.

    part: "train", "val", "test" or "all"; split_seeds: by which its images were set aside, none where the part was given or is all.
    samples, of `total` images in all parts; classes: the names that their labels are places in; none without labels.
    trained_on: how many of the samples each model was trained on, by its name; None where that isn't known.
    notes: what there is to say of that, a sentence each.
    """

    part: str
    split_seeds: tuple[int, ...]
    samples: tuple[Sample, ...]
    total: int
    classes: tuple[str, ...]
    trained_on: dict[str, int | None]
    notes: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """The images in words, such as "100 test images of 1,000, set aside by seed 0"."""
        if self.part == "all":
            return f"all {len(self.samples):,} images"
        by = f"set aside by {_seeds(self.split_seeds)}" if self.split_seeds else "given as such"
        return f"{len(self.samples):,} {self.part} images of {self.total:,}, {by}"

    def to_dict(self) -> dict[str, Any]:
        """Return what was measured in JSON's types."""
        return {
            "part": self.part,
            "images": len(self.samples),
            "of": self.total,
            "split_seeds": list(self.split_seeds),
            "trained_on": self.trained_on,
            "notes": list(self.notes),
        }


def choose_images(
    source: str, splits: Splits, cards: Mapping[str, ModelCard], *, part: Part = "auto", split_seed: int | None = None
) -> Measured:
    """Return the images of a data set that models, by name, are measured on; splits: as `load_splits` gives them of `source`.

    part: "auto" is the test part, for want of one val, for want of both all. Where test would have to be set aside here, it is that of the
    models that were trained on these images, or may have been; a folder called val or test, and one that no model comes from, is measured
    whole. split_seed: of what is set aside; None takes the models' own, and images that are in the part of every model.

    Raises UserError: no images of the part, or none that is in it for every model.
    """
    records = {name: card.split for name, card in cards.items() if card.split}
    same = {name: record for name, record in records.items() if record.fingerprint == splits.fingerprint}
    near = {name: record for name, record in records.items() if name not in same and _is_near(record.source, source)}
    if part == "auto":
        may_have_seen = bool(near) or any(_made_unrecorded(card) for card in cards.values())
        whole = "test" in splits.set_aside and not same and (_is_held_out(source) or not may_have_seen)
        part = "all" if whole else _first(splits)
    own = {record.seed for record in (same or near).values()} or {splits.seed}
    seeds = tuple(sorted(own if split_seed is None else {split_seed})) if _is_divided(splits, part) else ()
    others = {*seeds, *(record.seed for record in same.values())} - {splits.seed}
    divided = {splits.seed: splits, **{seed: load_splits(source, seed=seed) for seed in others}}
    samples = _common(splits, part, [divided[seed] for seed in seeds])
    if not samples:
        raise UserError(_nothing(splits, part, seeds))
    trained = {name: record.trained_on(divided[record.seed]) for name, record in same.items()}
    trained_on = {name: sum(sample in trained[name] for sample in samples) if name in trained else None for name in cards}
    total, notes = sum(map(len, splits.parts.values())), tuple(_notes(cards, trained_on, part, seeds))
    return Measured(part, seeds, samples, total, splits.classes, trained_on, notes)


def _is_divided(splits: Splits, part: str) -> bool:
    """Whether it depends on a seed which images are in the part."""
    return part in splits.set_aside or (part == "train" and bool(splits.set_aside))


def _is_near(source: str, other: str) -> bool:
    """Whether one source may hold images of the other: a folder of the same name, or one inside the other."""
    paths = [expand_home(text).resolve() for text in (source, other)]
    return name_source(source) in paths[1].parts or name_source(other) in paths[0].parts


def _is_held_out(source: str) -> bool:
    return PART_NAMES.get(expand_home(source).resolve().name.lower()) in ("val", "test")


def _made_unrecorded(card: ModelCard) -> bool:
    """Whether it was trained by a version of this package that kept no record of the split."""
    return card.split is None and card.provenance.get("made_by") == "inceptions train"


def _first(splits: Splits) -> Literal["test", "val", "all"]:
    return "test" if splits.test else "val" if splits.val else "all"


def _common(found: Splits, part: str, divided: Sequence[Splits]) -> tuple[Sample, ...]:
    """Return the samples that are in the part by every way to divide the images."""
    if part == "all":
        return (*found.train, *found.val, *found.test)
    first, *others = [splits.parts[part] for splits in divided] or [found.parts[part]]
    everywhere = set(first).intersection(*others)
    return tuple(sample for sample in first if sample in everywhere)


def _nothing(splits: Splits, part: str, seeds: Sequence[int]) -> str:
    if len(seeds) > 1:
        divided = f"the models' images were divided by {_seeds(seeds)}, and no image is in the {part} part of each"
        return f"{divided}; measure the models one by one, or on all images, or train them with one split seed"
    there = [f"{len(samples)} {name}" for name, samples in splits.parts.items() if samples]
    return f"there are no {part} images; there are {', '.join(there)}"


def _notes(cards: Mapping[str, ModelCard], trained_on: Mapping[str, int | None], part: str, seeds: Sequence[int]) -> list[str]:
    notes = [f"{name} was trained on {count:,} of these images" for name, count in trained_on.items() if count]
    if len(seeds) > 1:
        notes.append(f"the models' images were divided by {_seeds(seeds)}; these are in the {part} part of each")
    unknown = [name for name, count in trained_on.items() if count is None]
    silent = [name for name in unknown if cards[name].split is None]
    others = [name for name in unknown if cards[name].split is not None]
    if silent:
        notes.append(f"whether these images were trained on isn't known: the model folder doesn't say of {list_names(silent)}")
    if others:
        theirs = "other images, or these have changed since"
        notes.append(f"whether some of these images were trained on isn't known: {list_names(others)} was trained on {theirs}")
    return notes


def _seeds(seeds: Sequence[int]) -> str:
    return f"split seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
