"""Protocol buffers without their library: enters a buffer, leaves the fields of a message, every length checked against its end.

A message within a message is not looked into before it is asked for, so that nesting costs nothing. The format:
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from inceptions.errors import WeightsError
from inceptions.weights.readers.foreign import Budget, damaged, quote, unfit

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
_MAX_FIELDS = 200_000
_MAX_TEXT = 4096


class Field(NamedTuple):
    """One field: its number, its wire type, its value if that is a number, and where it begins and ends in the buffer."""

    number: int
    kind: int
    value: int
    start: int
    end: int


class Wire:
    """A buffer of protocol-buffer messages, with how many more fields will be read from it."""

    def __init__(self, buffer: bytes | mmap.mmap) -> None:
        self.buffer = buffer
        self.left = _MAX_FIELDS

    def fields(self, within: Field | None = None) -> Iterator[Field]:
        """Yield the fields of the message in `within`, or of the whole buffer.

        Raises WeightsError: a field that runs past the end of its message, or that is none.
        """
        if within is not None and within.kind != LENGTH:
            raise damaged(f"field {within.number} at byte {within.start} should be a message")
        place, end = (within.start, within.end) if within is not None else (0, len(self.buffer))
        while place < end:
            self.left -= 1
            if self.left < 0:
                raise unfit(f"it has more than {_MAX_FIELDS:,} fields")
            field = self._field(place, end)
            yield field
            place = field.end

    def _field(self, place: int, end: int) -> Field:
        key, start = self._varint(place, end)
        number, kind = key >> 3, key & 7
        value = 0
        if number == 0:
            raise damaged(f"there is no field at byte {place}")
        if kind == VARINT:
            value, stop = self._varint(start, end)
        elif kind == LENGTH:
            length, start = self._varint(start, end)
            stop = start + length
        elif kind in _FIXED:
            stop = start + _FIXED[kind]
        else:
            raise damaged(f"field {number} at byte {place} has the wire type {kind}")
        if stop > end:
            raise WeightsError(
                f"field {number} at byte {place} claims {stop - start:,} bytes, but {end - start:,} are left; download it again"
            )
        return Field(number, kind, value, start, stop)

    def _varint(self, place: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if place >= end:
                raise WeightsError(f"it ends within a field, at byte {place:,}; the download was cut short: download it again")
            byte = self.buffer[place]
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, place
        raise damaged(f"the number at byte {place - 10:,} has no end")

    def text(self, field: Field) -> str:
        """Return a field that is text."""
        if field.kind != LENGTH or field.end - field.start > _MAX_TEXT:
            raise damaged(f"field {field.number} at byte {field.start:,} should be a name")
        try:
            return self.buffer[field.start : field.end].decode()
        except UnicodeDecodeError:
            raise damaged(f"the name at byte {field.start:,} is no text") from None

    def integers(self, field: Field) -> list[int]:
        """Return the signed numbers of a repeated field: one, or several packed together."""
        if field.kind == VARINT:
            return [_signed(field.value)]
        if field.kind != LENGTH or field.end - field.start > _MAX_TEXT:
            raise damaged(f"field {field.number} at byte {field.start:,} should be a few numbers")
        numbers, place = [], field.start
        while place < field.end:
            value, place = self._varint(place, field.end)
            numbers.append(_signed(value))
        return numbers

    def array(self, name: str, shape: Sequence[int], dtype: np.dtype, pieces: Sequence[Field], budget: Budget) -> np.ndarray:
        """Return the tensor whose numbers are `pieces`, each packed; WeightsError unless they are as many as its shape asks for."""
        wanted = budget.claim(name, shape, dtype.itemsize)
        if any(piece.kind != LENGTH for piece in pieces):
            raise WeightsError(f"tensor {quote(name)} has numbers that aren't packed; write the file anew with its framework")
        held = sum(piece.end - piece.start for piece in pieces)
        if held != wanted:
            stored = f"{held:,} bytes of numbers where its shape {quote(tuple(shape))} wants {wanted:,}"
            raise damaged(f"tensor {quote(name)} has {stored}")
        array = np.empty(math.prod(shape), dtype=dtype)
        bytes_of, place = array.view(np.uint8), 0
        for piece in pieces:
            length = piece.end - piece.start
            bytes_of[place : place + length] = np.frombuffer(self.buffer, dtype=np.uint8, count=length, offset=piece.start)
            place += length
        return array.reshape(tuple(shape))


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
