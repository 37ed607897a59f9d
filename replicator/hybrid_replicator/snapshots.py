"""Takes snapshots under names that never stand twice. Shell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import AsyncExitStack

from twisted.internet.defer import DeferredLock

from hybrid.errors import AlreadyExists, Busy
from hybrid.model import Claim, NodeId, SiteId, Snapshot, snapshot_name
from hybrid.ports import Pool
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.names import site_dataset

ATTEMPTS = 5


class Snapshots:
    """The snapshots that this node takes."""

    def __init__(self, pool: Pool, index: HistoryIndex, me: NodeId) -> None:
        self._pool, self._index, self._me = pool, index, me
        self._counters: dict[SiteId, int] = {}
        self._locks: dict[SiteId, DeferredLock] = {}
        """Of two taken at the same time nobody would know which came first, and no stream goes backwards."""

    async def changed(self, sites: Iterable[SiteId]) -> frozenset[SiteId]:
        """Those of `sites`, each with a snapshot, whose live data differ from the newest one. Raises `StorageError`."""
        wanted = {site_dataset(site): site for site in sites}
        found = await self._pool.changed(list(wanted)) if wanted else ()
        return frozenset(wanted[dataset] for dataset in found)

    async def take(
        self, site: SiteId, claim: Claim, only_if_changed: bool, consistent: bool = False
    ) -> Snapshot | None:
        """
        One of the main line of `site`, named after `claim`, and marked where its application knows of it.

        Returns:
            It, once on disk; with `only_if_changed` `None` when the newest already is the live data.

        Raises:
            StorageError: It could not be taken.
        """
        async with self._lock(site):
            return await self._take(site, claim, only_if_changed, consistent)

    async def _take(self, site: SiteId, claim: Claim, only_if_changed: bool, consistent: bool) -> Snapshot | None:
        dataset = site_dataset(site)
        if dataset not in self._index:
            await self._index.refresh(dataset)
        call = self._pool.snapshot_if_changed if only_if_changed else self._pool.snapshot
        for attempt in range(ATTEMPTS):
            try:
                snapshot = await call(dataset, snapshot_name(claim, self._next(site), "c" if consistent else ""))
            except AlreadyExists:
                await self._index.reread(dataset)
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            if snapshot is not None:
                self._index.took(dataset, snapshot)
            return snapshot
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def take_together(
        self, sites: Collection[SiteId], consistent: bool, valid: Callable[[], bool]
    ) -> tuple[Snapshot, ...]:
        """See `hybrid.deeds.TimeMachine.snapshot_together`. Of no epoch, as one given by hand: it outranks none."""
        async with AsyncExitStack() as alone:
            for site in sorted(sites):  # always in the same order: two groups may share sites
                await self._lock(site).acquire()
                alone.callback(self._lock(site).release)
            return await self._take_together(sites, consistent, valid)

    async def _take_together(
        self, sites: Collection[SiteId], consistent: bool, valid: Callable[[], bool]
    ) -> tuple[Snapshot, ...]:
        datasets = [site_dataset(site) for site in sites]
        for dataset in datasets:
            if dataset not in self._index:
                await self._index.refresh(dataset)
        number = max(self._next(site) for site in sites)
        taken = await self._pool.snapshots(
            datasets, snapshot_name(Claim(0, self._me), number, "b" if consistent else "g")
        )
        if not valid():
            for dataset, snapshot in zip(datasets, taken, strict=True):
                await self._pool.destroy_snapshot(dataset, snapshot.guid)
            raise Busy("no snapshot of one instant was taken", "the pool took too long", "it is tried again")
        for site, dataset, snapshot in zip(sites, datasets, taken, strict=True):
            self._counters[site] = number
            self._index.took(dataset, snapshot)
        return taken

    async def keep_present(self, site: SiteId) -> Snapshot | None:
        """One of what live data holds beyond the newest, under that one's epoch; `None` when there is nothing."""
        return await self.take(site, self._claim_of_head(site), only_if_changed=True)

    async def mark_present(self, site: SiteId) -> Snapshot:
        """A snapshot of live data even if nothing changed, under the newest one's epoch."""
        snapshot = await self.take(site, self._claim_of_head(site), only_if_changed=False)
        assert snapshot is not None  # taken in any case
        return snapshot

    def _lock(self, site: SiteId) -> DeferredLock:
        return self._locks.setdefault(site, DeferredLock())

    def _claim_of_head(self, site: SiteId) -> Claim:
        history = self._index.history(site_dataset(site))
        return Claim(history[-1].epoch if history else 0, self._me)

    def _next(self, site: SiteId) -> int:
        """Larger than every counter ever used here: on the main line, in stashes, for snapshots dropped since."""
        if site not in self._counters:
            self._counters[site] = self._largest(site)
        newest = self._index.history(site_dataset(site))[-1:]
        self._counters[site] = max(self._counters[site], *(snapshot.counter for snapshot in newest), 0) + 1
        return self._counters[site]

    def _largest(self, site: SiteId) -> int:
        datasets = self._index.datasets_of(site)
        return max((one.counter for dataset in datasets for one in self._index.history(dataset)), default=0)
