"""Files from the net, once: enters a URL and what is known of its hash, leaves the path of a verified file in the cache. No torch.

A file is kept as `downloads/<host>/<path>` in `inceptions.data.digits.cache_folder()`, and may be put there by hand. It appears there whole
and with the right hash, or not at all: what arrives goes to `<name>.part` beside it, from where a later call goes on. Processes wait for
each other.

INCEPTIONS_OFFLINE=1    nothing is fetched; what is not there is an error that says where to put it
INCEPTIONS_MIRROR=URL   stands in the place of scheme and host: with https://mirror.example/models, the file
                        https://download.pytorch.org/models/a.pth is asked for as https://mirror.example/models/models/a.pth, and
                        hf:timm/a/b.safetensors as https://mirror.example/models/timm/a/resolve/main/b.safetensors

`hf:organisation/repository/file` goes through huggingface_hub, with its cache and its settings, unless a mirror is set.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request

from filelock import FileLock, Timeout

from inceptions.errors import UserError, WeightsError
from inceptions.files import OFFLINE_VARIABLE, cache_folder, is_offline
from inceptions.weights.archive import SIZE_LIMIT, on_disk, unpack
from inceptions.weights.tags import Tag
from inceptions.weights.web import CONNECT_TIMEOUT_S, make_opener, require_safe

Progress = Callable[[int, int | None], None]  # bytes that are there, bytes in all (None where the server doesn't say)

MIRROR_VARIABLE = "INCEPTIONS_MIRROR"

ATTEMPTS = 4
BACKOFF_S = 1.0  # doubled after each attempt
CHUNK_BYTES = 1 << 18

log = logging.getLogger("inceptions")


@dataclass(frozen=True, slots=True)
class _Hashes:
    sha256: str | None
    sha256_prefix: str | None
    md5: str | None

    def __bool__(self) -> bool:
        return bool(self.sha256 or self.sha256_prefix or self.md5)

    def difference(self, path: Path) -> str:
        """Return how the file's hash differs from the one wanted, with both; "" if it doesn't, or none is known."""
        if (wanted := self.sha256 or self.sha256_prefix) and not (found := _digest(path, "sha256")).startswith(wanted.lower()):
            return f"its SHA-256 is {found}, not {wanted}{'' if self.sha256 else '...'}"
        if self.md5 and (found := _digest(path, "md5")) != self.md5.lower():
            return f"its MD5 is {found}, not {self.md5}"
        return ""


@dataclass(frozen=True, slots=True)
class _Job:
    """One file to fetch: from where, to where, and what it must be."""

    source: str
    place: Path
    hashes: _Hashes
    size_limit: int
    progress: Progress | None

    @property
    def part(self) -> Path:
        return self.place.with_name(f"{self.place.name}.part")

    @property
    def etag(self) -> Path:
        """The file that keeps the server's name for the version that `part` is of."""
        return self.place.with_name(f"{self.place.name}.part.etag")

    def drop(self) -> None:
        """Remove what has arrived so far."""
        with on_disk(self.place):
            self.part.unlink(missing_ok=True)
            self.etag.unlink(missing_ok=True)


class _Interrupted(Exception):
    """A transfer that may go better next time."""


def fetch_tag(tag: Tag, *, progress: Progress | None = None) -> tuple[Path, ...]:
    """Return the files of a published checkpoint, fetched, verified and unpacked where they are not in the cache.

    Raises UserError as `fetch` does, WeightsError as `unpack` does.
    """
    path = fetch(tag.url, sha256=tag.sha256, sha256_prefix=tag.sha256_prefix, md5=tag.md5, progress=progress)
    return unpack(path, member=tag.member) if tag.member else (path,)


