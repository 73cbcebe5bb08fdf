"""What a request carries: enters its stream, leaves its bytes or its pictures, in memory alone and within the limits.

Starlette's own parser of forms writes what is large to the disk; this one never does, and stops at the first byte too many.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from inceptions.names import shown
from inceptions.serving.metrics import Metrics
from inceptions.serving.models import Picture
from inceptions.serving.problems import Problem
from inceptions.serving.settings import MEGA, Settings

_LONGEST_NAME = 200
_LONGEST_LENGTH = 20  # digits
_EVENTS = (
    *("on_part_begin", "on_header_begin", "on_header_field", "on_header_value", "on_header_end", "on_part_data", "on_part_end"),
    "on_end",
)


class Intake:
    """What takes requests' bytes in, and knows how many all of them hold."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings, self.held = settings, 0
        metrics.held.set_function(lambda: self.held)

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytearray]:
        """Give the whole body, which counts as held inside the block. Raises Problem for one that is too large or too slow."""
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Problem("media_type", "a body that is compressed isn't taken: leave Content-Encoding out")
        self._check_length(request.headers.get("content-length"))
        found = bytearray()
        try:
            try:
                async with asyncio.timeout(self.settings.body_timeout_s):
                    async for chunk in request.stream():
                        self.held += len(chunk)
                        found += chunk
                        self._check(len(found))
            except TimeoutError:
                raise Problem(
                    "slow", f"the body took longer than {self.settings.body_timeout_s:g} s; send it faster, or less of it"
                ) from None
            except ClientDisconnect:
                raise Problem("bad_request", "the connection was closed before the whole body was there") from None
            yield found
        finally:
            self.held -= len(found)

    def _check_length(self, said: str | None) -> None:
        if said is not None:
            length = parse_length(said)
            if length is None:
                raise Problem("bad_request", "Content-Length must be a number of bytes; let an HTTP library set it")
            self._check(length, adds=length)

    def _check(self, length: int, *, adds: int = 0) -> None:
        if length > self.settings.request_mb * MEGA:
            raise Problem("too_large", f"a request may have {self.settings.request_mb:g} MB; send fewer or smaller pictures at a time")
        if self.held + adds > self.settings.held_mb * MEGA:
            raise Problem("busy", "the requests that are here already hold as much memory as they may; try again in a second")


def parse_length(said: str) -> int | None:
    """Return a number of bytes that a header says; None where it says none, or one that nobody sends."""
    return int(said) if said.isascii() and said.isdecimal() and len(said) <= _LONGEST_LENGTH else None


def split_pictures(content_type: str, body: bytearray, settings: Settings) -> list[Picture]:
    """Return the pictures in a body: the parts of a form, which are files, or one picture. Raises Problem for what is none."""
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        pictures = _Form(options.get(b"boundary", b""), settings).parse(body)
    elif kind.startswith((b"text/", b"application/json", b"application/x-www-form-urlencoded", b"application/xml", b"multipart/")):
        raise Problem(
            "media_type",
            f"{shown(content_type)[:100]} holds no pictures; send multipart/form-data with files, or the bytes of one picture as "
            "image/jpeg or so (curl: -F image=@photo.jpg, or --data-binary @photo.jpg -H 'Content-Type: image/jpeg')",
        )
    else:
        pictures = [Picture("picture", memoryview(body))]
    if not pictures:
        raise Problem("invalid", "there is no picture in the request; give at least one file")
    for picture in pictures:
        if len(picture.data) > settings.picture_mb * MEGA:
            raise Problem(
                "too_large", f"{shown(picture.name)} has {len(picture.data) / MEGA:.1f} MB; a picture may have {settings.picture_mb:g}"
            )
    return pictures


class _Form:
    """A form's files, by the callbacks of python-multipart."""

    def __init__(self, boundary: bytes, settings: Settings) -> None:
        if not boundary:
            raise Problem("bad_request", "the form has no boundary; let the client set Content-Type by itself")
        self.boundary, self.most = boundary, settings.images_per_request
        self.pictures: list[Picture] = []
        self.is_whole = False
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._disposition = b""
        self._begin = self._end = 0

    def parse(self, body: bytearray) -> list[Picture]:
        """Return the files. Raises Problem for a form that is damaged or has too many parts, or a part that is no file."""
        self._body = memoryview(body)
        callbacks = {event: getattr(self, f"_{event}") for event in _EVENTS}
        try:
            parser = MultipartParser(self.boundary, callbacks)  # pyright: ignore[reportArgumentType] - of this form, by their names
            parser.write(body)  # pyright: ignore[reportArgumentType] - a bytearray has all that it asks of bytes
            parser.finalize()
        except FormParserError as error:
            raise Problem("bad_request", f"the form can't be read ({error}); let a library make it, such as curl's -F") from None
        if not self.is_whole:
            raise Problem("bad_request", "the form has no end; it was cut off, or its boundary isn't that of Content-Type")
        return self.pictures

    def _on_part_begin(self) -> None:
        if len(self.pictures) >= self.most:
            raise Problem("too_many_images", f"a request may have {self.most} pictures; send the others in another")
        self._disposition = b""
        self._begin = self._end = 0

    def _on_header_begin(self) -> None:
        self._header = (bytearray(), bytearray())

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _on_header_end(self) -> None:
        if self._header[0].lower() == b"content-disposition":
            self._disposition = bytes(self._header[1])

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._begin, self._end = self._begin or start, end  # its pieces follow each other, for all is given to the parser at once

    def _on_part_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"filename")
        if name is None:
            field = shown(options.get(b"name", b"").decode(errors="replace"))[:_LONGEST_NAME]
            raise Problem(
                "invalid", f"the part {field!r} is no file; give files alone: what is asked for goes into the address, as ?top_k=3"
            )
        self.pictures.append(
            Picture(shown(name.decode(errors="replace"))[:_LONGEST_NAME] or "picture", self._body[self._begin : self._end])
        )

    def _on_end(self) -> None:
        self.is_whole = True
