"""Datagrams in a stream between two nodes, each behind its length in two bytes. Pure."""

from __future__ import annotations

import struct


class Datagrams:
    """Takes them out of the stream: of 65,535 bytes at most, so what is kept is bounded."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Those that `data` completes, in their order."""
        self._buffer += data
        whole: list[bytes] = []
        at = 0
        while len(self._buffer) - at >= 2:
            (length,) = struct.unpack_from("!H", self._buffer, at)
            if len(self._buffer) - at - 2 < length:
                break
            whole.append(self._buffer[at + 2 : at + 2 + length])
            at += 2 + length
        self._buffer = self._buffer[at:]
        return whole


def framed(datagram: bytes) -> bytes:
    """A datagram as it travels in a stream."""
    return struct.pack("!H", len(datagram)) + datagram
