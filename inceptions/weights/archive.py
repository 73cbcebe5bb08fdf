"""Checkpoints that come as an archive: enters a .tar.gz or .zip file, leaves the files in it that are wanted. No torch."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import IO

from inceptions.errors import UserError, WeightsError

SIZE_LIMIT = 2 << 30  # bytes; the largest published checkpoint of the family is under 500 MB
MEMBER_LIMIT = 1000

_CHUNK_BYTES = 1 << 18


def unpack(archive: Path, *, member: str, size_limit: int = SIZE_LIMIT) -> tuple[Path, ...]:
    """Return the files of a .tar.gz or .zip archive that are called like `member` (`*.ckpt*`), unpacked into a folder beside it.

    Folders in the archive are left out; ours appears whole or not at all. size_limit: in bytes, of everything in the archive.

    Raises WeightsError: damaged, too large when unpacked, a member that is no plain file or leads outside, none that is wanted.
    """
    folder = archive.with_name(f"{archive.name}.files")
    if folder.is_dir():
        return tuple(sorted(folder.iterdir()))
    with on_disk(folder), tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        fresh = Path(scratch) / "new"
        fresh.mkdir()
        try:
            _unpack_into(fresh, archive, member, size_limit)
        except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError) as error:
            raise WeightsError(f"{archive} can't be unpacked ({error}); remove it, and it is fetched anew") from None
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was first
                raise
        return tuple(sorted(folder.iterdir()))


def _unpack_into(folder: Path, archive: Path, member: str, size_limit: int) -> None:
    size = 0
    for number, (name, length, content) in enumerate(_contents(archive, member), start=1):
        size += length
        if number > MEMBER_LIMIT or size > size_limit:
            raise WeightsError(f"{archive} holds more than {MEMBER_LIMIT} files or {size_limit:,} bytes; it is not a checkpoint")
        if content is None:
            continue
        target = folder / PurePosixPath(name).name
        if target.exists():
            raise WeightsError(f"{archive} holds {target.name} twice; it is not a checkpoint")
        with content, target.open("wb") as file:
            shutil.copyfileobj(content, file, _CHUNK_BYTES)
    if not any(folder.iterdir()):
        raise WeightsError(f"{archive} holds nothing called {member}; it is not the checkpoint that it should be")


def _contents(archive: Path, member: str) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """Yield name and size in bytes of each member, and its content where it is wanted, which is never more than that size.

    Raises WeightsError: a link, a device, a name that leads outside. (Python's own filter for this is not in every 3.11.)
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for entry in zipped.infolist():
                _require_inside(archive, entry.filename)
                wanted = fnmatch(PurePosixPath(entry.filename).name, member) and not entry.is_dir()
                yield entry.filename, entry.file_size, zipped.open(entry) if wanted else None
        return
    with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as tarred:
        for info in tarred:
            _require_inside(archive, info.name)
            if not info.isreg() and not info.isdir():
                raise WeightsError(f"{archive}: {info.name!r} in it is not a plain file; it is not a checkpoint")
            wanted = fnmatch(PurePosixPath(info.name).name, member) and not info.isdir()
            yield info.name, info.size, tarred.extractfile(info) if wanted else None
        if len(stream.read(_CHUNK_BYTES)) == _CHUNK_BYTES:  # a little padding; at its end gzip compares the checksum
            raise WeightsError(f"{archive} goes on after its end; it is not a checkpoint")


def _require_inside(archive: Path, name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise WeightsError(f"{archive}: {name!r} in it leads outside; it is not a checkpoint")


@contextmanager
def on_disk(place: Path) -> Iterator[None]:
    """Turn what the file system says into one clear error."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{place}: {reason}; free some space, or set INCEPTIONS_CACHE to a folder that can be written to") from None
