"""
Holds on the newest snapshot in common with each peer: neither retention nor a slip of the hand removes it. Shell.

Moving a hold takes several calls to the pool, so it is done once in a while for all that changed, never on the way of
a stream. Where holds stand is known from the pool alone; what is remembered here only saves calls. One left behind by
an earlier process is found, and taken off, when retention stumbles over it.
"""

from __future__ import annotations

from twisted.logger import Logger

from hybrid.errors import HybridError, NoSuchDataset, NoSuchSnapshot
from hybrid.model import Guid, NodeId
from hybrid.ports import Pool
from hybrid_replicator.names import base_tag, peer_of_tag


class BaseHolds:
    """One held snapshot per dataset and peer."""

    log = Logger()

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._newest: dict[tuple[str, NodeId], Guid] = {}
        self._held: dict[tuple[str, NodeId], Guid] = {}

    def want(self, dataset: str, peer: NodeId, guid: Guid) -> None:
        """The newest snapshot in common is `guid` now."""
        self._newest[dataset, peer] = guid

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

    async def clear(self, dataset: str, guid: Guid, forsaken: bool) -> bool:
        """
        Take the holds for peers off a snapshot that is to go.

        Args:
            forsaken: So old that a peer which has nothing newer in common is no longer waited for.

        Returns:
            Whether nothing holds it any more.
        """
        tags = await self._pool.holds(dataset, guid)
        outdated = {tag for tag in tags if self._outdated(dataset, guid, tag, forsaken)}
        for tag in sorted(outdated):
            await self._let_go(dataset, guid, tag)
        return outdated == tags

    def _outdated(self, dataset: str, guid: Guid, tag: str, forsaken: bool) -> bool:
        peer = peer_of_tag(tag)
        if peer is None:
            return False
        newest = self._newest.get((dataset, peer))
        return forsaken if newest is None else newest != guid

    async def _let_go(self, dataset: str, guid: Guid, tag: str) -> None:
        try:
            await self._pool.release(dataset, guid, tag)
        except (NoSuchDataset, NoSuchSnapshot):
            self.log.debug("{guid} of {dataset} went away before its hold", guid=guid, dataset=dataset)
