"""Files that can be made again: enters a name and how to make it, leaves a folder in the cache that is whole or not there at all.

INCEPTIONS_CACHE     the folder of the cache; without it, `inceptions` in the user's cache folder
INCEPTIONS_OFFLINE   1: nothing is fetched from the net
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from inceptions.errors import DataError

CACHE_VARIABLE = "INCEPTIONS_CACHE"
OFFLINE_VARIABLE = "INCEPTIONS_OFFLINE"


def cache_folder() -> Path:
    """Return where files are kept that can be made again: $INCEPTIONS_CACHE, else `inceptions` in the user's cache folder."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "inceptions"


def is_offline() -> bool:
    """Whether the user has said that nothing may be fetched."""
    return os.environ.get(OFFLINE_VARIABLE, "").strip().lower() not in ("", "0", "false", "no", "off")


def make_folder(folder: Path, write: Callable[[Path], None]) -> Path:
    """Return the folder, made by `write` (which is given the path of one that isn't there yet) if it isn't there.

    It appears whole or not at all, and processes that make it at the same time don't disturb each other.

    Raises DataError when the cache can't be written.
    """
    if folder.is_dir():
        return folder
    unfinished = folder.with_name(f".{folder.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        write(unfinished)
        _publish(unfinished, folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def cannot_write(path: Path, error: OSError) -> DataError:
    """Return the error that says why a place in the cache can't be written to."""
    return DataError(f"{path}: can't be written ({error.strerror or error}); set {CACHE_VARIABLE} to a folder that can")


def _publish(unfinished: Path, folder: Path) -> None:
    try:
        unfinished.replace(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was first, with the same files
            raise
