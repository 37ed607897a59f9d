"""Answers too large for one message between nodes, kept for a moment and fetched in pieces. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from hybrid.ports import ByteSource

PIECE = 4 * 1024 * 1024
"""Bytes in one piece: half of what a message may have."""
KEEP_S = 120.0
MAX_TOTAL = 192 * 1024 * 1024
STREAM_PIECE = 1024 * 1024
MAX_STREAMS = 64


class Pieces:
    """Bodies by a random key; the oldest go first when they are too many or too old."""

    def __init__(self, new_key: Callable[[], str]) -> None:
        self._new_key = new_key
        self._bodies: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._streams: OrderedDict[str, tuple[float, ByteSource]] = OrderedDict()

    def keep(self, body: bytes, now_s: float) -> str:
        """Remember `body`; returns its key."""
        self._expire(now_s)
        key = self._new_key()
        self._bodies[key] = (now_s, body)
        while len(self._bodies) > 1 and sum(len(kept) for _, kept in self._bodies.values()) > MAX_TOTAL:
            self._bodies.popitem(last=False)
        return key

    def piece(self, key: str, start: int, now_s: float) -> bytes | None:
        """Up to `PIECE` bytes from `start`; `None` when `key` is not known (any more). The last piece forgets it."""
        self._expire(now_s)
        kept = self._bodies.get(key)
        if kept is None:
            return None
        if start + PIECE >= len(kept[1]):
            del self._bodies[key]
        return kept[1][start : start + PIECE]

    def keep_stream(self, source: ByteSource, now_s: float) -> str | None:
        """Remember a stream, which ends by itself when nobody reads it; `None` when there are too many."""
        while self._streams and next(iter(self._streams.values()))[0] < now_s - 2 * KEEP_S:
            self._streams.popitem(last=False)
        if len(self._streams) >= MAX_STREAMS:
            return None
        key = self._new_key()
        self._streams[key] = (now_s, source)
        return key

    async def stream_piece(self, key: str, now_s: float) -> bytes | None:
        """
        The next bytes of a stream, about `STREAM_PIECE`; empty at its end; `None` when `key` is not known (any more).

        It is forgotten at its end, and when it fails, which is raised.
        """
        _, source = self._streams.pop(key, (0.0, None))
        if source is None:
            return None
        found = bytearray()
        while len(found) < STREAM_PIECE and (data := await source.read()):
            found += data
        if found:
            self._streams[key] = (now_s, source)
        return bytes(found)

    async def drop_stream(self, key: str) -> None:
        """Nobody reads on."""
        _, source = self._streams.pop(key, (0.0, None))
        if source is not None:
            await source.abort()

    def _expire(self, now_s: float) -> None:
        """Drop what nobody fetched."""
        while self._bodies and next(iter(self._bodies.values()))[0] < now_s - KEEP_S:
            self._bodies.popitem(last=False)
