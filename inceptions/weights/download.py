"""Published files, once: enters an address and what is known of its hash, leaves the path of a checked file in the cache. No torch.

A file is kept as `downloads/<host>/<path>` in the cache, and may be put there by hand. It appears there whole and with the right hash, or
not at all: what arrives goes to `<name>.part` beside it, from where a later call goes on. Processes wait for each other.

INCEPTIONS_OFFLINE=1    nothing is fetched; what is not there is an error that says where to put it
INCEPTIONS_MIRROR=URL   stands in the place of scheme and host: with https://mirror.example/models, the file
                        https://download.pytorch.org/models/a.pth is asked for as https://mirror.example/models/models/a.pth, and
                        hf:timm/a/b.safetensors as https://mirror.example/models/timm/a/resolve/main/b.safetensors

`hf:organisation/repository/file`, or `hf:organisation/repository@revision/file`, goes through huggingface_hub, with its cache and its
settings, unless a mirror is set.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from filelock import FileLock, Timeout

from inceptions.data.transfer import MIRROR_VARIABLE, Progress, TransferError, transfer
from inceptions.errors import UserError, WeightsError
from inceptions.files import OFFLINE_VARIABLE, cache_folder, cannot_write, is_offline
from inceptions.weights.tags import HTTP_HOSTS, Tag
from inceptions.weights.unpack import unpack

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

log = logging.getLogger("inceptions")


def fetch_tag(tag: Tag, *, progress: Progress | None = None) -> tuple[Path, ...]:
    """Return the files of a published checkpoint, fetched, checked and unpacked where they are not in the cache.

    Raises UserError as `fetch` does, WeightsError as `unpack` does.
    """
    if not tag.verified:
        log.warning("%s comes over http, and its hash is known in part: somebody on the way could have forged it", tag.name)
    path = fetch(tag.url, hashes={"sha256": tag.sha256 or tag.sha256_prefix, "md5": tag.md5}, progress=progress)
    return unpack(path, member=tag.member) if tag.member else (path,)


def fetch(url: str, *, hashes: dict[str, str | None] | None = None, progress: Progress | None = None) -> Path:
    """Return the file at `url` from the cache, fetched if it isn't there; its hash is checked either way.

    url: https; http for this machine, and with a hash for the hosts that have nothing else; or on the Hub, `hf:`.
    hashes: by algorithm ("sha256", "md5"), in hexadecimal, or their first digits. progress: called as it arrives, not by huggingface_hub.

    Raises UserError: offline, no such file, no connection, or a cache that can't be written; WeightsError: a wrong hash.
    """
    known = {algorithm: digits.lower() for algorithm, digits in (hashes or {}).items() if digits}
    mirror = os.environ.get(MIRROR_VARIABLE, "")
    source = _through(mirror, _web_address(url))
    require_safe(source, has_hash=bool(known))
    place = find_place(url)
    problem = _problem(place, known)
    if not problem:
        return place
    by_hand = f"or fetch {source} by other means and keep it as {place}"
    if url.startswith("hf:") and not mirror:
        return _fetch_from_hub(url, known, by_hand)
    if is_offline():
        raise UserError(f"{OFFLINE_VARIABLE} is set and {place.name} can't be used: {problem}; unset it, {by_hand}")
    with _locked(place):
        if _problem(place, known):  # otherwise another process has just fetched it
            log.info("fetching %s", source)
            _download(source, place, known, by_hand, progress)
    return place


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


def split_repository(name: str) -> tuple[str, str | None]:
    """Return repository and revision (branch, tag or commit; None for the newest) of `organisation/repository@revision`."""
    repository, mark, revision = name.partition("@")
    if mark and not revision:
        raise UserError(f"{name} ends in @; give a branch, a tag or a commit after it, or leave it out")
    return repository, revision or None


def require_hub() -> Any:
    """Return huggingface_hub. Raises UserError where it isn't installed."""
    try:
        import huggingface_hub
    except ImportError:
        raise UserError("the Hugging Face Hub needs huggingface_hub; pip install 'inceptions[hub]'") from None
    return huggingface_hub


