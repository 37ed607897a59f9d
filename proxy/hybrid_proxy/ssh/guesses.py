"""How patient to be with sources whose keys are refused, so that trying many costs more and more time. Pure."""

from __future__ import annotations

from collections import OrderedDict

FREE = 10
"""Refused keys that cost nothing: an agent offers all it has. One who has keys exchanged and leaves counts as one."""
FORGET_ONE_S = 6.0
SLOWEST_S = 8.0
KNOWN = 10_000
"""Sources remembered; those heard of longest ago are forgotten first."""


class Guesses:
    """Refused keys by source; one is forgotten every `FORGET_ONE_S`."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wrong(self, source: str, now_s: float) -> float:
        """One more was refused; returns how long to keep its client waiting for the answer."""
        count = self._count(source, now_s) + 1
        self._sources[source] = (count, now_s)
        self._sources.move_to_end(source)
        if len(self._sources) > KNOWN:
            self._sources.popitem(last=False)
        return _wait_s(count)

    def wait_s(self, source: str, now_s: float) -> float:
        """How long a new client from there is to wait before anything is done for it."""
        return _wait_s(self._count(source, now_s))

    def right(self, source: str) -> None:
        """Somebody there has a key that is good."""
        self._sources.pop(source, None)

    def _count(self, source: str, now_s: float) -> float:
        count, at_s = self._sources.get(source, (0.0, now_s))
        return max(0.0, count - (now_s - at_s) / FORGET_ONE_S)


def _wait_s(count: float) -> float:
    return min(SLOWEST_S, 0.25 * 1.5 ** (count - FREE)) if count > FREE else 0.0
