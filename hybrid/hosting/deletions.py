"""
Deletes sites, obeys what others deleted, and brings back what a person wants back (rule R12). Shell.

Nothing is destroyed here: `Purge` does that, a week later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.cluster.sanity import leaps
from hybrid.cluster.sealing import Seals
from hybrid.deeds import Progress, TimeMachine
from hybrid.hosting import tombstones
from hybrid.hosting.claims import Claims
from hybrid.hosting.holdings import Holding, Holdings
from hybrid.hosting.tasks import SiteTasks
from hybrid.hosting.terms import Terms
from hybrid.hosting.tombstones import Tombstone, Undeleted
from hybrid.model import Claim, Guid, NodeId, SiteId

LAST_CHANGES_S = 10.0
"""So long a deletion waits for living copies to have what was written last; none of them keeps it from happening."""


class Trash(Protocol):
    """The replicator's way of putting a site's dataset aside, and back."""

    async def trash(self, site: SiteId) -> None:
        """Rename the dataset to `trash/`; nothing is destroyed yet."""

    async def untrash(self, site: SiteId) -> bool:
        """Rename the one put there last back. `False`: there is none."""


class Shared(Protocol):
    """The cluster's shared map. See `hybrid.api.ports.SharedMap`."""

    def get(self, key: str) -> str | None:
        """The value, or `None`."""

    def put(self, key: str, value: str | None) -> None:
        """Write it and have it spread."""

    def prefix(self, prefix: str) -> dict[str, str]:
        """Keys that begin with `prefix`, with their values."""


def _leaps(claim: Claim, holding: Holding) -> bool:
    return leaps(holding.seen.epoch, claim.epoch, holding.spec.consistency == "strict")


