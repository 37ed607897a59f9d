"""
Gives the stashes on this node to other nodes too: until then this may be the only copy. Shell.

Every holder does so, for the one that set a history aside may be gone. A peer that has it already says so at once.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.errors import HybridError
from hybrid.model import NodeId, SiteId, Stash
from hybrid_replicator.delivery import Cut, Delivery
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.names import stash_dataset

AGAIN_S = 300.0
"""What a peer has is offered to it again after so long: its disk may be another one by then."""

Holders = Callable[[SiteId], tuple[NodeId, ...]]
"""Other live nodes that should have a copy of what belongs to a site."""


class StashCopies:
    """The copies of this node's stashes."""

    log = Logger()

    def __init__(self, clock: IReactorTime, index: HistoryIndex, delivery: Delivery, holders: Holders) -> None:
        self._clock, self._index, self._delivery, self._holders = clock, index, delivery, holders
        self._given_s: dict[tuple[str, NodeId], float] = {}
        self._cut = Cut()

    async def spread(self) -> None:
        """Send what is missing, one after the other. What a peer does not take is offered again the next time."""
        since_s = self._clock.seconds() - AGAIN_S
        self._given_s = {key: at_s for key, at_s in self._given_s.items() if at_s > since_s}
        for stash in self._index.all_stashes():
            for node in self._holders(stash.site):
                if (stash.id, node) not in self._given_s and not self._cut.wanted:
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
        self._given_s[stash.id, node] = self._clock.seconds()
        if sent:
            self.log.info("stash {stash} is on {node}, too ({bytes} bytes)", stash=stash.id, node=node, bytes=sent)
