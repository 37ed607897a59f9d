"""
Whether bytes are msgpack as our own encoder writes it: nothing hidden, nothing that means two things. Pure.

The decoder skips what it does not know, unread, and takes any float. So a message is looked at here when it holds
something that could be a float which is no number, or does not come out again as it went in (`hybrid.wire.unpack`):
messages of the same release pass without, those of a newer one with unknown fields are worth the time.

Format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable

MAX_DEPTH = 32
"""Arrays and maps inside each other."""

_NOT_A_NUMBER = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]", re.DOTALL)


def suspicious(data: bytes) -> bool:
    """Whether `data` may hold a float that is no number, or is infinite. Quick; often wrong about long binaries."""
    return _NOT_A_NUMBER.search(data) is not None


def check(data: bytes) -> None:
    """
    Raises `ValueError` unless `data` is one value as our encoder writes it.

    That is: at most `MAX_DEPTH` deep, with no more entries than there are bytes, integers as short as can be, floats
    of eight bytes that are numbers, strings of UTF-8, no extension types, and nothing after the value.
    """
    reader = _Reader(data)
    left = [1]  # entries still to come, of the value itself and of each open array or map
    while left:
        if left[-1] == 0:
            left.pop()
            continue
        left[-1] -= 1
        entries = reader.value()
        if entries:
            if len(left) > MAX_DEPTH:
                raise ValueError(f"more than {MAX_DEPTH} arrays and maps inside each other")
            left.append(entries)
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes after the message")


class _Reader:
    """Goes over values; of arrays and maps only their beginning."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def value(self) -> int:
        """Pass one value; how many belong to it and follow. Raises `ValueError`."""
        head = self._take(1)[0]
        if head <= 0x7F or head >= 0xE0 or head in (0xC0, 0xC2, 0xC3):
            return 0
        if head <= 0x8F:
            return self._entries(2 * (head & 0x0F))
        if head <= 0x9F:
            return self._entries(head & 0x0F)
        if head <= 0xBF:
            return self._text(head & 0x1F)
        if head not in _READ:
            raise ValueError(f"a value of the kind {head:#x}")
        return _READ[head](self)

    def _take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self._data):
            raise ValueError("it ends too early")
        taken = self._data[self.at : end]
        self.at = end
        return taken

    def number(self, size: int) -> int:
        """An unsigned number of `size` bytes."""
        return int.from_bytes(self._take(size), "big")

    def _entries(self, count: int) -> int:
        if count > len(self._data) - self.at:
            raise ValueError(f"{count} entries in {len(self._data) - self.at} bytes")
        return count

    def _text(self, length: int) -> int:
        try:
            self._take(length).decode()
        except UnicodeDecodeError as error:
            raise ValueError("a string that is not UTF-8") from error
        return 0

    def text(self, size: int) -> int:
        """A string whose length has `size` bytes."""
        return self._text(self.number(size))

    def binary(self, size: int) -> int:
        """Bytes whose length has `size` bytes."""
        self._take(self.number(size))
        return 0

    def array(self, size: int) -> int:
        """The beginning of an array whose length has `size` bytes."""
        return self._entries(self.number(size))

    def map(self, size: int) -> int:
        """The beginning of a map whose length has `size` bytes."""
        return self._entries(2 * self.number(size))

    def unsigned(self, size: int) -> int:
        """A whole number from 0 on, that would not fit into fewer bytes."""
        value = self.number(size)
        if value < (0x80 if size == 1 else 1 << 4 * size):
            raise ValueError(f"{value} in {size} bytes")
        return 0

    def signed(self, size: int) -> int:
        """A number below 0, that would not fit into fewer bytes."""
        value = int.from_bytes(self._take(size), "big", signed=True)
        if value >= (-0x20 if size == 1 else -(1 << 4 * size - 1)):
            raise ValueError(f"{value} in {size} bytes")
        return 0

    def float(self, size: int) -> int:
        """A number with a fraction."""
        (value,) = struct.unpack(">d", self._take(size))
        if not math.isfinite(value):
            raise ValueError("a float that is no number")
        return 0


def _of(size: int, read: Callable[[_Reader, int], int]) -> Callable[[_Reader], int]:
    return lambda reader: read(reader, size)


_READ: dict[int, Callable[[_Reader], int]] = {
    0xC4: _of(1, _Reader.binary),
    0xC5: _of(2, _Reader.binary),
    0xC6: _of(4, _Reader.binary),
    0xCB: _of(8, _Reader.float),
    0xCC: _of(1, _Reader.unsigned),
    0xCD: _of(2, _Reader.unsigned),
    0xCE: _of(4, _Reader.unsigned),
    0xCF: _of(8, _Reader.unsigned),
    0xD0: _of(1, _Reader.signed),
    0xD1: _of(2, _Reader.signed),
    0xD2: _of(4, _Reader.signed),
    0xD3: _of(8, _Reader.signed),
    0xD9: _of(1, _Reader.text),
    0xDA: _of(2, _Reader.text),
    0xDB: _of(4, _Reader.text),
    0xDC: _of(2, _Reader.array),
    0xDD: _of(4, _Reader.array),
    0xDE: _of(2, _Reader.map),
    0xDF: _of(4, _Reader.map),
}
