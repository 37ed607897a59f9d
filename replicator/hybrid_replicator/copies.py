"""
Gives the stashes on this node to other nodes too: until then this may be the only copy. Shell.

Every holder does so, for the one that set a history aside may be gone. A peer that has it already says so at once.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from hybrid.errors import HybridError
from hybrid.model import NodeId, SiteId, Stash
from hybrid_replicator.delivery import Cut, Delivery
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.names import stash_dataset

Holders = Callable[[SiteId], tuple[NodeId, ...]]
"""Other live nodes that should have a copy of what belongs to a site."""


class StashCopies:
    """The copies of this node's stashes."""

    log = Logger()

    def __init__(self, index: HistoryIndex, delivery: Delivery, holders: Holders) -> None:
        self._index, self._delivery, self._holders = index, delivery, holders
        self._given: set[tuple[str, NodeId]] = set()
        self._cut = Cut()

    async def spread(self) -> None:
        """Send what is missing, one after the other. What a peer does not take is offered again the next time."""
        for stash in self._index.all_stashes():
            for node in self._holders(stash.site):
                if (stash.id, node) not in self._given and not self._cut.wanted:
                    await self._give(stash, node)

    async def cut(self) -> None:
        """End what is under way; nothing is sent any more."""
        await self._cut()

    async def _give(self, stash: Stash, node: NodeId) -> None:
        bases = (stash.base, None) if stash.base is not None else (None,)
        try:
            sent = await self._delivery.copy(stash_dataset(stash.id), stash.head, bases, node, self._cut)
        except HybridError as error:
            self.log.info("stash {stash} is not on {node} yet: {why}", stash=stash.id, node=node, why=str(error))
            return
        self._given.add((stash.id, node))
        self.log.info("stash {stash} is on {node}, too ({bytes} bytes)", stash=stash.id, node=node, bytes=sent)
