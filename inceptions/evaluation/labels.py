"""Whose name means whose class: enters the classes of models and of images, leaves one list of classes, and labels that are places in it.

Classes are matched by name; folders of ImageNet, which are named by WordNet ids, by the place of the id among its thousand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inceptions.data.imagenet import imagenet_ids, is_wordnet_id
from inceptions.data.splits import Sample, list_names
from inceptions.errors import UserError
from inceptions.weights.card import ModelCard
from inceptions.weights.tags import class_names, get_tag

BACKGROUND = "background"  # TensorFlow's class 0, which no image is of


def common_classes(cards: Mapping[str, ModelCard]) -> tuple[str, ...]:
    """Return the class names that all models tell apart, in the first one's order; only "background" may be missing from some.

    Raises UserError that names what differs.
    """
    (first, card), *others = cards.items()
    if not card.classes:
        raise UserError(f"{first} ends in features and has no classes; evaluate needs a classifier")
    for name, other in others:
        differing = sorted((set(card.classes) ^ set(other.classes)) - {BACKGROUND})
        if differing:
            raise UserError(f"{first} and {name} differ in their classes ({list_names(differing)}); average models of the same classes")
    everywhere = set(card.classes).intersection(*(other.classes for _, other in others))
    return tuple(name for name in card.classes if name in everywhere)


def match_labels(samples: Sequence[Sample], names: Sequence[str], classes: tuple[str, ...]) -> tuple[list[Sample], list[str]]:
    """Return the samples whose class the model knows, with labels that are places in `classes`; and what there is to say of the others.

    names: of the labels that the samples come with. Raises UserError when none of them is known.
    """
    place, notes = _place_names(names, classes)
    unknown = [name for name in names if name not in place]
    if len(unknown) == len(names):
        theirs, ours = list_names(names, 3), list_names(classes, 3)
        raise UserError(f"no class of the images ({theirs}) is one of the model's ({ours}); names must be the same")
    kept = [Sample(sample.path, place[names[sample.label]]) for sample in samples if names[sample.label] in place]
    if unknown:
        notes.append(f"left out, for the model doesn't know their class: {len(samples) - len(kept)} images of {list_names(unknown)}")
    seen = {sample.label for sample in kept}
    absent = [name for number, name in enumerate(classes) if number not in seen and name != BACKGROUND]
    if absent:
        notes.append(f"no images of {len(absent)} of the model's {len(classes)} classes: {list_names(absent)}")
    return kept, notes


def _place_names(names: Sequence[str], classes: tuple[str, ...]) -> tuple[dict[str, int], list[str]]:
    """Return the place among `classes` of the names that are known, and a note if they are known by WordNet id."""
    place = {name: number for number, name in enumerate(classes)}
    if any(name in place for name in names) or not all(map(is_wordnet_id, names)):
        return place, []
    real = [number for number, name in enumerate(classes) if name != BACKGROUND]
    if [classes[number] for number in real] != list(class_names(get_tag("inception_v3.torchvision_in1k"))):
        return place, []
    by_id = dict(zip(imagenet_ids(), real, strict=True))
    known = [name for name in names if name in by_id]
    return by_id, [f"classes are matched by WordNet id: {name} is {classes[by_id[name]]}" for name in known[:1]]
