"""Frames on a byte stream: a 4-byte big-endian length, then that many bytes. Shell only in its base class."""

from __future__ import annotations

import struct
from typing import cast

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.logger import Logger


def frame(body: bytes) -> bytes:
    """`body` with its length."""
    return struct.pack("!I", len(body)) + body


class FrameProtocol(Protocol):
    """Cuts what arrives into frames. A frame too long or not understood ends the connection, nothing else."""

    log = Logger()
    max_frame = 8 * 1024 * 1024

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.cut_off = False

    def dataReceived(self, data: bytes) -> None:
        """Take frames off the buffer."""
        self._buffer += data
        try:
            while not self.cut_off and len(self._buffer) >= 4:
                (length,) = struct.unpack_from("!I", self._buffer)
                if length > self.max_frame:
                    raise ValueError(f"a frame of {length} bytes")
                if len(self._buffer) < 4 + length:
                    return
                body = bytes(self._buffer[4 : 4 + length])
                del self._buffer[: 4 + length]
                self.frame_received(body)
        except ValueError as error:
            self.log.warn("a connection breaks the protocol: {error}", error=str(error))
            self.cut()

    def cut(self) -> None:
        """End the connection at once, with what is unsent."""
        self.cut_off = True
        self._buffer.clear()
        if self.transport is not None:
            cast(ITCPTransport, self.transport).abortConnection()

    def frame_received(self, body: bytes) -> None:
        """One frame. Raises `ValueError` when it is not understood."""
        raise ValueError("no frame is expected here")