class Deletions:
    """What this node does about deleted sites."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        me: NodeId,
        seals: Seals,
        machine: TimeMachine,
        trash: Trash,
        holdings: Holdings,
        terms: Terms,
        tasks: SiteTasks,
        shared: Shared,
        owned: Callable[[SiteId], bool],
        copies_at: Callable[[SiteId, Guid | None], tuple[int, int]],
        claims: Claims,
        wall_s: Callable[[], float],
    ) -> None:
        """
        Args:
            owned: `owned(site)`: whether a living node owns it.
            copies_at: `copies_at(site, head)`: how many other living nodes are replicas, and how many end with `head`.
        """
        self._me, self._seals, self._machine, self._trash = me, seals, machine, trash
        self._holdings, self._terms, self._tasks, self._shared = holdings, terms, tasks, shared
        self._owned, self._copies_at, self._claims, self._wall_s = owned, copies_at, claims, wall_s
        self._clock = clock
        self._judged: dict[str, bool] = {}
        """Values of the shared map, and whether the node they name signed them."""
        self._brought_back: set[str] = set()

    def entry(self, site: SiteId) -> tombstones.Entry | None:
        """What is known of the deletion of `site`: nothing, a genuine tombstone, or that it was undone."""
        key = tombstones.KEY + site
        value = self._shared.get(key)
        entry = tombstones.decode(key, value)
        if value is None or not isinstance(entry, Tombstone):
            return entry
        if value not in self._judged:
            self._judged[value] = tombstones.genuine(entry, self._seals)
            if not self._judged[value]:
                self.log.error("a tombstone of {site} is not signed by {by}: ignored", site=site, by=entry.by)
        return entry if self._judged[value] else None

    # ---------------------------------------------------------------------------------------------- deleting

    async def delete(self, site: SiteId, progress: Progress, moved_to: str = "") -> None:
        """
        As its owner: stop it, tell everybody (also to which store it was moved), move it to the trash.

        What fails before that leaves it this node's, and `Watch` starts it again.
        """
        holding = self._holdings.need(site)
        with progress.step("stop container"):
            await self._terms.pause(site)
        with progress.step("send last changes"):
            await self._last_changes(site, holding)
        with progress.step("move to the trash"):
            await self._terms.close(site)
            self._shared.put(*tombstones.encode(self._stone(site, holding, moved_to)))
            await self._bury(site)

    async def _last_changes(self, site: SiteId, holding: Holding) -> None:
        """
        Wait until as many living copies as are wanted have what was written last: the replicator is sending it.

        Whoever wants the site back right after this gets all of it, also when this node is gone by then.
        """
        line, until_s = self._machine.history(site), self._clock.seconds() + LAST_CHANGES_S
        head = line[-1].guid if line else None
        while self._clock.seconds() < until_s:
            living, told = self._copies_at(site, head)
            if told >= min(living, holding.spec.copies):
                return
            await deferLater(self._clock, 0.1, lambda: None)
        self.log.warn("{site} is deleted before all its copies have what was written last", site=site)

    def _stone(self, site: SiteId, holding: Holding, moved_to: str) -> Tombstone:
        stone = Tombstone(
            site=site,
            name=holding.spec.name,
            claim=self._holdings.seen(site),
            buried=tombstones.buried(snapshot.guid for snapshot in reversed(self._machine.history(site))),
            at_s=int(self._wall_s()),
            by=self._me,
            moved_to=moved_to,
        )
        return tombstones.sealed(stone, self._seals)

    def revive(self, site: SiteId) -> None:
        """It was deleted once, and is here again: copies in the trash of other nodes come back too."""
        back = Undeleted(site=site, at_s=int(self._wall_s()))
        self._shared.put(*tombstones.encode(back))

    async def _bury(self, site: SiteId) -> None:
        async with self._machine.exclusive(site):
            await self._trash.trash(site)
        self._holdings.forget(site)

    # ---------------------------------------------------------------------------------------------- obeying

    async def look(self) -> None:
        """Obey tombstones for what is held here, and bring back what was undeleted. Deeds run in the background."""
        for site in self._holdings:
            entry = self.entry(site)
            holding = self._holdings.get(site)
            if entry is None or holding is None or self._tasks.busy(site):
                continue
            if entry.claim > holding.seen and not _leaps(
                entry.claim, holding
            ):  # what was seen is in the trash, if anywhere
                self._tasks.start(site, "remember", lambda s=site, c=entry.claim: self._holdings.saw(s, c))  # type: ignore[misc]  # default arguments
            elif isinstance(entry, Tombstone):
                self._consider(site, entry, holding)
        for key, value in self._shared.prefix(tombstones.KEY).items():
            entry = tombstones.decode(key, value)
            if isinstance(entry, Undeleted) and value not in self._brought_back:
                self._tasks.start(entry.site, "bring back", lambda v=value, e=entry: self._bring_back(v, e.site))  # type: ignore[misc]  # default arguments

    def _consider(self, site: SiteId, stone: Tombstone, holding: Holding) -> None:
        """
        A replica obeys if all it has was buried, an owner too; but while a living owner goes on, its replicas stay.
        """
        if not tombstones.obeyed(stone, self._machine.history(site)):
            return
        if holding.role == "owner" and holding.claim is not None and not holding.awaiting:
            claim = holding.claim
            self._tasks.start(site, "obey a deletion", lambda: self._give_up(site, stone, claim))
        elif holding.role == "replica" and not self._owned(site):
            self._tasks.start(site, "bury", lambda: self._bury(site))

    async def _give_up(self, site: SiteId, stone: Tombstone, claim: Claim) -> None:
        """The owner of a site that was deleted elsewhere. What its clients wrote meanwhile wins: it goes on then."""
        await self._machine.snapshot(site, claim, only_if_changed=True)
        if not tombstones.obeyed(stone, self._machine.history(site)):
            return
        await self._terms.close(site)
        if tombstones.obeyed(stone, self._machine.history(site)):
            await self._bury(site)
        else:
            await self._terms.open(site, await self._claims.next(site))

    # ------------------------------------------------------------------------------------------- coming back

    async def _bring_back(self, value: str, site: SiteId) -> None:
        """Make what is in the trash here a replica again; then the elections find it an owner."""
        if self._holdings.get(site) is None:
            async with self._machine.exclusive(site):
                found = await self._trash.untrash(site)
            if found:
                await self._holdings.refresh(site)
                self.log.info("{site} is back from the trash", site=site)
        self._brought_back.add(value)
