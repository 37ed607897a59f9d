"""
Decides which sites are due for a look (and with it a snapshot, if something changed). Pure.

Monotonic seconds come in, site ids go out. All that are due are looked at together, because a pool tells of many in
one answer; who is due a little later comes along. A look happens every `look_every_s`. Where looking takes long it
happens less often, so that it stays a small part of the time, but at least thrice within the site's own promise
(`SiteSpec.snapshot_every_s`); the longest overdue goes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heappop, heappush

from hybrid.model import SiteId

RETRY_S = 1.0
"""After the first failed look; doubles with each further one, up to the promise."""
EARLY_S = 1.0
"""Who is due so much later is looked at with those that are due now."""
REST = 9.0
"""A look is followed by a pause so many times as long, if that is more than the usual one."""
LOOKS_PER_PROMISE = 3


@dataclass(slots=True)
class _Round:
    """Where one site is in its rounds."""

    promise_s: float
    due_s: float
    interval_s: float
    """From the beginning of the last look to that of the next."""
    looking: bool = False
    failures: int = 0


class Schedule:
    """The rounds of the sites owned here."""

    def __init__(self, look_every_s: float) -> None:
        """`look_every_s` is the usual time between two looks at one site, in seconds."""
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
                self._rounds[site] = known = _Round(promise_s, now_s, self._interval_s(promise_s, 0.0))
                self._wait(site, known, now_s)
            elif known.promise_s != promise_s:
                known.promise_s, known.interval_s = promise_s, self._interval_s(promise_s, 0.0)
                self._wait(site, known, min(known.due_s, now_s + known.interval_s))

    def due(self, now_s: float) -> list[SiteId]:
        """
        The sites to look at now, longest overdue first, and those of the next second if there are any.

        A look at each is under way until `looked` or `failed`. Empty: nothing is due.
        """
        found: list[SiteId] = []
        while self._queue and self._queue[0][0] <= now_s + (EARLY_S if found else 0.0):
            due_s, site = heappop(self._queue)
            round_ = self._rounds.get(site)
            if round_ is not None and not round_.looking and round_.due_s == due_s:
                round_.looking = True
                found.append(site)
        return found

    def looked(self, site: SiteId, began_s: float, took_s: float = 0.0) -> None:
        """A look that began at `began_s` ended well; it took `took_s` of the pool's time for all sites together."""
        if site in self._rounds:
            round_ = self._rounds[site]
            round_.looking, round_.failures = False, 0
            round_.interval_s = self._interval_s(round_.promise_s, took_s)
            self._wait(site, round_, began_s + round_.interval_s)

    def failed(self, site: SiteId, now_s: float) -> None:
        """A look ended badly: again soon, then less often, but at least once per promise."""
        if site in self._rounds:
            round_ = self._rounds[site]
            round_.looking = False
            pause_s = min(RETRY_S * 2.0 ** min(round_.failures, 16), max(round_.promise_s, RETRY_S))
            self._wait(site, round_, now_s + pause_s)
            round_.failures += 1

    def interval_s(self, site: SiteId) -> float:
        """From one look at `site` to the next, as things are; the usual one for a site that is not ours."""
        return self._rounds[site].interval_s if site in self._rounds else self.look_every_s

    def _wait(self, site: SiteId, round_: _Round, due_s: float) -> None:
        """Queue the next look; an entry of another time that still is in the queue counts for nothing."""
        round_.due_s = due_s
        heappush(self._queue, (due_s, site))

    def _interval_s(self, promise_s: float, took_s: float) -> float:
        patient_s = min(took_s * (1.0 + REST), promise_s / LOOKS_PER_PROMISE)
        return min(max(self.look_every_s, patient_s), promise_s)
