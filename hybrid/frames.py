"""Frames on a byte stream: a 4-byte length (big-endian) and so many bytes. Shell only in its base class."""

from __future__ import annotations

import struct
from typing import cast

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.logger import Logger

_HEADER = struct.Struct("!I")


class FrameTooLarge(ValueError):
    """A frame announced itself longer than the receiver takes."""


def header(length: int) -> bytes:
    """What stands before a frame of `length` bytes."""
    return _HEADER.pack(length)


def frame(body: bytes) -> bytes:
    """`body` with its length."""
    return header(len(body)) + body


class Frames:
    """Cuts what arrives, in whatever pieces, into frames of at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """
        The frames that `data` completes, in order, without their lengths; an empty frame is `b""`.

        Raises:
            FrameTooLarge: As soon as the length is known; what came before is lost with the connection.
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
            with memoryview(self._buffer) as whole:  # a slice of the buffer itself would be one copy more
                found.append(bytes(whole[at + _HEADER.size : end]))
            at = end
        del self._buffer[:at]
        return found


class FrameProtocol(Protocol):
    """Cuts what arrives into frames. A frame too long or not understood ends the connection, nothing else."""

    log = Logger()
    max_frame = 8 * 1024 * 1024

    def __init__(self) -> None:
        self._frames = Frames(self.max_frame)
        self.cut_off = False

    def dataReceived(self, data: bytes) -> None:
        """Take frames off; after `cut` none any more."""
        if self.cut_off:
            return
        try:
            for body in self._frames.feed(data):
                self.frame_received(body)
                if self.cut_off:
                    return
        except ValueError as error:
            self.log.warn("a connection breaks the protocol: {error}", error=str(error))
            self.cut()

    def cut(self) -> None:
        """End the connection at once, with what is unsent."""
        self.cut_off = True
        if self.transport is not None:
            cast(ITCPTransport, self.transport).abortConnection()

    def frame_received(self, body: bytes) -> None:
        """One frame. Raises `ValueError` when it is not understood."""
        raise ValueError("no frame is expected here")
