"""Checkpoints that come as an archive: enters a .tar.gz or .zip file, leaves the files in it that are wanted. No torch."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import IO

from inceptions.errors import WeightsError
from inceptions.files import whole_folder


def unpack(archive: Path, *, member: str | tuple[str, ...]) -> tuple[Path, ...]:
    """Return the files of a .tar.gz or .zip archive that are called like `member` (`*.ckpt*`), unpacked into a folder beside it.

    member: a pattern, or several, each of which has to find a file.
    Folders in the archive are left out, so that no name leads anywhere; ours appears whole or not at all.

    Raises WeightsError for an archive that is damaged, or without what is wanted; UserError where it can't be written.
    """
    folder = archive.with_name(f"{archive.name}.files")
    patterns = (member,) if isinstance(member, str) else member
    if not folder.is_dir():
        try:
            with whole_folder(folder, replace=False) as fresh:
                for name, content in _contents(archive):
                    if any(fnmatch(PurePosixPath(name).name, pattern) for pattern in patterns):
                        with content, (fresh / PurePosixPath(name).name).open("wb") as file:
                            shutil.copyfileobj(content, file)
                for pattern in patterns:
                    if not any(fresh.glob(pattern)):
                        raise WeightsError(f"{archive} holds nothing called {pattern}; it is not the archive that it should be")
        except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError) as error:
            raise WeightsError(f"{archive} can't be unpacked ({error}); remove it, and it is fetched anew") from None
    return tuple(sorted(folder.iterdir()))


def _contents(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and content of each plain file."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            yield from ((entry.filename, zipped.open(entry)) for entry in zipped.infolist() if not entry.is_dir())
        return
    with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as tarred:
        for info in tarred:
            content = tarred.extractfile(info) if info.isreg() else None
            if content is not None:
                yield info.name, content
        stream.read()  # a little padding; at its end gzip compares the checksum
