"""Tells the guard, again and again, until when which strict site may run: that is what keeps it running. Shell."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from hybrid.errors import HybridError
from hybrid.hosting.holdings import Holdings
from hybrid.model import SiteId
from hybrid.strict.ports import Guard, GuardMissing
from hybrid.strict.tenure import Tenures


class GuardFeed:
    """What the guard of this node knows."""

    log = Logger()

    def __init__(
        self, guard: Guard | None, holdings: Holdings, tenures: Tenures, is_strict: Callable[[SiteId], bool]
    ) -> None:
        self._guard, self._holdings, self._tenures, self._is_strict = guard, holdings, tenures, is_strict
        self._alone = DeferredLock()
        self._there = True
        self._fed: dict[SiteId, float] = {}

    def deadlines(self) -> dict[SiteId, float]:
        """When to freeze each strict site that may have a container here, or may get one."""
        held = set(self._tenures.sites)
        sites = [site for site in self._holdings if site in held or self._holdings.is_writer(site)]
        return {site: self._tenures.freeze_at_s(site) for site in sites if self._is_strict(site)}

    async def feed(self) -> None:
        """Tell it now. Raises `GuardMissing`."""
        if self._guard is None:
            raise GuardMissing("there is no guardian on this server", "", "see that `hybrid guardian` runs")
        await self._alone.acquire()
        try:
            deadlines = self.deadlines()
            await self._guard.feed(deadlines)
            self._fed = deadlines
        finally:
            self._alone.release()

    async def look(self) -> None:
        """Tell it what changed. Trouble is logged when it begins and when it ends."""
        if self._guard is None or (self._there and self.deadlines() == self._fed):
            return
        try:
            await self.feed()
        except HybridError as error:
            if self._there:
                self.log.error("strict sites run unguarded: {error}", error=str(error))
            self._there = False
        else:
            if not self._there:
                self.log.info("strict sites are guarded again")
            self._there = True
