"""
Decides which sites are due for a look (and with it a snapshot, if something changed). Pure.

Monotonic seconds come in, site ids go out. A look happens every `look_every_s`, and never later than the site's own
promise (`SiteSpec.snapshot_every_s`); when there is more to do than fits, the longest overdue goes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heappop, heappush

from hybrid.model import SiteId

RETRY_S = 1.0
"""After the first failed look; doubles with each further one, up to the promise."""


@dataclass(slots=True)
class _Round:
    """Where one site is in its rounds."""

    promise_s: float
    due_s: float
    looking: bool = False
    failures: int = 0


class Schedule:
    """The rounds of the sites owned here."""

    def __init__(self, look_every_s: float) -> None:
        """`look_every_s` is the pause between two looks at one site, in seconds."""
        self.look_every_s = look_every_s
        self._rounds: dict[SiteId, _Round] = {}
        self._queue: list[tuple[float, SiteId]] = []

    def follow(self, promises: Mapping[SiteId, float], now_s: float) -> None:
        """Take over which sites are ours, each with its promise in seconds. A new one is due at once."""
        for site in self._rounds.keys() - promises.keys():
            del self._rounds[site]
        for site, promise_s in promises.items():
            known = self._rounds.get(site)
            if known is None:
                self._rounds[site] = known = _Round(promise_s, now_s)
                self._wait(site, known, now_s)
            elif known.promise_s != promise_s:
                known.promise_s = promise_s
                self._wait(site, known, min(known.due_s, now_s + self._interval_s(known)))

    def next(self, now_s: float) -> SiteId | None:
        """The longest overdue site; a look at it is under way until `looked` or `failed`. `None`: nothing is due."""
        while self._queue and self._queue[0][0] <= now_s:
            due_s, site = heappop(self._queue)
            round_ = self._rounds.get(site)
            if round_ is not None and not round_.looking and round_.due_s == due_s:
                round_.looking = True
                return site
        return None

    def looked(self, site: SiteId, began_s: float) -> None:
        """A look that began at `began_s` ended well."""
        if site in self._rounds:
            round_ = self._rounds[site]
            round_.looking, round_.failures = False, 0
            self._wait(site, round_, began_s + self._interval_s(round_))

    def failed(self, site: SiteId, now_s: float) -> None:
        """A look ended badly: again soon, then less often, but at least once per promise."""
        if site in self._rounds:
            round_ = self._rounds[site]
            round_.looking = False
            pause_s = min(RETRY_S * 2.0 ** min(round_.failures, 16), max(round_.promise_s, RETRY_S))
            self._wait(site, round_, now_s + pause_s)
            round_.failures += 1

    def _wait(self, site: SiteId, round_: _Round, due_s: float) -> None:
        """Queue the next look; an entry of another time that still is in the queue counts for nothing."""
        round_.due_s = due_s
        heappush(self._queue, (due_s, site))

    def _interval_s(self, round_: _Round) -> float:
        return min(self.look_every_s, round_.promise_s)