def _web_address(url: str) -> str:
    """Return `url`, and for a file on the Hub its address there."""
    if not url.startswith("hf:"):
        return url
    repository, revision, file = _hub_parts(url)
    return f"https://huggingface.co/{repository}/resolve/{quote(revision or 'main', safe='')}/{file}"


def _hub_parts(url: str) -> tuple[str, str | None, str]:
    organisation, _, rest = url.removeprefix("hf:").partition("/")
    named, _, file = rest.partition("/")
    repository, revision = split_repository(named)
    if not (organisation and repository and file):
        raise UserError(f"{url} is not a file on the Hugging Face Hub; give hf:organisation/repository/file")
    return f"{organisation}/{repository}", revision and unquote(revision), file


def _through(mirror: str, url: str) -> str:
    if not mirror:
        return url
    parts = urlsplit(url)
    return mirror.rstrip("/") + parts.path + (f"?{parts.query}" if parts.query else "")


def require_safe(url: str, *, has_hash: bool) -> None:
    """Raise UserError for an address from which anybody on the way could send something else."""
    parts = urlsplit(url)
    listed = parts.hostname in HTTP_HOSTS and has_hash
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and (parts.hostname in _LOOPBACK or listed))):
        raise UserError(f"{url}: files are fetched by https only (from {', '.join(sorted(HTTP_HOSTS))} by http where a hash is known)")


def _problem(place: Path, known: dict[str, str]) -> str:
    """Return why the file in the cache can't be used; "" if it can."""
    try:
        return _difference(place, known) if place.is_file() else "it is not in the cache"
    except OSError as error:
        return f"it can't be read ({error.strerror})"


def _difference(path: Path, known: dict[str, str]) -> str:
    """Return how the hash of a file differs from what is known of it, with both; "" if it doesn't."""
    for algorithm, wanted in known.items():
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if not found.startswith(wanted):
            name = {"sha256": "SHA-256"}.get(algorithm, algorithm.upper())
            return f"its {name} is {found}, not {wanted}{'' if len(wanted) == len(found) else '...'}"
    return ""


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Keep other processes from fetching the same file, and tell of a cache that can't be written in one line."""
    lock = FileLock(f"{place}.lock")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            held = lock.acquire(blocking=False)
        except Timeout:
            log.info("waiting for another process that is fetching %s", place.name)
            held = lock.acquire()
        with held:
            yield
    except OSError as error:
        raise cannot_write(place, error) from None


def _download(source: str, place: Path, known: dict[str, str], by_hand: str, progress: Progress | None) -> None:
    part = place.with_name(f"{place.name}.part")
    try:
        transfer(source, part, progress=progress, allow=lambda url: require_safe(url, has_hash=bool(known)))
    except TransferError as error:
        kept = ", it goes on from what has arrived" if part.is_file() else ""
        raise UserError(
            f"{source} can't be fetched ({error}); check the address and the connection and try again{kept}, {by_hand}"
        ) from None
    if difference := _difference(part, known):
        part.unlink()
        raise WeightsError(f"{source}: {difference}; it was removed. Try again, or it has been changed at its source")
    part.replace(place)


def _fetch_from_hub(url: str, known: dict[str, str], by_hand: str) -> Path:
    repository, revision, file = _hub_parts(url)
    try:
        hub = require_hub()
        found = hub.hf_hub_download(repository, file, revision=revision, library_name="inceptions", local_files_only=is_offline())
    except (UserError, OSError) as error:  # OSError: all that huggingface_hub raises for a file that can't be had, and a full disk
        reason = str(error).strip().partition("\n")[0]
        if not isinstance(error, UserError):
            reason = f"{OFFLINE_VARIABLE} is set and it is not in the cache; unset it" if is_offline() else f"{reason}; try again"
        raise UserError(f"{url}: {reason}, {by_hand}") from None
    if difference := _difference(Path(found), known):
        hint = f"it was changed at its source, or {found} is damaged: delete that file and try again"
        raise WeightsError(f"{url}: {difference}; {hint}")
    return Path(found)
