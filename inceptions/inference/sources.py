"""Where pictures to predict come from: enters what was given, leaves pictures one by one, as they are found. Needs no torch.

    photos/1.jpg  photos  'photos/**/*.jpg'     a file, all below a folder, a pattern
    list.csv  list.tsv  list.parquet            the column path, file, filename or image of a table
    shards/train-{000..099}.tar                 shards, by path or URL, in their order
    hf:NAME  hf:FOLDER  digits                  a data set of Hugging Face, or a built-in one: train, val and test
    -                                           a path on each line of standard input

Folders are gone through name by name, in the order of the whole paths: nothing but the names in the folders that are open is held, however
many pictures there are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from inceptions.data.built_in import BUILT_IN
from inceptions.data.folders import TABLE_SUFFIXES, find_images, is_image, load_splits
from inceptions.data.stored import Stored
from inceptions.errors import DataError
from inceptions.files import expand_home
from inceptions.names import shown

STANDARD_INPUT = "-"

Picture = Path | Stored


def iterate_pictures(sources: Iterable[str]) -> Iterator[Picture]:
    """Yield the pictures of all sources, in order. Raises DataError for one that isn't there or has no picture, when it is its turn."""
    for source in sources:
        yield from _of_source(source)


def check_sources(sources: Sequence[str]) -> None:
    """Raise DataError for what can be seen to be nothing to predict, before anything is loaded."""
    if list(sources).count(STANDARD_INPUT) > 1:
        raise DataError("standard input (-) is given twice; give it once")
    for source in sources:
        if source != STANDARD_INPUT and next(_of_source(source), None) is None:
            raise DataError(f"{source}: there is no image in it; give another")


def count_pictures(sources: Sequence[str]) -> int | None:
    """Return how many pictures there are, by going through their names; None where they can't be gone through twice."""
    return None if STANDARD_INPUT in sources else sum(1 for _ in iterate_pictures(sources))


def _of_source(source: str) -> Iterator[Picture]:
    path = expand_home(source)
    if source == STANDARD_INPUT:
        return _lines()
    if source.startswith("hf:") or (source in BUILT_IN and not path.exists()):
        splits = load_splits(source)
        return (sample.path for sample in (*splits.train, *splits.val, *splits.test))
    if source.endswith(".tar") or "://" in source:
        from inceptions.data.shards import iterate_members

        return iterate_members(source)
    if path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
        from inceptions.data.tables import iterate_paths

        return iterate_paths(path)
    if source and path.is_dir():
        return _below(source, path)
    return iter(find_images(source))


def _lines() -> Iterator[Path]:
    """Yield the paths on standard input, of whatever bytes; empty lines are none."""
    for line in sys.stdin.buffer:
        if name := line.rstrip(b"\r\n"):
            yield Path(os.fsdecode(name))


def _below(source: str, root: Path) -> Iterator[Path]:
    found = False
    for name in _walk(str(root), set()):
        found = True
        yield Path(name)
    if not found:
        find_images(source)  # says what is missing
        raise DataError(f"{source}: no image found")


def _walk(folder: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    """Yield the pictures below a folder in the order of their paths. A folder that is reached twice, as by a link upwards, is read once."""
    try:
        status = os.stat(folder)  # noqa: PTH116 - strings, which are a third of a Path
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            names = sorted(name for entry in entries if (name := _name_of(entry)))
    except OSError as error:
        raise DataError(f"{shown(folder)}: can't be listed ({error.strerror}); check its permissions") from error
    for name in names:
        inside = os.path.join(folder, name)  # noqa: PTH118
        if name.endswith("/"):
            yield from _walk(inside[:-1], seen)
        else:
            yield inside


def _name_of(entry: os.DirEntry[str]) -> str:
    """Return the name of a picture, or of a folder with a slash behind it, by which it is sorted as its paths are; "" of all else."""
    if entry.name.startswith(".") or entry.name == "__MACOSX":
        return ""
    try:
        if entry.is_dir():
            return f"{entry.name}/"
    except OSError:  # a link to itself
        pass
    return entry.name if is_image(entry.name) else ""
