"""Destroys the snapshots that `retention` no longer keeps, a few at a time. Shell."""

from __future__ import annotations

from collections.abc import Callable, Set

from twisted.logger import Logger

from hybrid.errors import Busy, NoSuchSnapshot
from hybrid.grid import DEFAULT, HOUR_S, Grid
from hybrid.model import Guid
from hybrid.ports import Pool
from hybrid_replicator.holds import BaseHolds
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.retention import forgettable

Kept = Callable[[], Set[Guid]]
AT_ONCE = 16
"""Snapshots of one dataset destroyed in one round, where there is room: the rest waits for the next."""


class Forgetting:
    """Thins histories out."""

    log = Logger()

    def __init__(self, pool: Pool, index: HistoryIndex, holds: BaseHolds, wall_s: Callable[[], float]) -> None:
        self._pool, self._index, self._holds, self._wall_s = pool, index, holds, wall_s
        self._needed: dict[tuple[str, Guid], float] = {}
        """Snapshots that somebody holds or cloned, and until when not to ask again."""

    async def tidy(self, dataset: str, kept: Kept, grid: Grid = DEFAULT, at_once: int = AT_ONCE) -> int:
        """
        Destroy what may go of one dataset.

        Args:
            kept: Guids that others need, on top of what is kept in any case; asked again before each deed, since a
                round takes seconds, and news of another node's line may come in it.
            grid: What is kept of it.
            at_once: How many may go.

        Returns:
            How many went.
        """
        now_s = self._wall_s()
        self._needed = {key: until_s for key, until_s in self._needed.items() if until_s > now_s}
        history = self._index.history(dataset)
        going = forgettable(history, kept() | self._index.origins(), now_s, grid)
        going = tuple(guid for guid in going if (dataset, guid) not in self._needed)[:at_once]
        gone = 0
        for guid in going:
            if guid not in kept():
                gone += await self._destroy(dataset, guid, kept, now_s)
        return gone

    async def _destroy(self, dataset: str, guid: Guid, kept: Kept, now_s: float) -> bool:
        try:
            if not await self._gone(dataset, guid):
                cleared = await self._holds.clear(dataset, guid)
                if not cleared or guid in kept() or not await self._gone(dataset, guid):
                    self._needed[dataset, guid] = now_s + HOUR_S
                    return False
        except NoSuchSnapshot:
            self.log.debug("{guid} of {dataset} is gone already", guid=guid, dataset=dataset)
        self._index.dropped(dataset, guid)
        return True

    async def _gone(self, dataset: str, guid: Guid) -> bool:
        """Destroy it, unless something holds it, is cloned from it, or is sending it."""
        try:
            await self._pool.destroy_snapshot(dataset, guid)
        except Busy:
            return False
        return True
