"""Find pictures on disk: enters a folder, a pattern or the name of a built-in set, leaves samples in three parts, or paths.

Forms of a folder of pictures, where every class is a folder that is named for it:

    data/<class>/…                                 split 80/10/10 by seed, class by class
    data/train/<class>/…                           the same
    data/{train,test}/<class>/…                    a tenth of train becomes val
    data/{train,val}/<class>/…                     as they are; there is no test part
    data/{train,val,test}/<class>/…                as they are

Pictures in sub-folders of a class count. Names that begin with a dot, and `__MACOSX`, don't. Only names are read here, no picture.

A split depends on the seed and on each picture's name within the data folder, by a hash, not on a library's random numbers: it is the same
on every machine, and adding pictures moves hardly any others from part to part.
"""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from inceptions.data import digits
from inceptions.errors import DataError

IMAGE_SUFFIXES = frozenset(".jpg .jpeg .jfif .png .bmp .gif .webp .tif .tiff .ppm .pgm .pbm".split())
BUILT_IN = ("digits",)
VAL_PART = TEST_PART = 0.1  # of the pictures of a class

_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test"}
_FEW = 10  # a class with fewer pictures can't be split 80/10/10
_LAYOUT = "needed is one folder of pictures for each class, with or without train, val and test above them"


class Sample(NamedTuple):
    """A picture's file and the number of its class."""

    path: Path
    label: int


@dataclass(frozen=True)
class Splits:
    """What to learn from, choose by and test on.

    classes: names, sorted; a label is a place in it.
    test, val: may be empty; `notes` then says so.
    notes: one-line remarks for the person, on what was left out or decided.
    mirror: whether a mirror image is of the same class.
    """

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    notes: tuple[str, ...] = ()
    mirror: bool = True


@dataclass(frozen=True)
class _Listing:
    """Pictures below a folder, and what else was there."""

    images: tuple[Path, ...] = ()
    others: Counter[str] = field(default_factory=Counter)  # number of files that are no pictures by their suffix


@dataclass(frozen=True)
class _Part:
    """Class folders below one folder: names in order, with their pictures."""

    root: Path
    classes: dict[str, _Listing]
    stray: _Listing  # what lies beside the class folders


def load_splits(source: str | Path, *, seed: int = 0) -> Splits:
    """Return the parts of a built-in set (its name, as a string) or of a folder.

    `seed` decides only where pictures have to be split here; the module says when.

    Raises DataError for a source that is no folder, has no class folders, one class only, or a class without pictures.
    """
    if source == "digits":
        splits = _from_folder(digits.materialize(), seed)
        return replace(splits, notes=(digits.CREDIT, *splits.notes), mirror=False)
    if not str(source):
        raise DataError(f"no data given; give a folder or a built-in set ({', '.join(BUILT_IN)})")
    return _from_folder(Path(source).expanduser(), seed)


def find_images(source: str) -> list[Path]:
    """Return the image files that `source` means, sorted: a file, all below a folder, or a glob pattern (`**` for any depth).

    Raises DataError when there is none.
    """
    path = Path(source).expanduser()
    if not source:
        raise DataError("no image given; give a file, a folder or a pattern such as 'photos/**/*.jpg'")
    if path.is_dir():
        images = _list_images(path).images
        if not images:
            raise DataError(f"{source}: no image in this folder ({_suffixes()} are looked for); give another folder")
        return list(images)
    if path.is_file():
        return [path]
    if not any(sign in source for sign in "*?["):
        raise DataError(f"{source}: no such file or folder; check the name, or give a pattern such as 'photos/**/*.jpg'")
    images = _match(path)
    if not images:
        raise DataError(f"{source}: no image matches ({_suffixes()} are looked for); check the pattern")
    return images


def _match(pattern: Path) -> list[Path]:
    """Return the visible image files that match; pathlib's `**` doesn't follow links, so it can't run in circles."""
    root = Path(pattern.anchor) if pattern.anchor else Path()
    relative = pattern.relative_to(root)
    if relative.name == "**":
        relative = relative / "*"
    try:
        found = {path for path in root.glob(str(relative)) if _is_image(path.name) and not path.is_dir()}
    except ValueError as error:
        raise DataError(f"{pattern}: {error}; write '**' as a whole name between slashes") from None
    wanted = sum(part.startswith(".") for part in relative.parts)
    return sorted(path for path in found if sum(part.startswith(".") for part in path.relative_to(root).parts) <= wanted)


