"""Answers too large for one message between nodes, kept for a moment and fetched in pieces. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

PIECE = 4 * 1024 * 1024
"""Bytes in one piece: half of what a message may have."""
KEEP_S = 120.0
MAX_TOTAL = 192 * 1024 * 1024


class Pieces:
    """Bodies by a random key; the oldest go first when they are too many or too old."""

    def __init__(self, new_key: Callable[[], str]) -> None:
        self._new_key = new_key
        self._bodies: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

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

    def _expire(self, now_s: float) -> None:
        """Drop what nobody fetched."""
        while self._bodies and next(iter(self._bodies.values()))[0] < now_s - KEEP_S:
            self._bodies.popitem(last=False)
