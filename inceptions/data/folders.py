"""Find pictures: enters a source, leaves samples in three parts; or enters a pattern, and leaves paths.

Sources: a folder (below), the name of a built-in set (`built_in`), a table (`tables`), shards (`shards`), Hugging Face (`hugging_face`).

Forms of a folder of pictures, where every class is a folder that is named for it:

    data/<class>/…                                 split 80/10/10 by seed, class by class
    data/train/<class>/…                           the same
    data/{train,test}/<class>/…                    a tenth of train becomes val
    data/{train,val}/<class>/…                     as they are; there is no test part
    data/{train,val,test}/<class>/…                as they are

Pictures in sub-folders of a class count. Names that begin with a dot, and `__MACOSX`, don't. Only names are read here, no picture.
"""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from inceptions.data.built_in import BUILT_IN, check_count
from inceptions.data.splits import PART_NAMES, Labelled, Splits, fingerprint, list_names, split_labelled
from inceptions.errors import DataError
from inceptions.files import expand_home

IMAGE_SUFFIXES = frozenset(".jpg .jpeg .jfif .png .bmp .gif .webp .tif .tiff .ppm .pgm .pbm .npy".split())
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")

_LAYOUT = "needed is one folder of pictures for each class, with or without train, val and test above them"


class _Listing(NamedTuple):
    """Files of pictures in a folder, sorted, and how many others there are of each suffix. Strings, for a Path takes longer to sort."""

    images: tuple[str, ...]
    others: Counter[str]


class _Part(NamedTuple):
    """Class folders in one folder: names in order, with what is below them; and what lies beside them."""

    root: Path
    classes: dict[str, _Listing]
    beside: _Listing


def load_splits(source: str | Path, *, seed: int = 0) -> Splits:
    """Return the parts of a data set: a folder or a table's file, or what one of these strings means.

        digits                                the name of a built-in set
        shards/train-{000..099}.tar           shards, by path or URL
        hf:NAME, hf:NAME@REVISION:CONFIG      a data set of Hugging Face, by name
        hf:FOLDER                             or as `save_to_disk` wrote it

    `seed` decides only where pictures have to be split here; the modules say when.

    Raises DataError for a source that isn't there, holds no labelled pictures, or one class only.
    """
    splits = _load(source, seed)
    return replace(splits, seed=seed, fingerprint=fingerprint(splits))


def _load(source: str | Path, seed: int) -> Splits:
    text, path = str(source), expand_home(source)
    if not text:
        raise DataError(f"no data given; give a folder, a table, shards or a built-in set ({', '.join(BUILT_IN)})")
    if source in BUILT_IN:
        return _load_built_in(text, seed)
    if text.startswith("hf:"):
        from inceptions.data.hugging_face import load_hugging_face

        return load_hugging_face(text.removeprefix("hf:"), seed=seed)
    if text.endswith(".tar") or "://" in text:
        from inceptions.data.shards import load_shards

        return load_shards(text, seed=seed)
    if path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
        from inceptions.data.tables import load_table

        return load_table(path, seed=seed)
    return _from_folder(path, seed)


def locate_source(source: str) -> str:
    """Return the source of `load_splits` so that it means the same from every working directory; names and URLs do."""
    path = expand_home(source.removeprefix("hf:"))
    if source.startswith("hf:"):
        return f"hf:{path.absolute()}" if path.is_dir() else source
    if source in BUILT_IN or "://" in source or not (path.exists() or source.endswith(".tar")):
        return source
    return str(path.absolute())


def name_source(source: str) -> str:
    """Return a short name of the source of `load_splits`, fit for a folder: a path's last part, or the words of anything else."""
    path = expand_home(source)
    return path.resolve().name if path.exists() else re.sub(r"[^\w.-]+", "-", source).strip("-")


def _load_built_in(name: str, seed: int) -> Splits:
    entry = BUILT_IN[name]
    root = entry.materialize()
    splits = _from_folder(root, seed)
    check_count(root, sum(len(part) for part in (splits.train, splits.val, splits.test)), entry.count)
    return replace(splits, notes=(entry.credit, *splits.notes), mirror=entry.mirror)


