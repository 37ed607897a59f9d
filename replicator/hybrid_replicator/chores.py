"""What has time: thinning histories out, and finishing what was begun and not ended. Shell."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.model import Guid, SiteId
from hybrid.ports import Busy
from hybrid_replicator.copies import StashCopies
from hybrid_replicator.forgetting import Forgetting
from hybrid_replicator.gate import Gates
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.names import site_dataset
from hybrid_replicator.past import Past
from hybrid_replicator.stash import Stashes
from hybrid_replicator.tasks import Tasks

FORGET_EVERY_S = 300.0
"""Each history is thinned out so often."""
FORGET_AT_ONCE = 8
"""Histories per tick."""
FINISH_EVERY_S = 10.0
SPREAD_EVERY_S = 30.0
"""Stashes that are on no other node are offered so often."""


class Chores:
    """One chore of a kind at a time; none of them ever waits for another."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        index: HistoryIndex,
        gates: Gates,
        forgetting: Forgetting,
        stashes: Stashes,
        past: Past,
        copies: StashCopies,
        tasks: Tasks,
        kept: Callable[[SiteId], frozenset[Guid]],
    ) -> None:
        """`kept(site)` are the snapshots that others still need."""
        self._clock, self._index, self._gates, self._forgetting = clock, index, gates, forgetting
        self._stashes, self._past, self._copies, self._tasks, self._kept = stashes, past, copies, tasks, kept
        self._forgotten_s: dict[SiteId, float] = {}
        self._finished_s = self._spread_s = clock.seconds()
        self._unfinished: set[SiteId] = set()
        self._busy: set[str] = set()

    def begin(self) -> None:
        """Begin what is due."""
        now_s = self._clock.seconds()
        sites = self._index.sites()
        self._forgotten_s = {site: self._forgotten_s.get(site, now_s) for site in sites}
        due = sorted((at_s, site) for site, at_s in self._forgotten_s.items() if now_s - at_s >= FORGET_EVERY_S)
        if due and "forget" not in self._busy:
            self._busy.add("forget")
            self._tasks.start("forgetting", lambda: self._forget([site for _, site in due[:FORGET_AT_ONCE]]))
        if now_s - self._finished_s >= FINISH_EVERY_S and "finish" not in self._busy:
            self._busy.add("finish")
            self._finished_s = now_s
            self._tasks.start("finishing", self._finish)
        if now_s - self._spread_s >= SPREAD_EVERY_S and "spread" not in self._busy:
            self._busy.add("spread")
            self._spread_s = now_s
            self._tasks.start("copying stashes", self._spread)

    async def _forget(self, sites: list[SiteId]) -> None:
        try:
            for site in sites:
                self._forgotten_s[site] = self._clock.seconds()
                await self._tidy(site)
        finally:
            self._busy.discard("forget")

    async def _tidy(self, site: SiteId) -> None:
        try:
            async with self._gates.of(site).shared():
                gone = await self._forgetting.tidy(site_dataset(site), self._kept(site))
        except Busy:
            return
        except Exception:
            self.log.failure("old snapshots of {site} could not be destroyed", site=site)
            await self._index.refresh(site_dataset(site))
            return
        if gone:
            self.log.info("{gone} old snapshots of {site} destroyed", gone=gone, site=site)

    async def _spread(self) -> None:
        try:
            await self._copies.spread()
        finally:
            self._busy.discard("spread")

    async def _finish(self) -> None:
        """Finish stashes that were unfinished at the last look already, so not those just being made."""
        try:
            await self._past.sweep()
            for site in sorted(self._unfinished & self._stashes.unfinished):
                async with self._gates.of(site).exclusive():
                    await self._stashes.finish(site)
        finally:
            self._unfinished = set(self._stashes.unfinished)
            self._busy.discard("finish")
