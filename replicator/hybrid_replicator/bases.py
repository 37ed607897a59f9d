"""
Finds what must be kept of a history for other nodes, asking those of whom that is not known. Shell. Rule R11.

A node publishes only its newest few snapshots. Where none of them is here, its line went another way long ago, and
where the two still meet is known to nobody but by comparing both lines whole. Until that was done nothing is forgotten
that the other might have: ignorance is not emptiness.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.errors import PeerError
from hybrid.history import History, guids
from hybrid.model import Guid, NodeId, SiteId
from hybrid_replicator.delivery import Delivery
from hybrid_replicator.forgetting import Kept
from hybrid_replicator.holds import BaseHolds
from hybrid_replicator.names import site_dataset
from hybrid_replicator.ports import Heads
from hybrid_replicator.protection import SEEN_WITHIN_S

Needed = Callable[[SiteId], frozenset[Guid]]


class Bases:
    """What this node has in common with others, as far as anybody can say."""

    log = Logger()

    def __init__(self, clock: IReactorTime, delivery: Delivery, holds: BaseHolds, heads: Heads, needed: Needed) -> None:
        """`needed(site)` are the snapshots of which it is known that they are needed."""
        self._clock, self._delivery, self._holds, self._heads, self._needed = clock, delivery, holds, heads, needed
        self._silent: dict[tuple[str, NodeId], tuple[Guid, float]] = {}
        """Who did not say what it holds: our head when it was first asked, and when that was."""

    async def kept(self, site: SiteId, history: History) -> Kept:
        """
        What retention must leave of `history`, which is our line of `site`, oldest first, by what is known when asked.

        Every node is asked whose published snapshots are all unknown here; each answer has a deadline.
        """
        dataset, strangers = site_dataset(site), self._strangers(site, history)
        self._silent = {key: since for key, since in self._silent.items() if key[0] != dataset or key[1] in strangers}
        for_strangers: set[Guid] = set()
        for peer in strangers:
            for_strangers.update(await self._compare(dataset, history, peer))
        return partial(self._by_now, site, history, frozenset(strangers), frozenset(for_strangers))

    def _by_now(
        self, site: SiteId, history: History, asked: frozenset[NodeId], for_asked: frozenset[Guid]
    ) -> frozenset[Guid]:
        """All of it, once there is a node to be asked that was not `asked`."""
        if asked.issuperset(self._strangers(site, history)):
            return self._needed(site) | for_asked
        return frozenset(guids(history))

    def _strangers(self, site: SiteId, history: History) -> list[NodeId]:
        ours = set(guids(history))
        return [peer for peer, published in self._heads(site).items() if ours.isdisjoint(published)]

    async def _compare(self, dataset: str, history: History, peer: NodeId) -> tuple[Guid, ...]:
        """What is kept for a node that cannot be asked; what is in common with one that can, `holds` is told."""
        try:
            theirs = await self._delivery.ask(dataset, peer)
        except PeerError as error:
            self.log.debug(
                "{peer} did not say what it holds of {dataset}: {error}", peer=peer, dataset=dataset, error=error
            )
            return self._all_it_may_have(dataset, history, peer)
        self._silent.pop((dataset, peer), None)
        self._holds.heard(dataset, history, peer, guids(theirs or ())[::-1])
        return ()

    def _all_it_may_have(self, dataset: str, history: History, peer: NodeId) -> tuple[Guid, ...]:
        """What was here when it first was silent: of what came later it knows nothing. For thirty days."""
        now_s, line = self._clock.seconds(), guids(history)
        head, since_s = self._silent.get((dataset, peer), (None, now_s))
        if head not in line:
            head, since_s = line[-1], now_s
        self._silent[dataset, peer] = head, since_s
        return line[: line.index(head) + 1] if now_s - since_s <= SEEN_WITHIN_S else ()
