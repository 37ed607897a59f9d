"""
The waiting room: requests held while their site has no owner, or its owner does not answer. Shell.

A destination that did not answer is in doubt: new requests wait too, and one of them, the scout, tries again after
growing delays. When it gets through, or when the view has a new route, all go on. So a dead owner is probed by one
request at a time, not by a thousand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Set
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from hybrid.model import SiteId
from hybrid_proxy.limits import Limits

DELAYS_S = (0.1, 0.2, 0.4, 0.8, 1.0)
"""Between scouts; the last one repeats."""


class Waiter(Protocol):
    """Who waits: asks for its route again when resumed, and has a deadline of its own."""

    site: SiteId

    def resume(self, scout: bool) -> None:
        """Go on; a `scout` does so although the destination is in doubt."""


class _Doubt:
    """A destination that did not answer."""

    __slots__ = ("call", "tries")

    def __init__(self) -> None:
        self.tries = 0
        self.call: IDelayedCall | None = None


class Room:
    """Holds a bounded number of waiters per site and in all."""

    log = Logger()

    def __init__(self, clock: IReactorTime, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._queues: dict[SiteId, deque[Waiter]] = {}
        self.doubts: dict[SiteId, _Doubt] = {}
        """Of sites whose owner did not answer of late."""
        self.held = 0
        self.arrived: Callable[[SiteId], None] = lambda site: None
        """Told of each that is let in."""

    def hold(self, waiter: Waiter) -> bool:
        """Let `waiter` in, at the end of its site's queue; `False` when there is no room."""
        queue = self._queues.get(waiter.site)
        if queue is None:
            queue = self._queues[waiter.site] = deque()
        if len(queue) >= self._limits.held_per_site or self.held >= self._limits.held_in_all:
            return False
        queue.append(waiter)
        self.held += 1
        self.arrived(waiter.site)
        return True

    def leave(self, waiter: Waiter) -> bool:
        """`waiter` waits no longer; `False` when it was not here."""
        queue = self._queues.get(waiter.site)
        if queue is None:
            return False
        try:
            queue.remove(waiter)
        except ValueError:
            return False
        self.held -= 1
        if not queue:
            del self._queues[waiter.site]
        return True

    def waiting(self, site: SiteId) -> int:
        """How many wait for `site`."""
        return len(self._queues.get(site, ()))

    def awaited(self) -> Set[SiteId]:
        """Sites that somebody waits for."""
        return self._queues.keys()

    # ------------------------------------------------------------------------------------------------- doubt

    def doubt(self, site: SiteId) -> None:
        """The owner of `site` did not answer: send a scout in a while."""
        doubt = self.doubts.get(site)
        if doubt is None:
            doubt = self.doubts[site] = _Doubt()
        if doubt.call is None:
            delay_s = DELAYS_S[min(doubt.tries, len(DELAYS_S) - 1)]
            doubt.tries += 1
            doubt.call = self._clock.callLater(delay_s, self._scout, site)

    def trust(self, site: SiteId) -> None:
        """The owner of `site` answers: everybody may go on."""
        if site in self.doubts:
            self.release((site,))

    def _scout(self, site: SiteId) -> None:
        doubt = self.doubts.get(site)
        if doubt is None:
            return
        doubt.call = None
        first = self._first(site)
        if first is None:
            del self.doubts[site]
            return
        self.doubt(site)  # should the scout get stuck, another follows
        self._resume(first, scout=True)

    # ---------------------------------------------------------------------------------------------- letting go

    def release(self, sites: Iterable[SiteId]) -> None:
        """The routes of `sites` changed: all who wait for them go on, first come first."""
        for site in sites:
            doubt = self.doubts.pop(site, None)
            if doubt is not None and doubt.call is not None:
                doubt.call.cancel()
            queue = self._queues.pop(site, None)
            if queue is not None:
                self.held -= len(queue)
                for waiter in queue:
                    self._resume(waiter)

    def release_one(self, site: SiteId) -> None:
        """There is room at the site for one more."""
        first = None if site in self.doubts else self._first(site)
        if first is not None:
            self._resume(first)

    def close(self) -> None:
        """Stop sending scouts."""
        for doubt in self.doubts.values():
            if doubt.call is not None:
                doubt.call.cancel()
        self.doubts.clear()

    def _first(self, site: SiteId) -> Waiter | None:
        queue = self._queues.get(site)
        if queue is None:
            return None
        first = queue.popleft()
        self.held -= 1
        if not queue:
            del self._queues[site]
        return first

    def _resume(self, waiter: Waiter, scout: bool = False) -> None:
        try:
            waiter.resume(scout)
        except Exception:
            self.log.failure("a held request of {site} could not go on", site=waiter.site)
