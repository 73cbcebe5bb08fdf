"""Pictures put in a folder for each class: enters predictions, leaves copies of the files, or links to them. Needs no torch.

Nothing is ever written over: a picture that is there already is left, another one of its name gets a number.
"""

from __future__ import annotations

import filecmp
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from inceptions.errors import UserError
from inceptions.files import cannot_write
from inceptions.inference.prediction import Prediction
from inceptions.names import shown

UNREADABLE = "unreadable"
_UNFIT = re.compile(r'[/\\:*?"<>|]')  # in names of folders, on one system or another


@dataclass(frozen=True, slots=True)
class Sorter:
    """folder: has a folder for each class. how: "copy", or "link", which takes no room and shows the file where it is."""

    folder: Path
    how: Literal["copy", "link"]

    def check(self, sources: Iterable[str]) -> None:
        """Raise UserError where the folder lies in one of the sources: the next run would find what this one puts there."""
        for source in sources:
            if _would_find(source, self.folder.expanduser().resolve()):
                raise UserError(
                    f"{shown(self.folder)} lies in {shown(source)}: the next run would predict what is put there too; give another folder"
                )

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
    """Return whether pictures in folders of classes in `folder`, which is resolved, are among those that the source means."""
    path = Path(source).expanduser()
    if path.is_dir():
        return folder.is_relative_to(path.resolve())
    wild = next((number for number, part in enumerate(path.parts) if set(part) & set("*?[")), None)
    if wild is None:
        return False
    wanted = (*Path(*path.parts[:wild]).resolve().parts, *path.parts[wild:])
    depth = wanted.index("**") if "**" in wanted else len(wanted)
    deep = len(folder.parts) + 2  # a picture in the folder of a class, both of whatever names
    if deep < depth if "**" in wanted else deep != depth:
        return False
    return all(fnmatchcase(part, pattern) for part, pattern in zip(folder.parts, wanted[:depth], strict=False))


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
