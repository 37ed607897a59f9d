"""Puts datasets into the trash and brings them back: renames, nothing is destroyed here. Shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from twisted.internet.interfaces import IReactorTime

from hybrid.errors import AlreadyExists, NoSuchDataset
from hybrid.model import Guid, SiteId
from hybrid.ports import Pool
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.names import TRASH, TRASHED, site_dataset, stash_dataset
from hybrid_replicator.tasks import patiently

AT_MOST = 100
"""Of one name."""


class Trash:
    """What is in it is found by its name: `trash/<site-id>`, `trash/<stash-id>`, with a number where that is taken."""

    def __init__(
        self,
        clock: IReactorTime,
        pool: Pool,
        index: HistoryIndex,
        wall_s: Callable[[], float],
        clear: Callable[[SiteId], Awaitable[None]],
    ) -> None:
        """`clear(site)` ends what looks into its snapshots."""
        self._clock, self._pool, self._index, self._wall_s, self._clear = clock, pool, index, wall_s, clear

    async def put(self, site: SiteId) -> None:
        """The main line of `site`, whole; the caller holds it exclusively, and it is not mounted."""
        await self._clear(site)
        await self._put(site_dataset(site), [TRASH + site, *(f"{TRASH}{site}.{n}" for n in range(2, AT_MOST))])

    async def take_back(self, site: SiteId) -> bool:
        """Bring back what of `site` was put here last; `False`: there is nothing, or it is here already."""
        dataset = site_dataset(site)
        found: list[tuple[str, str]] = []
        for name in (TRASH + site, *(f"{TRASH}{site}.{number}" for number in range(2, AT_MOST))):
            try:
                found.append(((await self._pool.dataset(name)).properties.get(TRASHED, ""), name))
            except NoSuchDataset:
                break
        if not found or dataset in self._index:
            return False
        await self._take_back(max(found)[1], dataset)
        return True

    async def put_stash(self, site: SiteId, stash_id: str) -> None:
        """A stash; the caller holds its site exclusively, and no change of its history is unfinished."""
        await self._clear(site)
        base = TRASH + stash_id
        await self._put(stash_dataset(stash_id), [base, *(f"{base}-{number}" for number in range(2, AT_MOST))])

    async def take_stashes_back(self, site: SiteId, head: Guid) -> int:
        """Bring the stashes of `site` that end in `head` back. Returns how many there were. The caller is as above."""
        found = self._index.stashes_in_trash(site, head)
        for name, stash in found:
            await self._take_back(name, stash_dataset(stash.id))
        return len(found)

    async def _put(self, dataset: str, names: list[str]) -> None:
        await self._pool.set_properties(dataset, {TRASHED: f"{self._wall_s():.0f}"})
        for name in names:
            try:
                await patiently(self._clock, partial(self._pool.rename, dataset, name))
            except AlreadyExists:
                continue
            self._index.forget(dataset)
            await self._index.refresh(name)
            return
        raise AlreadyExists(f"{dataset} is in the trash {AT_MOST} times already")

    async def _take_back(self, name: str, dataset: str) -> None:
        await patiently(self._clock, partial(self._pool.rename, name, dataset))
        await self._pool.set_properties(dataset, {TRASHED: None})
        self._index.forget(name)
        await self._index.refresh(dataset)