def fetch(
    url: str,
    *,
    sha256: str | None = None,
    sha256_prefix: str | None = None,
    md5: str | None = None,
    size_limit: int = SIZE_LIMIT,
    progress: Progress | None = None,
) -> Path:
    """Return the file at `url` from the cache, fetched if it isn't there; its hash is checked either way.

    url: https; http for this machine, and with a hash for the hosts that have nothing else; `hf:organisation/repository/file`.
    size_limit: in bytes. progress: called as it arrives. Both are without effect on what huggingface_hub fetches.

    Raises UserError: offline, no such file, no connection, too large, or a cache that can't be written; WeightsError: a wrong hash.
    """
    hashes = _Hashes(sha256, sha256_prefix, md5)
    mirror = os.environ.get(MIRROR_VARIABLE, "")
    source = _through(mirror, _web_address(url))
    require_safe(source, verified=bool(hashes))
    job = _Job(source, find_place(url), hashes, size_limit, progress)
    problem = _problem(job)
    if not problem:
        return job.place
    if url.startswith("hf:") and not mirror:
        return _fetch_from_hub(url, job)
    if is_offline():
        raise UserError(_by_hand(job, f"{OFFLINE_VARIABLE} is set and {job.place.name} can't be used: {problem}; unset it"))
    with _locked(job.place):
        if _problem(job):  # otherwise another process has just fetched it
            log.info("fetching %s", job.source)
            _download(job)
    return job.place


def find_place(url: str) -> Path:
    """Return where the file at `url` is kept, or is to be put by hand: `downloads/<host>/<path>` in the cache."""
    parts = urlsplit(_web_address(url))
    names = [unquote(name) for name in parts.path.split("/") if name]
    if not parts.hostname or not names or any(name in (".", "..") for name in names):
        raise UserError(f"{url} is not the address of a file; give one such as https://host/folder/file.pth")
    if parts.query:
        names[-1] += f"?{parts.query}"
    host = parts.hostname if parts.port is None else f"{parts.hostname}_{parts.port}"
    return cache_folder().joinpath("downloads", quote(host), *(quote(name, safe=" +@=,()") for name in names))


def _web_address(url: str) -> str:
    """Return `url`, and for `hf:organisation/repository/file` the address of that file's newest version."""
    if not url.startswith("hf:"):
        return url
    organisation, repository, file = _hub_parts(url)
    return f"https://huggingface.co/{organisation}/{repository}/resolve/main/{file}"


def _hub_parts(url: str) -> tuple[str, str, str]:
    organisation, _, rest = url.removeprefix("hf:").partition("/")
    repository, _, file = rest.partition("/")
    if not (organisation and repository and file):
        raise UserError(f"{url} is not a file on the Hugging Face Hub; give hf:organisation/repository/file")
    return organisation, repository, file


def _through(mirror: str, url: str) -> str:
    if not mirror:
        return url
    parts = urlsplit(url)
    return mirror.rstrip("/") + parts.path + (f"?{parts.query}" if parts.query else "")


def _by_hand(job: _Job, problem: str) -> str:
    return f"{problem}, or fetch {job.source} by other means and keep it as {job.place}"


def _problem(job: _Job) -> str:
    """Return why the file in the cache can't be used; "" if it can."""
    if not job.place.is_file():
        return "it is not in the cache"
    with on_disk(job.place):
        return job.hashes.difference(job.place)


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Keep other processes from fetching the same file; the operating system frees the lock of a process that dies."""
    lock = FileLock(f"{place}.lock")
    with on_disk(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("waiting for another process that is fetching %s", place.name)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch_from_hub(url: str, job: _Job) -> Path:
    organisation, repository, file = _hub_parts(url)
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise UserError(_by_hand(job, f"{url} needs huggingface_hub; pip install 'inceptions[hub]'")) from None
    try:
        path = Path(hf_hub_download(f"{organisation}/{repository}", file, library_name="inceptions", local_files_only=is_offline()))
    except OSError as error:  # all that huggingface_hub raises for a file that can't be had, and a full disk
        reason = str(error).strip().partition("\n")[0]
        problem = f"{OFFLINE_VARIABLE} is set and {url} is not in its cache; unset it" if is_offline() else f"{url}: {reason}; try again"
        raise UserError(_by_hand(job, problem)) from None
    difference = job.hashes.difference(path)
    if difference:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise WeightsError(f"{url}: {difference}; it was removed. Try again, or it has been changed at its source")
    return path


def _download(job: _Job) -> None:
    """Fetch the file, check it, and put it in its place; what can't be gone on from is removed."""
    try:
        _transfer_in_attempts(job)
        with on_disk(job.place):
            difference = job.hashes.difference(job.part)
            if difference:
                job.drop()
                raise WeightsError(f"{job.source}: {difference}; it was removed. Try again, or it has been changed at its source")
            job.part.replace(job.place)
            job.etag.unlink(missing_ok=True)
    finally:
        if not job.etag.is_file():
            job.drop()


