"""
Looks at the sites owned here, all that are due in one question to the pool, and snapshots what changed. Shell.

Who is due is decided by `schedule`. What changed is snapshotted a few at a time, longest overdue first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.errors import Busy, HybridError
from hybrid.model import Claim, Fact, Guid, SiteId, Snapshot, SnapshotFailed, Snapshotted
from hybrid_replicator.gate import Gates
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.names import site_dataset
from hybrid_replicator.owned import Duty
from hybrid_replicator.schedule import Schedule
from hybrid_replicator.sender import Sender
from hybrid_replicator.snapshots import Snapshots
from hybrid_replicator.tasks import Tasks

AT_ONCE = 4
"""Snapshots under way at the same time."""


class Rounds:
    """The looks of this node."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        schedule: Schedule,
        index: HistoryIndex,
        snapshots: Snapshots,
        gates: Gates,
        sender: Sender,
        tasks: Tasks,
        report: Callable[[Fact], None],
    ) -> None:
        self._clock, self._schedule, self._index, self._snapshots = clock, schedule, index, snapshots
        self._gates, self._sender, self._tasks, self._report = gates, sender, tasks, report
        self._duties: Mapping[SiteId, Duty] = {}
        self._asking = False
        self._changed: deque[tuple[SiteId, Guid | None]] = deque()
        """Wait for their snapshots, with their heads when asked; each site once: its look is under way until then."""
        self._taking = 0

    def follow(self, duties: Mapping[SiteId, Duty]) -> None:
        """Look at these sites."""
        self._duties = duties
        promises = {site: duty.spec.snapshot_every_s for site, duty in duties.items()}
        self._schedule.follow(promises, self._clock.seconds())

    def begin(self) -> None:
        """Begin a look at all sites that are due, unless one is under way."""
        if not self._asking and (sites := self._schedule.due(self._clock.seconds())):
            self._asking = True
            self._tasks.start(f"looking at {len(sites)} sites", partial(self._look, sites))

    async def take(
        self, site: SiteId, claim: Claim, only_if_changed: bool, consistent: bool = False
    ) -> Snapshot | None:
        """Snapshot `site` now, tell of it, and send it. See `hybrid.deeds.TimeMachine.snapshot` for the errors."""
        began_s = self._clock.seconds()
        snapshot = await self._snapshots.take(site, claim, only_if_changed, consistent)
        self._saved(site, began_s)
        if snapshot is not None:
            self.log.debug("snapshot {name} of {site}", name=snapshot.name, site=site)
            self._report(Snapshotted(site, snapshot))
            self._sender.changed(site)
        return snapshot

    async def take_together(
        self, sites: Collection[SiteId], consistent: bool, valid: Callable[[], bool]
    ) -> tuple[Snapshot, ...]:
        """Snapshot all of `sites` now, tell of it, and send it. See `hybrid.deeds.TimeMachine.snapshot_together`."""
        began_s = self._clock.seconds()
        taken = await self._snapshots.take_together(sites, consistent, valid)
        for site, snapshot in zip(sites, taken, strict=True):
            if site in self._duties:
                self._sender.protection(site).looked(snapshot.guid, began_s)
            self._report(Snapshotted(site, snapshot))
            self._sender.changed(site)
        return taken

    async def _look(self, sites: Sequence[SiteId]) -> None:
        """One question about all `sites`; those that changed, or have no snapshot yet, are to be snapshotted."""
        began_s = self._clock.seconds()
        heads = {site: head for site in sites if (head := self._head(site)) is not None}
        try:
            changed = await self._snapshots.changed(heads)
        except Exception as error:
            for site in sites:
                self._failed(site, error)
            if not isinstance(error, HybridError):
                raise
            return
        finally:
            self._asking = False
        took_s = self._clock.seconds() - began_s
        self._index.about_to_change(site_dataset(site) for site in changed)
        for site in sites:
            if site not in heads or site in changed:
                self._changed.append((site, heads.get(site)))
            elif self._gates.of(site).shut or self._head(site) != heads[site]:
                self._schedule.failed(site, self._clock.seconds())
            else:
                self._saved(site, began_s)
                self._schedule.looked(site, began_s, took_s)
        self._take_next()

    def _take_next(self) -> None:
        """Begin as many snapshots as may be under way."""
        while self._changed and self._taking < AT_ONCE:
            self._taking += 1
            site, head = self._changed.popleft()
            self._tasks.start(f"snapshot of {site}", partial(self._take_changed, site, head))

    async def _take_changed(self, site: SiteId, head: Guid | None) -> None:
        """Snapshot what differed from `head`; if somebody else took one meanwhile, only what changed since."""
        began_s = self._clock.seconds()
        try:
            if site in self._duties:
                async with self._gates.of(site).shared():
                    await self.take(site, self._duties[site].claim, only_if_changed=self._head(site) != head)
            self._schedule.looked(site, began_s)
        except Exception as error:
            self._failed(site, error)
            if not isinstance(error, HybridError):
                raise
        finally:
            self._taking -= 1
            self._take_next()

    def _saved(self, site: SiteId, began_s: float) -> None:
        """All that was written to `site` before `began_s` is in its newest snapshot."""
        head = self._head(site)
        if head is not None and site in self._duties:
            self._sender.protection(site).looked(head, began_s)

    def _failed(self, site: SiteId, error: Exception) -> None:
        self._schedule.failed(site, self._clock.seconds())
        if not isinstance(error, Busy):
            self._report(SnapshotFailed(site, str(error)))

    def _head(self, site: SiteId) -> Guid | None:
        history = self._index.history(site_dataset(site))
        return history[-1].guid if history else None
