"""Samples in three parts: enters pictures with the names of their classes, leaves `Splits`, and remarks for the person on what was decided.

Of what isn't divided yet, a tenth of each class becomes val, and as much test. Where a picture goes depends on the seed and on its own
name, by a hash, not on a library's random numbers: a split is the same on every machine, and adding pictures moves hardly any others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from inceptions.data.stored import Stored
from inceptions.errors import DataError, UserError
from inceptions.names import shown

VAL_SHARE = TEST_SHARE = 0.1  # of the pictures of each class
FEW_IMAGES = 10  # a class with fewer can't be split 80/10/10
PART_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test"}

T = TypeVar("T")


class Sample(NamedTuple):
    """A picture, in a file or stored otherwise, and the number of its class."""

    path: Path | Stored
    label: int


class Labelled(NamedTuple):
    """A picture, the name of its class, and what names it within its data set, on every machine."""

    path: Path | Stored
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class SplitRecord:
    """How the images that a model was trained on were divided, and by what they are known again: a part of its model folder.

    seed: of what was set aside. fingerprint: of all images. images: how many are in train, val and test. source: as it was given.
    """

    seed: int
    fingerprint: str
    images: dict[str, int]
    source: str

    def trained_on(self, splits: Splits) -> frozenset[Sample]:
        """Return the samples that training has seen, of these images divided by this seed; val may have been trained on too."""
        return frozenset((*splits.train, *(() if self.images["val"] else splits.val)))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON keeps."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Return what `to_dict` gave. Raises UserError that says what is allowed."""
        kinds = {"seed": int, "fingerprint": str, "images": dict, "source": str}
        fits = isinstance(values, dict) and set(kinds) <= set(values) and all(isinstance(values[key], kind) for key, kind in kinds.items())
        if not fits or {*values["images"]} != {"train", "val", "test"} or not all(isinstance(n, int) for n in values["images"].values()):
            raise UserError(f"split is {values!r}; it must have a seed, a fingerprint, images (of train, val and test), and a source")
        return cls(**{key: values[key] for key in kinds})


@dataclass(frozen=True)
class Splits:
    """What to learn from, choose by and test on.

    classes: names, sorted or in the data set's own order; a label is a place in it.
    test, val: may be empty; `notes` then says so.
    notes: one-line remarks for the person, on what was left out or decided.
    mirror: whether a mirror image is of the same class.
    set_aside: the parts that were not given but taken from train, by `seed`.
    fingerprint: of all images, as `fingerprint` gives it, before any were left out.
    interleaved: of shards behind a URL, how many a shuffled epoch is in at a time.
    """

    classes: tuple[str, ...]
    train: Sequence[Sample]
    val: Sequence[Sample]
    test: Sequence[Sample]
    notes: tuple[str, ...] = ()
    mirror: bool = True
    set_aside: tuple[str, ...] = ()
    seed: int = 0
    fingerprint: str = ""
    interleaved: int = 1

    @property
    def parts(self) -> dict[str, Sequence[Sample]]:
        """The samples of each part by its name: train, val, test."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def record(self, source: str) -> SplitRecord:
        """Return what a model that is trained on these keeps of them; source: the data as it was given."""
        images = {name: len(part) for name, part in self.parts.items()}
        return SplitRecord(self.seed, self.fingerprint or fingerprint(self), images, source)


def split_labelled(
    parts: Mapping[str, Sequence[Labelled]], *, source: str, seed: int, classes: Sequence[str] | None = None, kind: str = "part"
) -> Splits:
    """Return the parts as they are; val, and test where neither is given, are taken from train.

    classes: all names, in order; by default those in train, sorted, by value where all are numbers. kind: what notes call a part.

    Raises DataError: no picture to learn from, one class only, or a class that train doesn't have.
    """
    train = parts.get("train", ())
    if not train:
        raise DataError(f"{source}: no pictures to train on; give some that are marked train")
    names = sort_names({item.name for item in train}) if classes is None else tuple(classes)
    if len({item.name for item in train}) < 2:
        raise DataError(f"{source}: one class only ({train[0].name}), where two are needed; add another")
    require_different(names)
    given = {part: items for part, items in parts.items() if part != "train" and items}
    shares = _find_shares(given)
    by_class = _group(train)
    made: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    for number, name in enumerate(names):
        for part, items in divide(by_class.get(name, ()), shares, key=lambda item: item.key, seed=seed).items():
            made[part] += [Sample(item.path, number) for item in items]
    for part, items in given.items():
        made[part] = _number(items, names, f"{source}: {part}")
    notes = [*_note_shares({name: len(items) for name, items in by_class.items()}, shares, seed=seed, kind=kind)]
    notes += [note for part, items in parts.items() if items for note in _note_missing(names, items, f"{source}: {part}")]
    notes += _note_empty(made)
    return Splits(names, tuple(made["train"]), tuple(made["val"]), tuple(made["test"]), tuple(notes), set_aside=tuple(shares))


def _find_shares(given: Iterable[str]) -> dict[str, float]:
    """Return the shares of the parts that are to be taken from train, when those in `given` are there. Where val is, test isn't made up."""
    given = set(given)
    shares = {} if "val" in given else {"val": VAL_SHARE}
    return shares if given else {**shares, "test": TEST_SHARE}


