"""
Bodies of HTTP/1.1 messages: where they end, without the framing they came in. Pure.

Each reader is fed bytes and gives back those of the body; it says when it is `done` and what came after (`rest`).
"""

from __future__ import annotations

import re
from typing import Protocol

from hybrid_proxy.head import TOKEN

MAX_CHUNK_LINE = 512
MAX_EXTENSIONS = 16 * 1024
"""Bytes of chunk lines beyond sizes, over a whole body: many tiny chunks with long extensions are an attack."""
MAX_TRAILERS = 8 * 1024
LAST_CHUNK = b"0\r\n\r\n"

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})((?:[ \t]*+;[\t -~\x80-\xff]*+)?)\r\n")
_CHUNK_BEGINNING = re.compile(rb"[0-9A-Fa-f]{1,15}(?:\r?\Z|[ \t]*+\Z|[ \t]*+;[\t -~\x80-\xff]*+\r?\Z)")
_TRAILER = re.compile(TOKEN + rb":[\t -~\x80-\xff]*+\r\n")


class BadBody(Exception):
    """The framing of a body is broken."""


class BodyReader(Protocol):
    """Finds the end of one body."""

    done: bool
    rest: bytes
    """What was fed beyond the end; meaningful once `done`."""

    def feed(self, data: bytes) -> bytes:
        """The body's bytes in `data`, perhaps none. Raises `BadBody`."""


class LengthReader:
    """A body of known length."""

    __slots__ = ("_left", "done", "rest")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """See `BodyReader`."""
        left = self._left = self._left - len(data)
        if left > 0:
            return data
        self.done = True
        if left == 0:
            return data
        self.rest = data[left:]
        return data[:left]


class EndReader:
    """A body that lasts until the connection ends."""

    __slots__ = ("done", "rest")

    def __init__(self) -> None:
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """See `BodyReader`."""
        return data


class ChunkedReader:
    """The chunked coding (RFC 9112 §7.1); extensions and trailers are dropped."""

    __slots__ = ("_extensions", "_left", "_pending", "_step", "_trailers", "done", "rest")

    def __init__(self) -> None:
        self._pending = b""
        self._left = 0
        self._extensions = 0
        self._trailers = 0
        self._step = self._size
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """See `BodyReader`."""
        if self._pending:
            data, self._pending = self._pending + data, b""
        pieces: list[bytes] = []
        at = 0
        while not self.done:
            moved = self._step(data, at, pieces)
            if moved < 0:
                self._pending = data[at:]
                break
            at = moved
        if self.done:
            self.rest = data[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # Each step reads at `at`, and returns where it ended, or -1 when it needs more.

    def _size(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        match = _CHUNK_LINE.match(data, at)
        if match is None:
            if at < len(data) and (len(data) - at > MAX_CHUNK_LINE or not _CHUNK_BEGINNING.match(data, at)):
                raise BadBody("not a chunk size")
            return -1
        self._extensions += len(match[2])
        if match.end() - at > MAX_CHUNK_LINE or self._extensions > MAX_EXTENSIONS:
            raise BadBody("chunk extensions are too large")
        self._left = int(match[1], 16)
        self._step = self._data if self._left else self._trailer
        return match.end()

    def _data(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        if at == len(data):
            return -1
        piece = data[at : at + self._left]
        pieces.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._step = self._data_end
        return at + len(piece)

    def _data_end(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        end = data[at : at + 2]
        if end == b"\r\n":
            self._step = self._size
            return at + 2
        if end not in (b"", b"\r"):
            raise BadBody("a chunk is longer than it says")
        return -1

    def _trailer(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        if data[at : at + 2] == b"\r\n":
            self.done = True
            return at + 2
        match = _TRAILER.match(data, at)
        if match is None:
            if data.find(b"\n", at) >= 0 or len(data) - at > MAX_TRAILERS:
                raise BadBody("not a trailer")
            return -1
        self._trailers += match.end() - at
        if self._trailers > MAX_TRAILERS:
            raise BadBody("trailers are too large")
        return match.end()


def chunk(data: bytes) -> bytes:
    """One chunk of the chunked coding; `data` is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)
