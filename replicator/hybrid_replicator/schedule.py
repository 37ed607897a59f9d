"""
Decides which sites are due for a look (and with it a snapshot, if something changed). Pure.

Monotonic seconds come in, site ids go out. A look happens every `look_every_s`, and never later than the site's own
promise (`SiteSpec.snapshot_every_s`); when there is more to do than fits, the longest overdue goes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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

    def follow(self, promises: Mapping[SiteId, float], now_s: float) -> None:
        """Take over which sites are ours, each with its promise in seconds. A new one is due at once."""
        for site in self._rounds.keys() - promises.keys():
            del self._rounds[site]
        for site, promise_s in promises.items():
            known = self._rounds.setdefault(site, _Round(promise_s, now_s))
            known.promise_s = promise_s
            known.due_s = min(known.due_s, now_s + self._interval_s(known))

    def due(self, now_s: float) -> list[SiteId]:
        """Sites to look at now, longest overdue first; those with a look under way are left out."""
        waiting = [(round_.due_s, site) for site, round_ in self._rounds.items() if not round_.looking]
        return [site for due_s, site in sorted(waiting) if due_s <= now_s]

    def began(self, site: SiteId) -> None:
        """A look at `site` is under way."""
        if site in self._rounds:
            self._rounds[site].looking = True

    def looked(self, site: SiteId, began_s: float) -> None:
        """A look that began at `began_s` ended well."""
        if site in self._rounds:
            round_ = self._rounds[site]
            round_.looking, round_.failures = False, 0
            round_.due_s = began_s + self._interval_s(round_)

    def failed(self, site: SiteId, now_s: float) -> None:
        """A look ended badly: again soon, then less often, but at least once per promise."""
        if site in self._rounds:
            round_ = self._rounds[site]
            round_.looking = False
            round_.due_s = now_s + min(RETRY_S * 2.0 ** min(round_.failures, 16), self._retry_cap_s(round_))
            round_.failures += 1

    def hurry(self, site: SiteId, now_s: float) -> None:
        """Look at `site` at the next opportunity."""
        if site in self._rounds:
            self._rounds[site].due_s = min(self._rounds[site].due_s, now_s)

    def _interval_s(self, round_: _Round) -> float:
        return min(self.look_every_s, round_.promise_s)

    def _retry_cap_s(self, round_: _Round) -> float:
        return max(round_.promise_s, RETRY_S)
