"""Files and folders that are whole or not there: enters a place and how to fill it, leaves the new one, or the old one as it was.

INCEPTIONS_CACHE     the folder of what can be made again; without it, `inceptions` in the user's cache folder
INCEPTIONS_OFFLINE   1: nothing is fetched from the net
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inceptions.errors import UserError
from inceptions.names import shown

CACHE_VARIABLE = "INCEPTIONS_CACHE"
OFFLINE_VARIABLE = "INCEPTIONS_OFFLINE"
_NAME_BYTES = 200  # of a folder's name, of 255 that disks take: scratch folders and numbers come on top
_OF_WRITING = {getattr(errno, name) for name in "ENOSPC EDQUOT EFBIG EIO EACCES EPERM EROFS EEXIST EISDIR ENOTDIR ENAMETOOLONG".split()}


def write_whole(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    r"""Write bytes, or text as UTF-8, to `path` by way of `whole_file`; raises UserError when it can't be written.

    Bytes of names that are no UTF-8 become escapes, such as `\udce9`, which JSON reads as the same name.
    """
    with whole_file(path, durable=durable) as scratch:
        scratch.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


@contextmanager
def whole_file(path: Path, *, durable: bool = False, replace: bool = True) -> Iterator[Path]:
    """Give the path of a file to write, called as `path` is, which takes the place of `path` when the block ends without an error.

    durable: on the disk before that, so that a power cut leaves the old or the new one. replace: as of `whole_folder`.

    Raises UserError when the folder can't be written to, or the disk is full; nothing is left behind.
    """
    with _beside(path) as folder:
        scratch = folder / path.name
        yield scratch
        with _writing(path):
            scratch.chmod(folder.stat().st_mode & 0o666)  # as the umask says; some writers let nobody else read
            if durable:
                with scratch.open("rb") as file:
                    os.fsync(file.fileno())
            if replace:
                scratch.replace(path)
            else:
                _put_where_nothing_is(scratch, path)


def _put_where_nothing_is(scratch: Path, path: Path) -> None:
    try:
        os.link(scratch, path)
    except OSError:  # there is something, or the disk knows no second names
        if not path.exists():
            scratch.replace(path)


@contextmanager
def whole_folder(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give an empty folder to fill, which takes the place of the folder `path` when the block ends without an error.

    replace: put it in the place of what is there; without, a folder that is there by then stays and ours goes (another process was first).

    Raises UserError when it can't be written; what was there stays whole until the end.
    """
    with _beside(path) as folder:
        fresh = folder / path.name
        fresh.mkdir()
        yield fresh
        old = folder / ".old"
        with _writing(path):
            try:
                if replace and path.exists():
                    path.rename(old)
                fresh.rename(path)
            except BaseException as error:  # Ctrl-C too
                if old.exists() and not path.exists():
                    old.rename(path)
                if replace or not isinstance(error, OSError) or not path.is_dir():
                    raise


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file or a folder into the place of another, by way of `whole_file` and `whole_folder`; raises UserError where it can't be."""
    if not source.is_dir():
        with whole_file(target) as scratch:
            shutil.copyfile(source, scratch)
        return
    with whole_folder(target) as fresh:
        shutil.copytree(source, fresh, dirs_exist_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give the folder `path` to write results into one by one: new, empty, or one in which an earlier block did not come to its end.

    Until the block ends without an error, `.unfinished` lies in it; where nothing else does when it fails, the folder goes.

    Raises UserError: there is something else at `path`, or it can't be written to.
    """
    mark = path / ".unfinished"
    with _writing(path):
        if path.exists() and not (path.is_dir() and (mark.exists() or not any(path.iterdir()))):
            raise UserError(f"{shown(path)} exists already; give another place, or delete it")
        path.mkdir(parents=True, exist_ok=True)
        mark.touch()
    try:
        yield path
    except BaseException:
        if [inside.name for inside in path.iterdir()] == [mark.name]:
            mark.unlink()
            path.rmdir()
        raise
    mark.unlink(missing_ok=True)  # another process may have written into the same folder, and have ended


def new_path(parent: Path, name: str) -> Path:
    """Return `parent/name`, or `parent/name-2` and so on: the first that is not there. What no disk takes of a name is left out."""
    if len(os.fsencode(name)) > _NAME_BYTES:
        name = os.fsencode(name)[:_NAME_BYTES].decode(errors="ignore")
    path, number = parent / name, 1
    while path.exists():
        number += 1
        path = parent / f"{name}-{number}"
    return path


def cache_folder() -> Path:
    """Return where files are kept that can be made again: $INCEPTIONS_CACHE, else `inceptions` in the user's cache folder."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return expand_home(given)
    return expand_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "inceptions"


def expand_home(path: str | Path) -> Path:
    """Return the path with a home folder in the place of a leading `~` or `~user`; as it is where nobody is called so, as in `~1.png`."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path's own raises where there is no such user


def is_offline() -> bool:
    """Return whether the user has said that nothing may be fetched."""
    return os.environ.get(OFFLINE_VARIABLE, "").strip().lower() not in ("", "0", "false", "no", "off")


def require_writable(folder: Path) -> None:
    """Raise UserError where nothing can be kept in a folder that is there: before minutes of work are lost on it."""
    if not os.access(folder, os.W_OK):
        raise UserError(f"{shown(folder)} can't be written to, and what is found is kept in it; copy it to a place that is yours")


def cannot_write(path: Path, error: OSError) -> UserError:
    """Return the error that says why `path` can't be written and what to do."""
    inside = path.is_relative_to(cache_folder())
    remedy = f"set {CACHE_VARIABLE} to a folder that can be written to" if inside else "make room, or give another place"
    return UserError(f"can't write {shown(path)} ({error.strerror or error}); {remedy}")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Raise UserError where what the block does to `path` fails."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a folder of ours beside `path`, on the same disk, and delete it afterwards."""
    if path.name in ("", ".."):  # it can't be put in the place of a folder that somebody stands in
        raise UserError(f"{path} can't be replaced as a whole; give a place within it, such as {path / 'new'}")
    try:
        if path.parent.exists() and not path.parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))  # mkdir says "File exists"
        path.parent.mkdir(parents=True, exist_ok=True)
        ours = tempfile.TemporaryDirectory(prefix=f".{path.name[:100]}-", dir=path.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        with ours as scratch:
            inside = Path(scratch) / "new"  # the scratch folder itself is its owner's alone
            inside.mkdir()
            yield inside
    except shutil.Error as error:  # of copytree: every file that could not be copied; the first says why
        found = error.args[0]
        raise cannot_write(path, OSError(found[0][-1] if isinstance(found, list) and found else str(error))) from error
    except OSError as error:
        if error.errno not in _OF_WRITING:  # the block's own, such as a connection that was refused
            raise
        raise cannot_write(path, error) from error
