"""Zip archives: enters a path, leaves the archive, once its directory has been found to say nothing impossible."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from inceptions.errors import WeightsError
from inceptions.weights.readers.foreign import MAX_BYTES, MAX_EXPANSION, damaged, quote, unfit

_MAX_DIRECTORY_BYTES = 4 * 2**20
_SLACK_BYTES = 2**20
_END, _END_BYTES, _MAX_COMMENT = b"PK\x05\x06", 22, 65_535
_CUT = "it is no whole zip archive; the download was cut short: download it again"


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive whose members, unpacked, would be neither absurdly large nor outside of the folder they were put in.

    Raises WeightsError, also for damage that shows while the archive is open.
    """
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path.stat().st_size)
            yield archive
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, UnicodeDecodeError) as error:
        raise WeightsError(f"its zip archive is damaged ({error}); download it again") from None


def read_member(archive: zipfile.ZipFile, name: str, *, most: int) -> bytes:
    """Return a member of at most `most` bytes."""
    if archive.getinfo(name).file_size > most:
        raise unfit(f"its member {quote(name)} has more than {most:,} bytes")
    with archive.open(name) as member:
        return member.read(most)


def _check_directory(path: Path) -> None:
    """Refuse an archive whose directory of members is huge, before it is read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _END_BYTES - _MAX_COMMENT))
        tail = file.read()
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_BYTES:
        raise WeightsError(_CUT)
    if int.from_bytes(tail[place + 12 : place + 16], "little") > _MAX_DIRECTORY_BYTES:
        raise unfit(f"its zip directory has more than {_MAX_DIRECTORY_BYTES:,} bytes")


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    total, seen = 0, set()
    for member in archive.infolist():
        name = quote(member.filename)
        if _leaves_folder(member.orig_filename):
            raise WeightsError(f"its member {name} would be put outside of the folder it is unpacked in; the file is forged: don't use it")
        if member.filename in seen:
            raise damaged(f"it has two members {name}")
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise WeightsError(f"its member {name} is encrypted, or compressed in an unusual way; save it anew, as its framework does")
        seen.add(member.filename)
        total += member.file_size
        if total > min(MAX_BYTES, size * MAX_EXPANSION + _SLACK_BYTES):
            raise damaged(f"with its member {name} it unpacks to {total:,} bytes from {size:,}")


def _leaves_folder(name: str) -> bool:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return posix.is_absolute() or bool(windows.drive or windows.root) or ".." in (*posix.parts, *windows.parts)
