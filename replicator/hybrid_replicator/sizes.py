"""Measures what sites and their histories take, a few at a time, after they changed. Shell."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.logger import Logger

from hybrid.errors import HybridError
from hybrid.model import Fact, Guid, Measured, SiteId
from hybrid.ports import Pool
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.keeping import Keeping
from hybrid_replicator.names import site_dataset

AT_ONCE = 2
"""Sites per look: each costs a command."""
State = tuple[Guid, int]
"""Newest snapshot and length of a history: while both stay, so does what it takes."""


class Sizes:
    """What is known of the sizes here."""

    log = Logger()

    def __init__(self, pool: Pool, index: HistoryIndex, keeping: Keeping, report: Callable[[Fact], None]) -> None:
        self._pool, self._index, self._keeping, self._report = pool, index, keeping, report
        self._measured: dict[SiteId, State] = {}

    async def look(self, sites: Iterable[SiteId]) -> None:
        """Measure those of `sites` that changed since, the longest ago measured first."""
        states = {site: state for site in sites if (state := self._state(site)) is not None}
        self._measured = {site: state for site, state in self._measured.items() if site in states}
        order = {site: place for place, site in enumerate(self._measured)}
        changed = [site for site, state in states.items() if self._measured.get(site) != state]
        for site in sorted(changed, key=lambda site: (order.get(site, -1), site))[:AT_ONCE]:
            self._measured.pop(site, None)
            self._measured[site] = states[site]
            await self._measure(site)

    def _state(self, site: SiteId) -> State | None:
        history = self._index.history(site_dataset(site))
        return (history[-1].guid, len(history)) if history else None

    async def _measure(self, site: SiteId) -> None:
        try:
            found = await self._pool.dataset(site_dataset(site))
        except HybridError as error:
            self.log.debug("{site} was not measured: {error}", site=site, error=str(error))
            return
        self._report(Measured(site, found.referenced_bytes, found.history_bytes))
        thinned = self._keeping.measured(site, found.history_bytes)
        if thinned is not None:
            self._report(thinned)
