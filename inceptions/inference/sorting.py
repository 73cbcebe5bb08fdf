"""Pictures put in a folder for each class: enters predictions, leaves copies of the files, or links to them. Needs no torch.

Nothing is ever written over: a picture that is there already is left, another one of its name gets a number.
"""

from __future__ import annotations

import filecmp
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
        here = self.folder.expanduser().resolve()
        for source in sources:
            start = Path(source.partition("**")[0]).expanduser()  # of a pattern for all below a folder, that folder
            if start.is_dir() and here.is_relative_to(start.resolve()):
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
        number = 1
        while True:
            path = folder / (source.name if number == 1 else f"{source.stem}-{number}{source.suffix}")
            if not os.path.lexists(path):
                break
            if self._is_there(source, path):
                return path
            number += 1
        if self.how == "link":
            path.symlink_to(source.absolute())
        elif source.is_file() and os.access(source, os.R_OK):
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
        path = folder / _UNFIT.sub("_", shown(item.path)).encode()[-200:].decode(errors="ignore")
        if not path.exists():
            data = item.path.read_bytes()
            with _whole(path) as scratch:
                scratch.write_bytes(data)
        return path


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
