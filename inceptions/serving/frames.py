"""What the server and the processes of its models say to each other: a head, which is JSON, and bytes behind it.

4 bytes    length of the head    8 bytes    length of the bytes, both little-endian
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any, BinaryIO

_LENGTHS = struct.Struct("<IQ")

Head = dict[str, Any]


def pack(head: Head, body: bytes = b"") -> bytes:
    """Return a frame."""
    return pack_head(head, len(body)) + body


def pack_head(head: Head, body_length: int) -> bytes:
    """Return a frame's beginning, behind which the bytes are to be written."""
    text = json.dumps(head).encode()
    return _LENGTHS.pack(len(text), body_length) + text


def read_frame(file: BinaryIO) -> tuple[Head, bytes] | None:
    """Return the next frame, or None where there is no more, or not a whole one."""
    lengths = file.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head_length, body_length = _LENGTHS.unpack(lengths)
    head, body = file.read(head_length), file.read(body_length)
    return (json.loads(head), body) if len(head) == head_length and len(body) == body_length else None


async def receive_frame(stream: asyncio.StreamReader) -> tuple[Head, bytes]:
    """Return the next frame. Raises asyncio.IncompleteReadError, or OSError, where there is no more."""
    head_length, body_length = _LENGTHS.unpack(await stream.readexactly(_LENGTHS.size))
    head = json.loads(await stream.readexactly(head_length))
    return head, await stream.readexactly(body_length)
