"""
Sites that nobody asks for stop, and start again when somebody does. Shell; `idleness` decides.

That a site sleeps stands in its spec: written before its container stops, and before it starts again, so that a crash
leaves one that is awake, or one that wakes when it is asked for. Whoever takes it over lets it sleep on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.hosting.holdings import Holding, Holdings
from hybrid.hosting.idleness import Idleness, Step
from hybrid.hosting.tasks import SiteTasks
from hybrid.hosting.terms import Terms
from hybrid.model import Fact, SiteId
from hybrid.sitetraffic import Awaited, Used


class Sleeping:
    """
    What this node does about the sites it owns.

    Args:
        clock: Monotonic.
        holdings: What is held here.
        terms: Stops and starts.
        tasks: One deed at a time.
        event: `event(kind, site, text)` records it for people.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        holdings: Holdings,
        terms: Terms,
        tasks: SiteTasks,
        event: Callable[[str, SiteId, str], None],
    ) -> None:
        self._clock, self._holdings, self._terms = clock, holdings, terms
        self._tasks, self._event = tasks, event
        self._idleness = Idleness()
        self._called: set[SiteId] = set()
        """Sites that somebody asked for while they were being stopped."""

    def observe(self, fact: Fact) -> None:
        """A front door of this node tells something."""
        if isinstance(fact, Used):
            self._idleness.heard(fact, self._clock.seconds())
        elif isinstance(fact, Awaited):
            site = SiteId(fact.site)
            holding = self._mine(site)
            if holding is not None and holding.spec.asleep and holding.spec.is_on:
                if not self._tasks.start(site, "wake", partial(self._wake, site)):
                    self._called.add(site)

    def look(self) -> None:
        """Decide about every site that may sleep, and begin what is to be done. What is busy is looked at later."""
        for site in self._holdings:
            holding = self._mine(site)
            if holding is None:
                self._idleness.forget(site)
            if holding is None or self._tasks.busy(site):
                continue
            spec, now_s = holding.spec, self._clock.seconds()
            step = self._idleness.decide(site, spec.sleep_after_s, spec.asleep, holding.serving, now_s)
            if step is not None:
                self._tasks.start(site, step, partial(self._do, site, step))

    @asynccontextmanager
    async def awake(self, site: SiteId) -> AsyncIterator[None]:
        """
        Wake `site`, which this node owns, and keep it awake for as long as this is entered.

        Raises:
            Conflict: Something else is being done to it.
            HybridError: It does not start.
        """
        self._idleness.enter(site, self._clock.seconds())
        try:
            if self._holdings.need(site).spec.asleep:
                await self._tasks.run(site, "wake", partial(self._wake, site))
            yield
        finally:
            self._idleness.leave(site, self._clock.seconds())

    def _mine(self, site: SiteId) -> Holding | None:
        holding = self._holdings.get(site)
        if holding is None or holding.role != "owner" or holding.claim is None or holding.awaiting:
            return None
        return holding

    async def _do(self, site: SiteId, step: Step) -> None:
        if step == "doze":
            await self._doze(site)
        elif step == "shut":
            await self._shut(site)
        else:
            await self._wake(site)

    async def _doze(self, site: SiteId) -> None:
        self._idleness.dozed(site, self._clock.seconds())
        await self._say(site, asleep=True)
        self._holdings.update(site, serving=False)

    async def _shut(self, site: SiteId) -> None:
        self._idleness.shut(site)
        self._called.discard(site)
        await self._terms.halt(site)
        self._event("asleep", site, "nobody asked for it: its container is stopped until somebody does")
        if site in self._called:
            await self._wake(site)

    async def _wake(self, site: SiteId) -> None:
        began_s = self._clock.seconds()
        self._called.discard(site)
        still_running = self._idleness.woken(site, began_s)
        await self._say(site, asleep=False)
        if still_running:
            self._holdings.update(site, serving=True)
            return
        await self._terms.restart(site)
        self._event("awake", site, f"it was asked for, and started within {self._clock.seconds() - began_s:.2f} s")

    async def _say(self, site: SiteId, asleep: bool) -> None:
        spec = self._holdings.need(site).spec
        await self._holdings.write_spec(replace(spec, asleep=asleep, version=spec.version.next()))