def _transfer_in_attempts(job: _Job) -> None:
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(BACKOFF_S * 2 ** (attempt - 1))
        try:
            return _transfer(job)
        except _Interrupted as error:
            problem = str(error)
            log.info("%s: %s", job.source, problem)
    kept = ", it goes on from what has arrived" if job.etag.is_file() else ""
    raise UserError(f"{job.source}: {problem} ({ATTEMPTS} attempts); try again later{kept}")


def _transfer(job: _Job) -> None:
    """Make one request and append what it brings to the partial file.

    Raises _Interrupted where another attempt may help, UserError where it won't.
    """
    headers, done = {"Accept-Encoding": "identity"}, 0
    with on_disk(job.part):
        if job.part.is_file() and job.etag.is_file():
            done = job.part.stat().st_size
            headers |= {"Range": f"bytes={done}-", "If-Range": job.etag.read_text(encoding="ascii")}
    try:
        with make_opener(verified=bool(job.hashes)).open(Request(job.source, headers=headers), timeout=CONNECT_TIMEOUT_S) as response:
            _receive(job, response, done)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # the partial file is no part of what is there now
            job.drop()
        if error.code in (408, 416, 429) or error.code >= 500:
            raise _Interrupted(f"the server says {error.code} {error.reason}") from None
        if error.code < 400:
            raise UserError(f"{job.source}: {str(error.reason).partition(chr(10))[0]}") from None
        raise UserError(_by_hand(job, f"{job.source}: the server says {error.code} {error.reason}; check the address")) from None
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            problem = f"{job.source}: its certificate is not valid ({reason.verify_message}); check this machine's date and certificates"
            raise UserError(_by_hand(job, problem)) from None
        raise _Interrupted(f"{type(reason).__name__}: {reason}" if str(reason) else type(reason).__name__) from None


def _receive(job: _Job, response: HTTPResponse, done: int) -> None:
    """Append the body to the partial file, of which `done` bytes are there; from its beginning if the server sends all of it."""
    if response.status != 206:
        done = 0
        _start_again(job, response.headers)
    elif not re.match(rf"bytes {done}-", response.headers.get("Content-Range", "")) or not _is_same_version(job, response.headers):
        job.drop()
        raise _Interrupted("the server sent another part than it was asked for")
    length = response.headers.get("Content-Length", "")
    total = done + int(length) if length.isdecimal() else None
    with on_disk(job.part):
        file = job.part.open("ab", buffering=0)
    with file:
        while True:
            if max(done, total or 0) > job.size_limit:
                job.drop()
                raise UserError(
                    f"{job.source} has {total or done:,} bytes or more, {job.size_limit:,} are allowed; it is not the file it should be"
                )
            chunk = response.read1(CHUNK_BYTES)
            if not chunk:
                break
            with on_disk(job.part):
                _write(file, chunk)
            done += len(chunk)
            if job.progress is not None:
                job.progress(done, total)
    if total is not None and done < total:
        raise _Interrupted(f"the connection was cut after {done:,} of {total:,} bytes")


def _is_same_version(job: _Job, headers: HTTPMessage) -> bool:
    with on_disk(job.etag):
        return headers.get("ETag", "") in ("", job.etag.read_text(encoding="ascii"))


def _start_again(job: _Job, headers: HTTPMessage) -> None:
    """Empty the partial file and keep the server's name for this version, if it is one that stands for the very bytes."""
    job.drop()
    etag = headers.get("ETag", "")
    if etag.startswith('"') and etag.isascii():
        with on_disk(job.etag):
            job.etag.write_text(etag, encoding="ascii")


def _write(file: IO[bytes], chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]
