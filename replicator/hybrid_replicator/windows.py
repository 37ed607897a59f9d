"""
Windows into snapshots: clones, mounted read-only at private places, kept for a while for those who look again. Shell.

zfs-fuse shows a snapshot in no other way, and replicas, whose datasets are never mounted, have none either. Their
number is bounded; one that nobody looked through for `KEEP_S` is shut. What a crash leaves is removed at the next
start.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from twisted.internet.defer import DeferredLock, DeferredSemaphore
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.deeds import TakenBack
from hybrid.errors import Busy, NoSuchDataset, NoSuchSnapshot
from hybrid.model import Guid, SiteId
from hybrid.ports import Pool
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.names import TEMPORARY
from hybrid_replicator.tasks import patiently
from hybrid_replicator.temporary import discard

AT_ONCE = 16
"""Looks at the same time, and windows that are open."""
WAIT_S = 30.0
"""Who comes when all are taken waits so long for one."""
KEEP_S = 120.0


@dataclass(eq=False)
class _Window:
    name: str
    """Of the clone and of the directory where it is mounted."""
    site: SiteId
    users: int = 0
    used_s: float = 0.0
    is_made: bool = False
    making: DeferredLock = field(default_factory=DeferredLock)


class Windows:
    """Those of this node."""

    log = Logger()

    def __init__(
        self, clock: IReactorTime, pool: Pool, index: HistoryIndex, place: Path, number: Callable[[], int]
    ) -> None:
        """`place` is the directory below which clones are mounted; `number()` never returns the same one twice."""
        self._clock, self._pool, self._index, self._place, self._number = clock, pool, index, place, number
        self._slots = DeferredSemaphore(AT_ONCE)
        self._open: dict[Guid, _Window] = {}
        self._left_over: set[str] = set()
        self._lent: dict[str, tuple[SiteId, TakenBack]] = {}

    @asynccontextmanager
    async def look(self, site: SiteId, guid: Guid, keep: bool = True) -> AsyncIterator[str]:
        """
        Where the snapshot `guid` of `site` is mounted meanwhile.

        Args:
            keep: Somebody may look again soon; without, it is shut when the last one has looked.

        Raises:
            NoSuchSnapshot: This node does not hold it.
            Busy: Too many others look into snapshots.
        """
        await self._slot()
        try:
            window = await self._opened(site, guid)
            try:
                yield str(self._place / window.name)
            finally:
                window.users -= 1
                window.used_s = self._clock.seconds()
                if not keep and not window.users:
                    await self._shut(guid)
        finally:
            self._slots.release()

    async def lend(self, site: SiteId, guid: Guid, name: str, quota_bytes: int | None, taken_back: TakenBack) -> str:
        """See `hybrid.deeds.TimeMachine.lend`."""
        clone, path = TEMPORARY + name, self.lent(name)
        self._lent[name] = (site, taken_back)
        try:
            await self._pool.clone(self._holder(site, guid), guid, clone)
            await self._pool.set_quota(clone, quota_bytes)
            await patiently(self._clock, lambda: self._pool.mount(clone, path))
        except BaseException:
            await self.give_back(name)
            raise
        return path

    def lent(self, name: str) -> str:
        """Where what was lent under that name is mounted."""
        return str(self._place / name)

    async def give_back(self, name: str) -> None:
        """See `hybrid.deeds.TimeMachine.give_back`."""
        self._lent.pop(name, None)
        await self._remove(name)

    async def clear(self, site: SiteId) -> None:
        """
        Take back what was lent of `site`, and shut its windows, but for those somebody looks through right now.

        zfs-fuse renames no dataset of which a clone is mounted: "busy".
        """
        for name, (whose, taken_back) in list(self._lent.items()):
            if whose == site:
                self.log.info("{name} is taken back: the history of {site} changes", name=name, site=site)
                await taken_back()
        for guid, window in list(self._open.items()):
            if not window.users and (window.site == site or self._index.holder(site, guid) is not None):
                await self._shut(guid)

    async def sweep(self) -> None:
        """Shut what nobody looks through any more; remove what could not be removed when it should have been."""
        now_s = self._clock.seconds()
        for guid, window in list(self._open.items()):
            if not window.users and now_s - window.used_s >= KEEP_S:
                await self._shut(guid)
        for name in sorted(self._left_over):
            await self._remove(name)

    async def recover(self, wanted: Callable[[str], Awaitable[bool]]) -> None:
        """At start: remove all that an earlier process left under `temporary/`, but what is `wanted`."""
        for dataset in await self._pool.datasets():
            if dataset.name.startswith(TEMPORARY) and not await wanted(dataset.name):
                await self._remove(dataset.name.removeprefix(TEMPORARY))

    async def _slot(self) -> None:
        try:
            await self._slots.acquire().addTimeout(WAIT_S, self._clock)
        except WaitedTooLong:
            raise Busy("too many look into snapshots", f"all {AT_ONCE} windows are taken", "try again soon") from None

    async def _opened(self, site: SiteId, guid: Guid) -> _Window:
        """The window, with one more user."""
        window = self._open.get(guid)
        if window is None:
            self._holder(site, guid)
            window = self._open[guid] = _Window(f"look-{self._number()}", site)
        window.users += 1
        try:
            await window.making.acquire()
            try:
                await self._make(window, site, guid)
            finally:
                window.making.release()
        except BaseException:
            window.users -= 1
            if not window.users:
                await self._shut(guid)
            raise
        return window

    async def _make(self, window: _Window, site: SiteId, guid: Guid) -> None:
        """Clone where nobody did yet; mount, also again: the storage daemon may have been started anew meanwhile."""
        clone = TEMPORARY + window.name
        if not window.is_made:
            await self._make_room()
            await self._pool.clone(self._holder(site, guid), guid, clone)
            window.is_made = True
            await self._pool.set_readonly(clone, True)
        await patiently(self._clock, lambda: self._pool.mount(clone, str(self._place / window.name)))

    def _holder(self, site: SiteId, guid: Guid) -> str:
        holder = self._index.holder(site, guid)
        if holder is None:
            raise NoSuchSnapshot(f"site {site} has no snapshot {guid} on this node")
        return holder

    async def _make_room(self) -> None:
        """Shut the one that was not looked through for longest, where there are too many."""
        idle = [(window.used_s, guid) for guid, window in self._open.items() if not window.users]
        for _, guid in sorted(idle)[: max(0, len(self._open) - AT_ONCE)]:
            await self._shut(guid)

    async def _shut(self, guid: Guid) -> None:
        window = self._open.pop(guid, None)
        if window is not None:
            await self._remove(window.name)

    async def _remove(self, name: str) -> None:
        """Unmount and destroy a clone. What cannot be removed now is by `sweep`."""
        clone = TEMPORARY + name
        self._left_over.add(name)
        try:
            await patiently(self._clock, lambda: self._pool.unmount(clone))
            await patiently(self._clock, lambda: discard(self._pool, clone))
        except NoSuchDataset:
            self.log.debug("{clone} is gone already", clone=clone)
        except Exception:
            self.log.failure("{clone} could not be removed yet", clone=clone)
            return
        self._left_over.discard(name)
        with suppress(OSError):
            os.rmdir(self._place / name)
