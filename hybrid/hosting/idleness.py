"""
Which sites fall asleep: those that nobody asked for, as the front doors of this node tell. Pure.

A site dozes first: who asks for it waits already, but its container runs on until every front door has said once more
that nobody uses it. So no request is cut off by a decision that was made on yesterday's news, and one that comes in
between costs nothing. What a front door did not tell counts as use: ignorance is not idleness.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

from hybrid.model import SiteId
from hybrid.sitetraffic import Used

LATE_S = 25.0
"""A front door not heard of for longer knows something that is not known here: they tell every ten seconds."""
FORGET_S = 300.0
"""Nor one for this long: then it is gone, and what it had with it."""
SETTLE_S = 1.0
"""The front doors know that a site dozes by then."""
DOZE_S = 60.0
"""One that was not confirmed by then goes on as if somebody used it."""

Step = Literal["doze", "shut", "rouse"]
"""`doze`: send nobody there any more. `shut`: stop the container. `rouse`: go on, somebody came in between."""


class Idleness:
    """What is known of the sites that this node owns."""

    def __init__(self) -> None:
        self._fronts: dict[str, tuple[float, int]] = {}
        """Front doors: when they last told something, and its number."""
        self._used_s: dict[SiteId, float] = {}
        self._since_s: dict[SiteId, float] = {}
        """Sites that are awake here, and since when that is looked at."""
        self._inside: Counter[SiteId] = Counter()
        self._blind_s = float("-inf")
        """Until then not all was known."""
        self._dozing_s: dict[SiteId, float] = {}
        """Sites that doze, and since when."""

    def heard(self, used: Used, now_s: float) -> None:
        """A front door told what it knows."""
        last = self._fronts.get(used.front)
        if last is None or used.number != last[1] + 1 or now_s - last[0] > LATE_S:
            self._blind_s = now_s
        self._fronts[used.front] = now_s, used.number
        for site in used.sites:
            self._used_s[SiteId(site)] = now_s

    def enter(self, site: SiteId, now_s: float) -> None:
        """Somebody uses it by another way than the front doors, until `leave`."""
        self._inside[site] += 1
        self._used_s[site] = now_s

    def leave(self, site: SiteId, now_s: float) -> None:
        """Undoes one `enter`."""
        self._inside[site] -= 1
        self._used_s[site] = now_s

    def dozed(self, site: SiteId, now_s: float) -> None:
        """It dozes from now on."""
        self._dozing_s[site] = now_s

    def shut(self, site: SiteId) -> None:
        """Its container is stopped."""
        self._dozing_s.pop(site, None)

    def woken(self, site: SiteId, now_s: float) -> bool:
        """Somebody asked for it. Whether it only dozed: then its container still runs."""
        self._used_s[site] = now_s
        return self._dozing_s.pop(site, None) is not None

    def decide(self, site: SiteId, sleep_after_s: float, asleep: bool, serving: bool, now_s: float) -> Step | None:
        """
        What is to be done about `site` now.

        Args:
            site: One that this node owns.
            sleep_after_s: See `SiteSpec`.
            asleep: See `SiteSpec`.
            serving: It is awake, and visitors are sent to it.
        """
        if asleep:
            self._since_s.pop(site, None)
            return self._dozes(site, now_s)
        self._dozing_s.pop(site, None)
        if not serving or not sleep_after_s:
            self._since_s.pop(site, None)
            return None
        since_s = max(self._since_s.setdefault(site, now_s), self._used_s.get(site, self._blind_s), self._blind_s)
        idle = not self._inside[site] and now_s - since_s >= sleep_after_s
        return "doze" if idle and self._all_heard(now_s, now_s - LATE_S) else None

    def forget(self, site: SiteId) -> None:
        """It is not this node's any more."""
        for known in (self._used_s, self._since_s, self._dozing_s, self._inside):
            known.pop(site, None)

    def _dozes(self, site: SiteId, now_s: float) -> Step | None:
        dozing_s = self._dozing_s.get(site)
        if dozing_s is None:
            return None
        used = self._inside[site] or self._used_s.get(site, dozing_s) > dozing_s or self._blind_s > dozing_s
        if used or now_s - dozing_s > DOZE_S:
            return "rouse"
        return "shut" if self._all_heard(now_s, dozing_s + SETTLE_S) else None

    def _all_heard(self, now_s: float, since_s: float) -> bool:
        """Whether every front door there is told something since then."""
        self._fronts = {front: last for front, last in self._fronts.items() if now_s - last[0] <= FORGET_S}
        return bool(self._fronts) and all(heard_s >= since_s for heard_s, _ in self._fronts.values())
