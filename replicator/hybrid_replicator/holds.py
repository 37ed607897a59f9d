"""
Holds on the newest snapshot in common with each peer: neither retention nor a slip of the hand removes it. Shell.

Moving a hold takes several calls to the pool, so it is done once in a while for all that changed, never on the way of
a stream: well within the hour in which everything is kept anyway. Where holds stand is known from the pool alone; what
is remembered here only saves calls. One left behind by an earlier process is found, and taken off, when retention
stumbles over it, unless it is for a member of the cluster that may still need it (rule R11).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.errors import HybridError, NoSuchDataset, NoSuchSnapshot
from hybrid.history import History
from hybrid.model import Guid, NodeId
from hybrid.ports import Pool
from hybrid_replicator.names import base_tag, peer_of_tag
from hybrid_replicator.protection import SEEN_WITHIN_S

SURE_S = 24 * 3600
NEAR = 32
"""Of a history so many of the newest are looked through first: this is asked for with every snapshot of a peer."""


class BaseHolds:
    """One held snapshot per dataset and peer."""

    log = Logger()

    def __init__(self, clock: IReactorTime, pool: Pool) -> None:
        self._clock, self._pool = clock, pool
        self._began_s = clock.seconds()
        self._members: Collection[NodeId] = ()
        self._newest: dict[tuple[str, NodeId], Guid] = {}
        self._told: dict[tuple[str, NodeId], Guid] = {}
        """In common by what a peer published last; older than the newest where it was rolled back since."""
        self._held: dict[tuple[str, NodeId], Guid] = {}

    def want(self, dataset: str, peer: NodeId, guid: Guid) -> None:
        """The newest snapshot in common is `guid` now."""
        self._newest[dataset, peer] = guid

    def follow(self, members: Collection[NodeId]) -> None:
        """These nodes belong to the cluster, alive or not."""
        self._members = members

    def heard(self, dataset: str, history: History, peer: NodeId, guids: Sequence[Guid]) -> None:
        """`peer` says that its line ends with `guids`, newest first: some may be in common, and newer than what was."""
        for part in (history[-NEAR:], history):  # what is in common comes in one order on all lines
            line = _places(part)
            common = next((guid for guid in guids if guid in line), None)
            if common is not None or len(history) <= NEAR:
                break
        newest = self._newest.get((dataset, peer))
        if common is not None:
            self._told[dataset, peer] = common
        if common is not None and (newest is None or line[common] > line.get(newest, -1)):
            self.want(dataset, peer, common)

    def wanted(self, dataset: str) -> frozenset[Guid]:
        """What is held, or is to be, of `dataset` for others."""
        known = (*self._newest.items(), *self._told.items())
        return frozenset(guid for (of, _), guid in known if of == dataset)

    def swapped(self, dataset: str) -> None:
        """Another dataset stands there now, with the same snapshots: its holds are still to be made."""
        self._held = {key: guid for key, guid in self._held.items() if key[0] != dataset}

    async def settle(self) -> None:
        """Move every hold to where it is wanted. Trouble with one is logged; it is tried again the next time."""
        for (dataset, peer), guid in list(self._newest.items()):
            if self._held.get((dataset, peer)) != guid:
                try:
                    await self._move(dataset, peer, guid)
                except HybridError:
                    self.log.failure("the hold on {dataset} for {peer} could not be moved", dataset=dataset, peer=peer)

    async def _move(self, dataset: str, peer: NodeId, guid: Guid) -> None:
        try:
            await self._pool.hold(dataset, guid, base_tag(peer))
        except (NoSuchDataset, NoSuchSnapshot):
            self.log.debug("{guid} of {dataset} went away before it was held", guid=guid, dataset=dataset)
            self._newest.pop((dataset, peer), None)
            return
        old = self._held.get((dataset, peer))
        self._held[dataset, peer] = guid
        if old is not None:
            await self._let_go(dataset, old, base_tag(peer))
        if self._pool.capabilities.bookmarks:  # an increment may begin there even if the hold does not help
            await self._pool.bookmark(dataset, guid, base_tag(peer))

    async def clear(self, dataset: str, guid: Guid) -> bool:
        """
        Take the holds for peers off a snapshot that is to go, where they are outdated.

        Returns:
            Whether nothing holds it any more.
        """
        tags = await self._pool.holds(dataset, guid)
        outdated = {tag for tag in tags if self._outdated(dataset, guid, tag)}
        for tag in sorted(outdated):
            await self._let_go(dataset, guid, tag)
        return outdated == tags

    def _outdated(self, dataset: str, guid: Guid, tag: str) -> bool:
        """
        The peer has something newer in common, is no member any more, or was not heard of for thirty days.

        Of what was before its start this process knows nothing: it has to be thirty days old itself, and one day to be
        sure who is a member.
        """
        peer = peer_of_tag(tag)
        if peer is None:
            return False
        newest, age_s = self._newest.get((dataset, peer)), self._clock.seconds() - self._began_s
        if newest is not None:
            return newest != guid
        return age_s > SEEN_WITHIN_S or (age_s > SURE_S and peer not in self._members)

    async def _let_go(self, dataset: str, guid: Guid, tag: str) -> None:
        try:
            await self._pool.release(dataset, guid, tag)
        except (NoSuchDataset, NoSuchSnapshot):
            self.log.debug("{guid} of {dataset} went away before its hold", guid=guid, dataset=dataset)


def _places(history: History) -> dict[Guid, int]:
    return {snapshot.guid: place for place, snapshot in enumerate(history)}