def _from_folder(root: Path, seed: int) -> Splits:
    _check_folder(root)
    folders, _ = _scan(root)
    parts = _split_folders(root, folders)
    if parts is None:
        return _split_here(_read_part(root, folders), {}, seed)
    if "train" not in parts:
        raise DataError(f"{root}: has {_names(folders)} but no train folder to learn from; {_LAYOUT}")
    read = {name: _read_part(path, _scan(path)[0]) for name, path in parts.items()}
    ignored = [path.name for path in folders if path not in parts.values()]
    note = (f"left out beside the train folder: {_names(ignored)}",) if ignored else ()
    splits = _split_here(read.pop("train"), read, seed)
    return replace(splits, notes=note + splits.notes)


def _split_folders(root: Path, folders: Sequence[Path]) -> dict[str, Path] | None:
    """Return the folders of the parts by their plain names, or None where the folders are classes.

    A class may be called "train": beside folders that are no parts, `train` is one only if it has folders itself and no picture.
    """
    named: dict[str, Path] = {}
    for folder in folders:
        part = _SPLITS.get(folder.name.lower())
        if part in named:
            raise DataError(f"{root}: both {named[part].name} and {folder.name} mean the {part} part; keep one of them")
        if part:
            named[part] = folder
    if not named or len(named) == len(folders):
        return named or None
    if "train" not in named:
        return None
    inside, files = _scan(named["train"])
    return named if inside and not any(_is_image(path.name) for path in files) else None


def _read_part(root: Path, folders: Sequence[Path]) -> _Part:
    _, files = _scan(root)
    return _Part(root, {folder.name: _list_images(folder) for folder in folders}, _listing(files))


def _split_here(train: _Part, given: dict[str, _Part], seed: int) -> Splits:
    """Return the parts, of which those that are not given are taken from `train`."""
    _check_classes(train)
    classes = tuple(train.classes)
    notes = [*_note_others([train, *given.values()])]
    fixed = {name: _samples(part, classes, notes, name) for name, part in given.items()}
    shares = {"test": 0.0 if given else TEST_PART, "val": 0.0 if "val" in given else VAL_PART}
    taken = {"train": [], "val": [], "test": []}
    for label, name in enumerate(classes):
        for part, paths in _divide(train.classes[name].images, train.root, shares, seed).items():
            taken[part] += [Sample(path, label) for path in paths]
    return Splits(
        classes=classes,
        train=tuple(taken["train"]),
        val=fixed.get("val", tuple(taken["val"])),
        test=fixed.get("test", tuple(taken["test"])),
        notes=(*notes, *_note_shares(train, shares, seed)),
    )


def _divide(images: Sequence[Path], root: Path, shares: dict[str, float], seed: int) -> dict[str, list[Path]]:
    """Return one class's pictures by part: each share rounded but at least one, as long as one is left to learn from; all sorted."""
    left = sorted(images, key=lambda path: _rank(path, root, seed)) if any(shares.values()) else list(images)
    total, parts = len(left), {}
    for part, share in sorted(shares.items(), reverse=True):  # val first: of two pictures, one is to choose by
        count = min(max(1, round(share * total)), len(left) - 1) if share else 0
        parts[part], left = sorted(left[:count]), left[count:]
    return {**parts, "train": sorted(left)}


def _rank(path: Path, root: Path, seed: int) -> bytes:
    return blake2b(f"{seed}/{path.relative_to(root).as_posix()}".encode(errors="surrogateescape"), digest_size=8).digest()


