"""
How much a client may ask of a connection that brings nobody anything: resets, pings, settings, empty frames. Pure.

Each such frame costs a token. Tokens come with time and with bytes of bodies moved, so a busy connection has many and
one that does nothing but reset what it asked for (CVE-2023-44487), or floods (CVE-2019-9512, -9515, -9518), has few.
"""

from __future__ import annotations

MOST = 200.0
PER_S = 20.0
PER_BYTE = 1 / 1024
RESET = 2.0
"""What a stream that the client takes back costs."""
FRAME = 1.0


class Calm:
    """The tokens of one connection."""

    __slots__ = ("_at_s", "_left")

    def __init__(self, now_s: float) -> None:
        self._left, self._at_s = MOST, now_s

    def earn(self, count: int) -> None:
        """Bytes of bodies were moved."""
        self._left = min(MOST, self._left + count * PER_BYTE)

    def spend(self, cost: float, now_s: float) -> bool:
        """Pay for a frame; `False`: enough is enough."""
        self._left = min(MOST, self._left + (now_s - self._at_s) * PER_S)
        self._at_s = now_s
        self._left -= cost
        return self._left >= 0
