"""
Looks into snapshots, compares them, and brings files back out of them. Shell.

Snapshots are seen through windows; the files themselves are touched by a child process only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AsyncExitStack

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from hybrid import crashpoint
from hybrid.deeds import Differences, Folder, Form, Transfers
from hybrid.errors import Conflict, HybridError, NoSuchSnapshot, StorageError
from hybrid.history import guids
from hybrid.model import Guid, NodeId, SiteId, Stash
from hybrid.ports import ByteSource, Pool
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.names import JOURNAL, restored_site, restoring_key, site_dataset, stash_dataset
from hybrid_replicator.ports import Files, LiveRoot
from hybrid_replicator.touched import folders
from hybrid_replicator.windows import Windows

IDLE_S = 120.0
"""A download of which nobody took a byte for so long is ended."""
SETTLES_S = 3
COMPARED_KEPT = 8
"""Comparisons remembered: snapshots do not change, and pages of one are asked for one after the other."""


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
        windows: Windows,
        transfers: Transfers,
        me: NodeId,
    ) -> None:
        self._transfers, self._me = transfers, me
        self._clock, self._pool, self._index, self._files = clock, pool, index, files
        self._live_root, self._windows = live_root, windows
        self._compared: OrderedDict[tuple[Guid, Guid, str], Differences] = OrderedDict()
        self._lent: dict[_Lent, SiteId | None] = {}
        """Downloads under way, and the site whose history they keep from changing."""
        self._cut_short: set[SiteId] = set()
        """Sites in which an earlier process may have left half a file."""

    async def browse(self, site: SiteId, guid: Guid, path: str, after: str, limit: int) -> Folder:
        """See `hybrid.deeds.TimeMachine.browse`."""
        async with self._windows.look(site, guid) as root:
            return await self._files.folder(root, path, after, limit)

    async def read(self, site: SiteId, guid: Guid, path: str, form: Form) -> ByteSource:
        """See `hybrid.deeds.TimeMachine.read`."""
        async with AsyncExitStack() as looking:
            root = await looking.enter_async_context(self._windows.look(site, guid))
            source = await self._files.read(root, path, form)
            return self._lend(site, source, looking.pop_all())

    async def read_lent(self, root: str, path: str) -> ByteSource:
        """See `hybrid.deeds.TimeMachine.read_lent`."""
        return self._lend(None, await self._files.read(root, path, "file"), AsyncExitStack())

    async def clear(self, site: SiteId) -> None:
        """The history of `site` is to be changed: end what looks into it."""
        for lent in [lent for lent, whose in self._lent.items() if whose == site]:
            await lent.abort()
        await self._windows.clear(site)

    def _lend(self, site: SiteId | None, source: ByteSource, looking: AsyncExitStack) -> ByteSource:
        lent = _Lent(self._clock, source, looking, self._lent)
        self._lent[lent] = site
        return lent

    async def compare(self, site: SiteId, old: Guid, new: Guid, path: str) -> Differences:
        """See `hybrid.deeds.TimeMachine.compare`."""
        key = (old, new, path)
        if key not in self._compared:
            async with self._windows.look(site, old) as before, self._windows.look(site, new) as after:
                touched = await self._touched(site, old, new)
                self._compared[key] = await self._files.compare(
                    before, after, path, self._settled_s(site, old, new), touched
                )
            while len(self._compared) > COMPARED_KEPT:
                self._compared.popitem(last=False)
        return self._compared[key]

    def _settled_s(self, site: SiteId, *both: Guid) -> int:
        """Before both moments, by more than what clocks and file systems round."""
        lines = [self._index.history(self._index.holder(site, guid) or "") for guid in both]
        times = [one.created_at_s for line in lines for one in line if one.guid in both]
        return min(times, default=0) - SETTLES_S

    async def _touched(self, site: SiteId, old: Guid, new: Guid) -> tuple[bytes, ...] | None:
        """The folders in which the two moments differ, where the pool can tell; `None`: any may."""
        dataset = self._index.holder(site, old)
        if not self._pool.capabilities.diff or dataset is None or dataset != self._index.holder(site, new):
            return None
        line = guids(self._index.history(dataset))
        first, last = (old, new) if line.index(old) < line.index(new) else (new, old)
        try:
            changes = await self._pool.diff(dataset, first, last) if first != last else []
        except StorageError as error:
            self.log.warn("{dataset} is walked whole: {why}", dataset=dataset, why=str(error))
            return None
        return None if changes is None else folders(changes)

    async def restore(self, site: SiteId, guid: Guid, path: str, copy: str) -> tuple[int, str]:
        """See `hybrid.deeds.TimeMachine.restore`. What is not in the snapshot stays as it is."""
        live_root = self._live(site)
        async with self._windows.look(site, guid, keep=False) as root:
            await self._pool.set_properties(JOURNAL, {restoring_key(site): f"{guid}"})
            crashpoint.reached("restore-written")
            try:
                with self._transfers.transfer("restore", site_dataset(site), self._me, None) as transfer:

                    def told(copied_bytes: int, size_bytes: int | None) -> None:
                        transfer.bytes, transfer.size_bytes = copied_bytes, size_bytes

                    restored = await self._files.copy(root, live_root, path, copy, told)
            except HybridError:
                self._cut_short.add(site)  # its child may have been killed
                raise
            await self._pool.set_properties(JOURNAL, {restoring_key(site): None})
            return restored

    async def unite(self, site: SiteId, stash_id: str) -> int:
        """See `hybrid.deeds.TimeMachine.unite`."""
        live_root, stash = self._live(site), self._stash(site, stash_id)
        async with AsyncExitStack() as looking:
            root = await looking.enter_async_context(self._windows.look(site, stash.head, keep=False))
            base = None
            if stash.base is not None:
                base = await looking.enter_async_context(self._windows.look(site, stash.base, keep=False))
            return await self._files.unite(base, root, live_root, "", f"{stash.head:016x}")

    async def sweep(self) -> None:
        """Remove what was left over, once the site is open here."""
        await self._windows.sweep()
        for site in sorted(self._cut_short):
            live_root = self._live_root(site)
            if live_root is not None:
                self._cut_short.discard(site)
                await self._tidy(site, live_root)

    def recover(self, journal: Mapping[str, str]) -> None:
        """At start: remember in which sites a restore was cut short; `journal` is that of the stashes."""
        self._cut_short |= {site for key in journal if (site := restored_site(key)) is not None}

    async def _tidy(self, site: SiteId, live_root: str) -> None:
        try:
            await self._files.tidy(live_root)
            await self._pool.set_properties(JOURNAL, {restoring_key(site): None})
        except HybridError as error:
            self._cut_short.add(site)
            self.log.warn("what a restore left in {site} is not removed yet: {error}", site=site, error=str(error))

    def _live(self, site: SiteId) -> str:
        live_root = self._live_root(site)
        if live_root is None:
            raise Conflict(f"site {site} is not open on this node", "", "ask its owner")
        return live_root

    def _stash(self, site: SiteId, stash_id: str) -> Stash:
        stash = self._index.stash_in(stash_dataset(stash_id))
        if stash is None or stash.site != site:
            raise NoSuchSnapshot(f"site {site} has no stash {stash_id} on this node")
        return stash


class _Lent:
    """A `ByteSource` that keeps its window open until it has ended, which it does by itself when nobody reads."""

    log = Logger()

    def __init__(
        self, clock: IReactorTime, source: ByteSource, looking: AsyncExitStack, under_way: dict[_Lent, SiteId | None]
    ) -> None:
        self._clock, self._source, self._looking, self._under_way = clock, source, looking, under_way
        self._timer: IDelayedCall | None = None
        self._rest()

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        self._busy()
        try:
            data = await self._source.read()
        except BaseException:
            await self.abort()
            raise
        if data:
            self._rest()
        else:
            await self._give_back()
        return data

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`."""
        self._busy()
        try:
            await self._source.abort()
        finally:
            await self._give_back()

    async def _give_back(self) -> None:
        self._under_way.pop(self, None)
        looking, self._looking = self._looking, AsyncExitStack()
        await looking.aclose()

    def _rest(self) -> None:
        self._timer = self._clock.callLater(IDLE_S, self._nobody_reads)

    def _busy(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _nobody_reads(self) -> None:
        self.log.info("a download of which nothing was taken for {seconds:.0f} s is ended", seconds=IDLE_S)
        Deferred.fromCoroutine(self.abort()).addErrback(lambda failure: self.log.failure("ending it failed", failure))
