"""Pictures put in a folder for each class: enters predictions, leaves copies of the files, or links to them. Needs no torch.

Nothing is ever written over: a picture that is there already is left, another one of its name gets a number.
"""

from __future__ import annotations

import filecmp
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from inceptions.errors import UserError
from inceptions.files import cannot_write, expand_home
from inceptions.inference.prediction import Prediction
from inceptions.names import shown

UNREADABLE = "unreadable"
_UNFIT = re.compile(r'[/\\:*?"<>|]')  # in names of folders, on one system or another


@dataclass(frozen=True, slots=True)
class Sorter:
    """folder: has a folder for each class. how: "copy", or "link", which takes no room and shows the file where it is."""

    folder: Path
    how: Literal["copy", "link"]

    def check_classes(self, names: Iterable[str]) -> None:
        """Raise UserError where two classes would have one folder, on systems that don't tell A from a too."""
        taken: dict[str, str] = {}
        for name in names:
            there = taken.setdefault(folder_name(name).casefold(), name)
            if there != name:
                both = f"{shown(there)} and {shown(name)}"
                raise UserError(f"the classes {both} would have one folder, {folder_name(name)}; --output FILE.csv tells them apart")
        if UNREADABLE in taken:
            raise UserError(f"a class is called {taken[UNREADABLE]}, as the folder of what can't be read is; use --output FILE.csv")

    def check_sources(self, sources: Iterable[str], names: Iterable[str]) -> None:
        """Raise UserError where a picture in the folder of one of the classes would be one that a source means, in the next run."""
        folders = [self.folder.resolve() / name for name in (*map(folder_name, names), UNREADABLE)]
        for source in sources:
            found = next((folder for folder in folders if _would_find(source, folder)), None)
            if found is not None:
                here = shown(self.folder / found.name)
                raise UserError(
                    f"{shown(source)} would find pictures in {here}: the next run would predict what is put there too; give another folder"
                )

    def place(self, item: Prediction) -> Path:
        """Put the picture in the folder of its class, or of what can't be read, and return where. Raises UserError where that can't be."""
        target = self.folder / (folder_name(item.classes[0]) if item.classes else UNREADABLE)
        try:
            target.mkdir(parents=True, exist_ok=True)
            return self._put(item.path, target) if isinstance(item.path, Path) else self._write(item, target)
        except OSError as error:
            raise cannot_write(target, error) from error

    def _put(self, source: Path, folder: Path) -> Path:
        path, is_new = _place_for(folder, source.name, lambda there: self._is_there(source, there))
        if is_new and self.how == "link":
            path.symlink_to(source.absolute())
        elif is_new and source.is_file() and os.access(source, os.R_OK):
            with _whole(path) as scratch:
                shutil.copy2(source, scratch)
        return path

    def _is_there(self, source: Path, path: Path) -> bool:
        if self.how == "link":
            return path.is_symlink() and path.readlink() == source.absolute()
        return path.is_file() and source.is_file() and filecmp.cmp(source, path, shallow=False)

    def _write(self, item: Prediction, folder: Path) -> Path:
        """Write a picture that is no file of its own: there is nothing to link to."""
        assert not isinstance(item.path, Path)
        name, data = _UNFIT.sub("_", shown(item.path)).encode()[-200:].decode(errors="ignore"), item.path.read_bytes()
        path, is_new = _place_for(folder, name, lambda there: there.is_file() and there.read_bytes() == data)
        if is_new:
            with _whole(path) as scratch:
                scratch.write_bytes(data)
        return path


def _place_for(folder: Path, name: str, is_there: Callable[[Path], bool]) -> tuple[Path, bool]:
    """Return where the picture of that name is in the folder, or is to be, with a number if others have the name; and whether it is new."""
    path, number = folder / name, 1
    while os.path.lexists(path):
        if is_there(path):
            return path, False
        number += 1
        path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
    return path, True


def _would_find(source: str, folder: Path) -> bool:
    """Return whether pictures in `folder`, which is resolved, are among those that the source means; links behind a sign aren't seen."""
    path = expand_home(source)
    if path.is_dir():
        return folder.is_relative_to(path.resolve())
    wild = next((number for number, part in enumerate(path.parts) if set(part) & set("*?[")), None)
    if wild is None or path.is_file() or source.endswith(".tar") or "://" in source:
        return False
    pattern = (*Path(*path.parts[:wild]).resolve().parts, *path.parts[wild:])
    return _fits((*folder.parts, None), (*pattern, "*") if pattern[-1] == "**" else pattern)


def _fits(parts: Sequence[str | None], pattern: Sequence[str]) -> bool:
    """Return whether the parts of a path fit those of a pattern, in which `**` stands for any number; None is a name of any kind."""
    if not pattern or not parts:
        return not pattern and not parts
    if pattern[0] == "**":
        return any(_fits(parts[start:], pattern[1:]) for start in range(len(parts)))
    return (parts[0] is None or fnmatchcase(parts[0], pattern[0])) and _fits(parts[1:], pattern[1:])


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Give a file beside `path` that becomes it: `whole_file` makes and deletes folders, which takes longer than a small picture."""
    scratch = path.with_name(f".{os.getpid()}.part")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def folder_name(name: str) -> str:
    """Return the name of a class as a folder's: what can't stand in one becomes "_"."""
    fit = _UNFIT.sub("_", shown(name)).encode()[:200].decode(errors="ignore").strip(" ").rstrip(". ")
    return f"_{fit}" if not fit or fit.startswith(".") else fit