def find_images(source: str) -> list[Path]:
    """Return the image files that `source` means, sorted: a file, all below a folder, or those that match a pattern (`**`: any depth).

    Raises DataError when there is none.
    """
    if not source:
        raise DataError("no image given; give a file, a folder or a pattern such as 'photos/**/*.jpg'")
    path = expand_home(source)
    if path.is_file():
        return [path]
    if not path.is_dir() and not any(sign in source for sign in "*?["):
        raise DataError(f"{source}: no such file or folder; check the name, or give a pattern such as 'photos/**/*.jpg'")
    images = _list_below(path).images if path.is_dir() else _match(path)
    if not images:
        raise DataError(f"{source}: no image found; image files end in {_suffixes()}")
    return [Path(image) for image in images]


def _match(pattern: Path) -> list[str]:
    """Return the image files that match; hidden ones only where the pattern names the dot.

    pathlib's `**` doesn't follow links, so it can't run in circles.
    """
    relative = pattern.relative_to(pattern.anchor)
    if relative.name == "**":
        relative /= "*"
    try:
        matches = {path for path in Path(pattern.anchor).glob(str(relative)) if is_image(path.name) and not path.is_dir()}
    except ValueError as error:
        raise DataError(f"{pattern}: {error}; write '**' as a whole name between slashes") from None
    dots = _count_hidden(pattern)
    return sorted(str(path) for path in matches if _count_hidden(path) <= dots)


def _count_hidden(path: Path) -> int:
    return sum(name.startswith(".") and name != ".." for name in path.parts)


def _from_folder(root: Path, seed: int) -> Splits:
    _check_folder(root)
    folders, files = _scan(str(root))
    named = _name_parts(root, folders)
    if named is None:
        return _split(root, {"train": _read_part(root)}, [], seed)
    if "train" not in named:
        raise DataError(f"{root}: no train folder beside {list_names(named.values())}; {_LAYOUT}")
    parts = {part: _read_part(root / named[part]) for part in ("train", "val", "test") if part in named}
    ignored = [name for name in _base_names(folders) if name not in named.values()]
    notes = [f"folders left out beside {named['train']}: {list_names(ignored)}"] if ignored else []
    notes += _note_others([_Part(root, {}, _list(files))])
    return _split(root, parts, notes, seed)


def _name_parts(root: Path, folders: Sequence[str]) -> dict[str, str] | None:
    """Return the folder's name for each part there is, or None where the folders are classes.

    A class may be called "train": beside folders that are no parts, `train` is one only if it has folders in it and no picture.
    """
    named: dict[str, str] = {}
    for name in _base_names(folders):
        part = PART_NAMES.get(name.lower())
        if part in named:
            raise DataError(f"{root}: both {named[part]} and {name} mean the {part} part; keep one of them")
        if part:
            named[part] = name
    if len(named) == len(folders):
        return named or None
    if "train" not in named:
        return None
    inside, files = _scan(str(root / named["train"]))
    return named if inside and not _list(files).images else None


def _read_part(root: Path) -> _Part:
    folders, files = _scan(str(root))
    return _Part(root, {name: _list_below(folder) for name, folder in zip(_base_names(folders), folders, strict=True)}, _list(files))


def _split(root: Path, parts: dict[str, _Part], notes: Sequence[str], seed: int) -> Splits:
    """Return the parts; those that have no folder are taken from train."""
    train, *given = parts.values()
    _check_classes(train)
    for part in given:
        if not any(listing.images for listing in part.classes.values()):
            raise DataError(f"{part.root}: no pictures in class folders; {_LAYOUT}; without pictures, remove the folder")
    labelled = {name: list(_label(part)) for name, part in parts.items()}
    splits = split_labelled(labelled, source=str(root), seed=seed, classes=tuple(train.classes), kind="folder")
    return replace(splits, notes=(*notes, *_note_others(list(parts.values())), *splits.notes))