def divide(items: Sequence[T], shares: Mapping[str, float], *, key: Callable[[T], str], seed: int) -> dict[str, list[T]]:
    """Return items by part, in the order they came: each share rounded, but at least one as long as one is left to learn from."""
    if not shares:
        return {"train": list(items)}
    order = sorted(range(len(items)), key=lambda place: hash_key(key(items[place]), seed=seed))
    parts = {}
    for part, share in shares.items():  # val comes first: of two pictures, one is to choose by
        count = min(max(1, round(share * len(items))), len(order) - 1)
        parts[part], order = [items[place] for place in sorted(order[:count])], order[count:]
    return {**parts, "train": [items[place] for place in sorted(order)]}


def hash_key(key: str, *, seed: int) -> bytes:
    """Return what decides the place of `key` in a random order."""
    return blake2b(f"{seed}/{key}".replace(os.sep, "/").encode(errors="surrogateescape")).digest()


def fingerprint(splits: Splits) -> str:
    """Return a hash of the names and classes of all images, whatever the seed that divided them, and of the parts that were given.

    Names begin in the folder that all of them are in, so that it may be moved.
    """
    kinds = {part: "" if part == "train" or part in splits.set_aside else part for part in splits.parts}
    found = [(kinds[part], sample) for part, samples in splits.parts.items() for sample in samples]
    keys = name_within([sample for _, sample in found])
    lines = sorted(f"{key}\t{sample.label}\t{kind}\n" for key, (kind, sample) in zip(keys, found, strict=True))
    return sha256("".join([*(f"{name}\n" for name in splits.classes), *lines]).encode(errors="surrogateescape")).hexdigest()


def name_within(samples: Sequence[Sample]) -> list[str]:
    """Return what names each picture within the folder, or whatever else it is, that all of them are in."""
    if not samples:
        return []
    here = Path.cwd()
    names = [_absolute(sample.path, here) for sample in samples]
    shared = os.path.commonpath([min(names), max(names)])  # "" of shards that were given by their names alone
    return [name[len(shared) :].replace(os.sep, "/").removeprefix("/") for name in names]


def _absolute(path: Path | Stored, here: Path) -> str:
    return os.path.join(here, path) if isinstance(path, Path) else str(path)  # noqa: PTH118 - ten times as fast as Path


def sort_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of classes in order: by value where all are whole numbers, else by letters."""
    found = set(names)
    if all(name.isascii() and name.removeprefix("-").isdigit() for name in found):
        return tuple(sorted(found, key=lambda name: (int(name), name)))
    return tuple(sorted(found))


def require_different(names: Sequence[str]) -> None:
    """Raise DataError when two classes have the same name: they could not be told apart in any answer."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    twice = {name: numbers for name, numbers in places.items() if len(numbers) > 1}
    if twice:
        name, numbers = next(iter(twice.items()))
        more = f", and {len(twice) - 1} more so" if len(twice) > 1 else ""
        raise DataError(f"classes {list_names(map(str, numbers))} are all called {name!r}{more}; give each class a name of its own")


def _note_shares(counts: Mapping[str, int], shares: Mapping[str, float], *, seed: int, kind: str) -> Iterable[str]:
    """Yield what was set aside of classes with so many pictures, for there was no such `kind` ("folder") of them."""
    if not shares:
        return
    names, aims = " and no ".join(shares), " and as much for ".join(shares)
    yield f"no {names} {kind}: of each class {VAL_SHARE:.0%} set aside for {aims}, by seed {seed}"
    few = [name for name, count in counts.items() if count < FEW_IMAGES]
    if few:
        yield f"classes with fewer than {FEW_IMAGES} pictures, of which one or none is set aside: {list_names(few)}"


def _note_empty(parts: Mapping[str, Sequence[Sample]]) -> list[str]:
    """Return what it means that parts are empty."""
    if parts["test"]:
        return [] if parts["val"] else ["no validation images, so the last epoch counts as the best"]
    if parts["val"]:
        return ["no test images; the accuracy on validation, by which the best epoch is chosen, is a little too good"]
    return ["neither validation nor test images, so the accuracy is that on the training images, and much too good"]


def list_names(names: Iterable[str], most: int = 8) -> str:
    """Return the names for a message: the first few, as they can be shown, and how many more."""
    found = list(names)
    return ", ".join(map(shown, found[:most])) + (f" and {len(found) - most} more" if len(found) > most else "")


def _group(items: Iterable[Labelled]) -> dict[str, list[Labelled]]:
    groups: dict[str, list[Labelled]] = {}
    for item in items:
        groups.setdefault(item.name, []).append(item)
    return groups


def _number(items: Sequence[Labelled], names: Sequence[str], where: str) -> list[Sample]:
    numbers = {name: number for number, name in enumerate(names)}
    extra = sort_names({item.name for item in items} - set(numbers))
    if extra:
        raise DataError(f"{where}: classes that train doesn't have: {list_names(extra)}; add them to train or remove them here")
    return [Sample(item.path, numbers[item.name]) for item in items]


def _note_missing(names: Sequence[str], items: Iterable[Labelled], where: str) -> Iterable[str]:
    found = {item.name for item in items}
    missing = [name for name in names if name not in found]
    if missing:
        yield f"{where}: no pictures of {len(missing)} of {len(names)} classes: {list_names(missing)}"
