"""
Looks into snapshots, and brings files back out of them. Shell.

A snapshot is seen through a throw-away clone, mounted read-only at a private place for as long as one call lasts; what
a crash leaves of that is removed at the next start. The files themselves are touched by a child process only.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.deeds import Entry
from hybrid.errors import Conflict, NoSuchDataset, NoSuchSnapshot
from hybrid.model import Guid, SiteId, Stash
from hybrid.ports import Pool
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.names import TEMPORARY, stash_dataset
from hybrid_replicator.ports import Files, LiveRoot
from hybrid_replicator.tasks import patiently
from hybrid_replicator.temporary import discard

AT_ONCE = 4
"""Snapshots looked into at the same time; others wait."""


class Past:
    """The files of snapshots."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        pool: Pool,
        index: HistoryIndex,
        files: Files,
        live_root: LiveRoot,
        place: Path,
        number: Callable[[], int],
    ) -> None:
        """`place` is the directory below which clones are mounted; `number()` never returns the same one twice."""
        self._clock, self._pool, self._index, self._files = clock, pool, index, files
        self._live_root, self._place, self._number = live_root, place, number
        self._slots = DeferredSemaphore(AT_ONCE)
        self._left_over: set[str] = set()

    async def browse(self, site: SiteId, guid: Guid, path: str) -> list[Entry]:
        """See `hybrid.deeds.TimeMachine.browse`."""
        async with self._seen(site, guid) as root:
            return await self._files.entries(root, path)

    async def read_file(self, site: SiteId, source: Guid | str, path: str) -> bytes:
        """See `hybrid.deeds.TimeMachine.read_file`."""
        async with self._seen(site, self._guid(site, source)) as root:
            return await self._files.content(root, path)

    async def restore(self, site: SiteId, guid: Guid, path: str) -> int:
        """See `hybrid.deeds.TimeMachine.restore`. What is not in the snapshot stays as it is."""
        live_root = self._live(site)
        async with self._seen(site, guid) as root:
            return await self._files.copy(root, live_root, path)

    async def unite(self, site: SiteId, stash_id: str) -> int:
        """See `hybrid.deeds.TimeMachine.unite`."""
        live_root, stash = self._live(site), self._stash(site, stash_id)
        async with self._slots, AsyncExitStack() as seen:
            root = await seen.enter_async_context(self._mounted(site, stash.head))
            base = await seen.enter_async_context(self._mounted(site, stash.base)) if stash.base is not None else None
            return await self._files.unite(base, root, live_root, "", f"{stash.head:016x}")

    async def sweep(self) -> None:
        """Remove clones that could not be removed when they should have been."""
        for clone in sorted(self._left_over):
            await self._remove(clone)

    async def recover(self, wanted: Callable[[str], Awaitable[bool]]) -> None:
        """At start: remove all that an earlier process left under `temporary/`, but what is `wanted`."""
        for dataset in await self._pool.datasets():
            if dataset.name.startswith(TEMPORARY) and not await wanted(dataset.name):
                await self._remove(dataset.name)

    def _live(self, site: SiteId) -> str:
        live_root = self._live_root(site)
        if live_root is None:
            raise Conflict(f"site {site} is not open on this node", "", "ask its owner")
        return live_root

    def _guid(self, site: SiteId, source: Guid | str) -> Guid:
        return self._stash(site, source).head if isinstance(source, str) else source

    def _stash(self, site: SiteId, stash_id: str) -> Stash:
        stash = self._index.stash_in(stash_dataset(stash_id))
        if stash is None or stash.site != site:
            raise NoSuchSnapshot(f"site {site} has no stash {stash_id} on this node")
        return stash

    @asynccontextmanager
    async def _seen(self, site: SiteId, guid: Guid) -> AsyncIterator[str]:
        """Where the snapshot is mounted meanwhile, when it is its turn."""
        async with self._slots, self._mounted(site, guid) as path:
            yield path

    @asynccontextmanager
    async def _mounted(self, site: SiteId, guid: Guid) -> AsyncIterator[str]:
        holder = self._index.holder(site, guid)
        if holder is None:
            raise NoSuchSnapshot(f"site {site} has no snapshot {guid} on this node")
        name = f"look-{self._number()}"
        path = str(self._place / name)
        await self._pool.clone(holder, guid, TEMPORARY + name)
        try:
            await self._pool.set_readonly(TEMPORARY + name, True)
            await patiently(self._clock, lambda: self._pool.mount(TEMPORARY + name, path))
            yield path
        finally:
            await self._remove(TEMPORARY + name)

    async def _remove(self, clone: str) -> None:
        """Unmount and destroy a clone. What cannot be removed now is by `sweep`."""
        self._left_over.add(clone)
        try:
            await patiently(self._clock, lambda: self._pool.unmount(clone))
            await patiently(self._clock, lambda: discard(self._pool, clone))
        except NoSuchDataset:
            self.log.debug("{clone} is gone already", clone=clone)
        except Exception:
            self.log.failure("{clone} could not be removed yet", clone=clone)
            return
        self._left_over.discard(clone)
        with suppress(OSError):
            os.rmdir(self._place / clone.removeprefix(TEMPORARY))