def _samples(part: _Part, classes: tuple[str, ...], notes: list[str], name: str) -> tuple[Sample, ...]:
    """Return the samples of a part that has its own folder; adds to `notes` the classes that it lacks."""
    extra = [found for found, listing in part.classes.items() if found not in classes and listing.images]
    if extra:
        raise DataError(f"{part.root}: classes that train hasn't: {_names(extra)}; remove them here or add them to train")
    labels = {found: label for label, found in enumerate(classes)}
    samples = tuple(Sample(path, labels[found]) for found, listing in part.classes.items() for path in listing.images)
    if not samples:
        raise DataError(f"{part.root}: no pictures in class folders; {_LAYOUT}; or remove this folder")
    missing = [found for found in classes if found not in part.classes or not part.classes[found].images]
    if missing:
        notes.append(f"no pictures in {name} of {len(missing)} of {len(classes)} classes: {_names(missing)}")
    return samples


def _check_folder(root: Path) -> None:
    if root.is_dir():
        return
    if root.exists():
        raise DataError(f"{root}: a file, where a folder is needed; {_LAYOUT}")
    close = difflib.get_close_matches(str(root).lower(), BUILT_IN, n=1)
    if close:
        raise DataError(f"{root}: no such folder; did you mean the built-in set '{close[0]}'?")
    raise DataError(f"{root}: no such folder; check the name, or take a built-in set ({', '.join(BUILT_IN)})")


def _check_classes(part: _Part) -> None:
    root = part.root
    if not part.classes and part.stray.images:
        raise DataError(f"{root}: {len(part.stray.images)} pictures but no class folders; {_LAYOUT}")
    if not part.classes:
        raise DataError(f"{root}: no pictures in it; {_LAYOUT}")
    empty = [name for name, listing in part.classes.items() if not listing.images]
    if len(empty) == len(part.classes):
        raise DataError(f"{root}: no pictures in its folders ({_names(empty)}); {_LAYOUT} ({_suffixes()})")
    if empty:
        raise DataError(f"{root}: no pictures in {_names(empty)}; add some ({_suffixes()}) or remove the folder")
    if len(part.classes) == 1:
        raise DataError(f"{root}: one class only ({_names(part.classes)}), where at least two are needed; add a folder for another class")


def _note_others(parts: Sequence[_Part]) -> Iterable[str]:
    others = sum((listing.others for part in parts for listing in (*part.classes.values(), part.stray)), Counter())
    if others:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items(), key=lambda item: (-item[1], item[0]))[:5])
        yield f"files left out that are no pictures by their names: {others.total()} ({kinds}{', …' if len(others) > 5 else ''})"
    for part in parts:
        if part.stray.images:
            yield f"{part.root}: pictures left out that lie in no class folder: {len(part.stray.images)}"


def _note_shares(train: _Part, shares: dict[str, float], seed: int) -> Iterable[str]:
    made = [part for part in ("val", "test") if shares[part]]
    if made:
        yield f"no {' and '.join(made)} folder: {VAL_PART:.0%} of each class set aside for {' and for '.join(made)}, by seed {seed}"
        few = [name for name, listing in train.classes.items() if len(listing.images) < _FEW]
        if few:
            yield f"classes with fewer than {_FEW} pictures, so that their shares are rough or none: {_names(few)}"
    elif not shares["test"]:
        yield ""


def _list_images(folder: Path) -> _Listing:
    """Return what lies below a folder, at any depth; a folder that is reached twice, as by a link upwards, is read once."""
    waiting, seen, files = [folder], set(), []
    while waiting:
        here = waiting.pop()
        status = here.stat()
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            folders, found = _scan(here)
            waiting += folders
            files += found
    return _listing(files)


def _listing(files: Iterable[Path]) -> _Listing:
    images, others = [], Counter()
    for path in files:
        if _is_image(path.name):
            images.append(path)
        else:
            others[path.suffix.lower() or path.name] += 1
    return _Listing(tuple(sorted(images)), others)


def _scan(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the visible folders and the visible other entries in a folder, sorted by name.

    Links are followed; one that leads nowhere counts as a file, so that it is reported when it is read.
    """
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.name != "__MACOSX":
                    (folders if entry.is_dir() else files).append(Path(entry.path))
    except OSError as error:
        raise DataError(f"{folder}: can't be listed ({error.strerror}); check its permissions") from error
    return sorted(folders), sorted(files)


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - ten times as fast as Path.suffix


def _suffixes() -> str:
    return ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))


def _names(names: Iterable[str | Path], most: int = 8) -> str:
    shown = [name.name if isinstance(name, Path) else name for name in names]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