def _label(part: _Part) -> Iterator[Labelled]:
    start = len(str(part.root)) + 1
    return (Labelled(Path(image), name, image[start:]) for name, listing in part.classes.items() for image in listing.images)


def _check_folder(root: Path) -> None:
    if root.is_dir():
        return
    if root.suffix.lower() in TABLE_SUFFIXES:
        raise DataError(f"{root}: no such table; check the name")
    if root.exists():
        raise DataError(f"{root}: a file, where a folder is needed; {_LAYOUT}; tables end in {', '.join(TABLE_SUFFIXES)}, shards in .tar")
    close = difflib.get_close_matches(str(root).lower(), BUILT_IN, n=1)
    what = f"did you mean the built-in set '{close[0]}'?" if close else f"check the name, or take a built-in set ({', '.join(BUILT_IN)})"
    raise DataError(f"{root}: no such folder; {what}")


def _check_classes(part: _Part) -> None:
    root, classes = part.root, part.classes
    if not classes and part.beside.images:
        raise DataError(f"{root}: pictures without class folders ({len(part.beside.images)}); {_LAYOUT}")
    if not classes:
        raise DataError(f"{root}: an empty folder; {_LAYOUT}")
    empty = [name for name, listing in classes.items() if not listing.images]
    if len(empty) == len(classes):
        raise DataError(f"{root}: no pictures in its folders ({list_names(empty)}); {_LAYOUT}; image files end in {_suffixes()}")
    if empty:
        raise DataError(f"{root}: classes without pictures: {list_names(empty)}; add pictures ({_suffixes()}) or remove the folders")
    if len(classes) == 1:
        inside = root / next(iter(classes))
        raise DataError(
            f"{root}: one class only ({inside.name}), where two are needed; add another, or give {inside} if the classes are in it"
        )


def _note_others(parts: Sequence[_Part]) -> Iterable[str]:
    others = sum((listing.others for part in parts for listing in (*part.classes.values(), part.beside)), Counter[str]())
    if others:
        kinds = [f"{count} {kind}" for kind, count in sorted(others.items(), key=lambda item: (-item[1], item[0]))]
        yield f"files left out that are no pictures by their names: {others.total()} ({list_names(kinds)})"
    for part in parts:
        if part.beside.images:
            yield f"{part.root}: pictures left out that lie beside the folders: {len(part.beside.images)}"


def _list_below(folder: str | Path) -> _Listing:
    """Return what lies below a folder, at any depth. A folder that is reached twice, as by a link upwards, is read once."""
    waiting, seen, files = [str(folder)], set(), []
    while waiting:
        here = waiting.pop()
        folders, found = _scan(here)
        status = os.stat(here)  # noqa: PTH116 - strings here, see _Listing
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            waiting += reversed(folders)
            files += found
    return _list(files)


def _list(files: Iterable[str]) -> _Listing:
    images, others = [], Counter[str]()
    for file in files:
        if is_image(file):
            images.append(file)
        else:
            others[os.path.splitext(file)[1].lower() or "without an ending"] += 1  # noqa: PTH122
    return _Listing(tuple(sorted(images)), others)


def _scan(folder: str) -> tuple[list[str], list[str]]:
    """Return the visible folders and the visible other entries in a folder, sorted.

    Links are followed; one that leads nowhere counts as a file, so that it is reported when it is read.
    """
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.name != "__MACOSX":
                    (folders if _is_folder(entry) else files).append(entry.path)
    except OSError as error:
        raise DataError(f"{folder}: can't be listed ({error.strerror}); check its permissions") from error
    return sorted(folders), sorted(files)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def is_image(file: str) -> bool:
    """Return whether a file is a picture by its name."""
    return os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - ten times as fast as Path.suffix


def _base_names(folders: Iterable[str]) -> list[str]:
    return [os.path.basename(folder) for folder in folders]  # noqa: PTH119 - strings here, see _Listing


def _suffixes() -> str:
    return ", ".join(sorted(IMAGE_SUFFIXES))
