"""Which counters of a sender were seen already: a sliding window, as in IPsec (RFC 4303 §3.4.3). Pure."""

from __future__ import annotations

WINDOW = 1024
"""So far behind the newest a packet may come and still be taken."""
_MASK = (1 << WINDOW) - 1


class Window:
    """One sender's."""

    __slots__ = ("_newest", "_seen")

    def __init__(self) -> None:
        self._newest = -1
        self._seen = 0

    def fresh(self, counter: int) -> bool:
        """Whether `counter` is new; it is not from then on. Ask only of what was authenticated."""
        ahead = counter - self._newest
        if ahead > 0:
            self._seen = ((self._seen << ahead) | 1) & _MASK if ahead < WINDOW else 1
            self._newest = counter
            return True
        if -ahead >= WINDOW:
            return False  # perhaps of an earlier life, thousands of millions ago
        bit = 1 << -ahead
        if self._seen & bit:
            return False
        self._seen |= bit
        return True
