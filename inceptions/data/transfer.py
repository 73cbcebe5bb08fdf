"""Files from the net: enters an address and a path, leaves all that the address gives in the file at that path. Standard library alone.

A transfer that breaks off goes on from what has arrived, in this call or a later one, as long as the server still has the same version of
the file: checkpoints and shards have hundreds of megabytes. pooch and torch.hub begin anew each time, which is why this is here.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

Progress = Callable[[int, int | None], None]  # bytes that are there, bytes in all (None where the server doesn't say)

MIRROR_VARIABLE = "INCEPTIONS_MIRROR"  # what stands in the place of scheme and host, for weights and for the Hugging Face Hub
ATTEMPTS = 4
BACKOFF_S = 1.0  # doubled after each attempt
TIMEOUT_S = 60.0  # to connect, and without a byte
_CHUNK_BYTES = 1 << 18
_BUSY = (408, 416, 429)  # 416: what has arrived is no part of what is there now
_OF_THE_NET = (URLError, ConnectionError, TimeoutError, HTTPException, ssl.SSLError)  # other OSErrors are the disk's


class TransferError(Exception):
    """A file that can't be had: the server's words, or the last trouble and how often it was tried."""


def transfer(url: str, path: Path, *, progress: Progress | None = None, allow: Callable[[str], object] = str) -> None:
    """Write what `url` gives to `path`; what is there already is what has arrived of it before.

    progress: called as it arrives. allow: called with the address that redirects lead to, before a byte of it is read; may raise.

    Raises TransferError, and OSError where `path` can't be written.
    """
    version = path.with_name(f"{path.name}.etag")  # the server's name for the version that has arrived in part
    try:
        _try(lambda: _receive(url, path, version, progress, allow), version)
    except TransferError:
        if not version.is_file():  # it can't be gone on from
            path.unlink(missing_ok=True)
        raise
    version.unlink(missing_ok=True)


def _try(receive: Callable[[], None], version: Path) -> None:
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(BACKOFF_S * 2 ** (attempt - 1))
        try:
            return receive()
        except HTTPError as error:
            error.close()
            reason = f"{error.code} {(error.reason or '').partition(chr(10))[0]}".strip()
            if error.code < 500 and error.code not in _BUSY:
                raise TransferError(reason) from None
            if error.code == 416:
                version.unlink(missing_ok=True)
        except _OF_THE_NET as error:
            cause = error.reason if isinstance(error, URLError) else error
            reason = str(cause) or type(cause).__name__
    raise TransferError(f"{reason}; {ATTEMPTS} attempts")


def _receive(url: str, path: Path, version: Path, progress: Progress | None, allow: Callable[[str], object]) -> None:
    """Make one request, and append what it brings."""
    headers, done = {"User-Agent": "inceptions", "Accept-Encoding": "identity"}, 0
    if path.is_file() and version.is_file():
        done = path.stat().st_size
        headers |= {"Range": f"bytes={done}-", "If-Range": version.read_text(encoding="ascii")}
    with urlopen(Request(url, headers=headers), timeout=TIMEOUT_S) as response:
        allow(response.url)
        if response.status != 206:
            done = 0
            path.unlink(missing_ok=True)  # bytes of another version, which the name noted next would go on from
            _note_version(version, response)
        elif f"bytes {done}-" not in response.headers.get("Content-Range", "") or response.headers.get("ETag") != headers["If-Range"]:
            version.unlink()
            raise ConnectionError("the server sent another part than it was asked for")
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        with path.open("ab" if done else "wb") as file:
            while chunk := response.read1(_CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the connection was cut after {done:,} of {total:,} bytes")


def _note_version(version: Path, response: HTTPResponse) -> None:
    """Keep the server's name for this version of the file, if it is one that stands for the very bytes."""
    version.unlink(missing_ok=True)
    etag = response.headers.get("ETag", "")
    if etag.startswith('"'):
        with suppress(UnicodeEncodeError):
            version.write_text(etag, encoding="ascii")
