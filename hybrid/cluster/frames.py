"""Frames: a 4-byte length (big-endian) and so many bytes. Pure."""

from __future__ import annotations

import struct

_HEADER = struct.Struct("!I")


class FrameTooLarge(ValueError):
    """A frame announced itself longer than the receiver takes."""


class Frames:
    """Cuts what arrives, in whatever pieces, into frames of at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """
        The frames that `data` completes, in order, without their lengths; an empty frame is `b""`.

        Raises:
            FrameTooLarge: As soon as the length is known, before any more of it is kept.
        """
        self._buffer += data
        found, at = [], 0
        while len(self._buffer) - at >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._buffer, at)
            if length > self._limit:
                raise FrameTooLarge(f"frame of {length} bytes, {self._limit} is the most")
            end = at + _HEADER.size + length
            if len(self._buffer) < end:
                break
            found.append(bytes(self._buffer[at + _HEADER.size : end]))
            at = end
        del self._buffer[:at]
        return found


def header(length: int) -> bytes:
    """What stands before a frame of `length` bytes."""
    return _HEADER.pack(length)
