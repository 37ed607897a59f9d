"""Looks at the sites owned here, in turn, and snapshots what changed. Shell; who is due is decided by `schedule`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.errors import Busy, HybridError
from hybrid.model import Claim, Fact, SiteId, Snapshot, SnapshotFailed, Snapshotted
from hybrid_replicator.gate import Gates
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.names import site_dataset
from hybrid_replicator.owned import Duty
from hybrid_replicator.schedule import Schedule
from hybrid_replicator.sender import Sender
from hybrid_replicator.snapshots import Snapshots
from hybrid_replicator.tasks import Tasks

AT_ONCE = 4
"""Looks under way at the same time."""


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
        self._looking = 0
        self._starting = False

    def follow(self, duties: Mapping[SiteId, Duty]) -> None:
        """Look at these sites."""
        self._duties = duties
        promises = {site: duty.spec.snapshot_every_s for site, duty in duties.items()}
        self._schedule.follow(promises, self._clock.seconds())

    def begin(self) -> None:
        """Begin the looks that are due, as many as may be under way."""
        if self._starting:
            return
        self._starting = True
        try:
            while self._looking < AT_ONCE and (site := self._schedule.next(self._clock.seconds())) is not None:
                self._looking += 1
                self._tasks.start(f"looking at {site}", partial(self._look, site, self._duties[site].claim))
        finally:
            self._starting = False

    async def take(
        self, site: SiteId, claim: Claim, only_if_changed: bool, consistent: bool = False
    ) -> Snapshot | None:
        """Snapshot `site` now, tell of it, and send it. See `hybrid.deeds.TimeMachine.snapshot` for the errors."""
        began_s = self._clock.seconds()
        snapshot = await self._snapshots.take(site, claim, only_if_changed, consistent)
        head = self._index.history(site_dataset(site))[-1:]
        if head and site in self._duties:
            self._sender.protection(site).looked(head[0].guid, began_s)
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

    async def _look(self, site: SiteId, claim: Claim) -> None:
        began_s = self._clock.seconds()
        try:
            async with self._gates.of(site).shared():
                await self.take(site, claim, only_if_changed=True)
            self._schedule.looked(site, began_s)
        except Busy:
            self._schedule.failed(site, self._clock.seconds())
        except Exception as error:
            self._schedule.failed(site, self._clock.seconds())
            self._report(SnapshotFailed(site, str(error)))
            if not isinstance(error, HybridError):
                raise
        finally:
            self._looking -= 1
            self.begin()
