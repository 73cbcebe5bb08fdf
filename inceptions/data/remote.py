"""Shards behind a URL: enters an address, leaves the open file of a copy in the cache, of which only so much is kept.

INCEPTIONS_SHARD_CACHE_GB    how much of them stays on this disk, 20 without it; which were used longest ago go first

Processes that need the same shard wait for the one that fetches it. The index of a shard, which is small, is kept for good, with the digest
of the file that it is of: another file under the same address would be read at the wrong places, with the labels of other pictures.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from inceptions.data.transfer import TransferError, transfer
from inceptions.errors import DataError
from inceptions.files import OFFLINE_VARIABLE, cache_folder, cannot_write, is_offline, write_whole

LIMIT_VARIABLE = "INCEPTIONS_SHARD_CACHE_GB"
LIMIT_GB = 20.0
_GONE = 3  # times that another process may throw a shard out between fetching and opening it


def is_remote(shard: str) -> bool:
    """Whether a shard is an address on the net."""
    return shard.startswith(("https://", "http://"))


def fetch_shard(url: str) -> BinaryIO:
    """Return the shard, open for reading; it can be read to its end even if it is thrown out of the cache meanwhile.

    Raises DataError: no such file, no connection, offline, a cache that can't be written.
    """
    place = _find_place(url)
    for _ in range(_GONE):
        try:
            now = time.time_ns()  # the kernel's own time of day is too coarse to tell which was used last
            os.utime(place, ns=(now, now))
            return place.open("rb")
        except FileNotFoundError:
            _fetch(url, place)
    raise DataError(f"{url}: thrown out of the cache again and again; make {LIMIT_VARIABLE} larger than a few shards")


def recall_index(url: str, read: Callable[[BinaryIO], Sequence[Any]]) -> Sequence[Any]:
    """Return the index of a shard as it was written down, or as `read` finds it in the shard; values that JSON keeps."""
    place = _find_place(url)
    written = _read_written(place)
    if written is not None:
        return written["index"]
    with fetch_shard(url) as file:
        index = read(file)
        file.seek(0)
        write_whole(place.with_suffix(".json"), json.dumps({"digest": _digest(file), "index": index}))
    return index


def _read_written(place: Path) -> dict[str, Any] | None:
    """Return what was written down of the shard at `place`: the digest of the file and its index; None where nothing was."""
    with suppress(OSError, ValueError):
        written = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
        if isinstance(written, dict) and {"digest", "index"} <= set(written):
            return written
    return None


def _digest(file: BinaryIO) -> str:
    return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()  # pyright: ignore[reportArgumentType] - its own file


def _find_place(url: str) -> Path:
    return cache_folder() / "shards" / f"{blake2b(url.encode(), digest_size=12).hexdigest()}.tar"


def _fetch(url: str, place: Path) -> None:
    if is_offline():
        raise DataError(f"{url}: not in the cache, and {OFFLINE_VARIABLE} is set; unset it")
    limit = read_limit()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_suffix(".lock")):
            if not place.exists():  # otherwise another process has just fetched it
                part = place.with_suffix(".part")
                transfer(url, part)
                _refuse_another(url, part, place)
                part.replace(place)
                _make_room(place, limit)
    except TransferError as error:
        raise DataError(f"{url}: can't be fetched ({error}); check the address and the connection") from error
    except OSError as error:
        raise DataError(str(cannot_write(place, error))) from error  # no fault of a picture, to be passed over


def _refuse_another(url: str, part: Path, place: Path) -> None:
    """Raise DataError, and delete the `part` that came, where it isn't the file whose index is written down."""
    written = _read_written(place)
    if written is None:
        return
    with part.open("rb") as file:
        is_same = _digest(file) == written["digest"]
    if not is_same:
        part.unlink()
        raise DataError(
            f"{url}: the file there is another than the one whose pictures and labels are known; to begin anew with what is there now, "
            f"delete {place.parent}"
        )


def _make_room(newest: Path, limit: float) -> None:
    """Remove the shards that were used longest ago until the rest fit; the newest stays in any case."""
    found = []
    for place in newest.parent.glob("*.tar"):
        with suppress(FileNotFoundError):
            status = place.stat()
            found.append((place == newest, status.st_mtime_ns, status.st_size, place))
    total = sum(size for _, _, size, _ in found)
    for is_newest, _, size, place in sorted(found):
        if total <= limit or is_newest:
            return
        place.unlink(missing_ok=True)
        total -= size


def read_limit() -> float:
    """Return the size of the cache in bytes."""
    given = os.environ.get(LIMIT_VARIABLE, "") or str(LIMIT_GB)
    with suppress(ValueError):
        if 0 <= (limit := float(given)) < float("inf"):
            return limit * 1e9
    raise DataError(f"{LIMIT_VARIABLE} is {given!r}; it must be a number of gigabytes, such as {LIMIT_GB:g}")
