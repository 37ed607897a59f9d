"""The conversation in which two nodes find what they do not both know: see `hybrid.cluster.comparing`. Shell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.cluster import comparing
from hybrid.cluster.comparing import Topic, topics
from hybrid.cluster.ledger import Ledger
from hybrid.errors import HybridError, PeerError
from hybrid.model import NodeId, SiteId
from hybrid.wire import Compare, Compared, Gossip, Pull, Pulled

BREATH_S = 0.005
"""Between two messages of a long comparison others get their turn."""


class Asks(Protocol):
    """What is needed of the links."""

    async def request(self, node: NodeId, message: msgspec.Struct, deadline_s: float = 10.0) -> msgspec.Struct:
        """See `hybrid.ports.Peers`."""


class Syncing:
    """Compares with one peer at a time per peer."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        ledger: Ledger,
        links: Asks,
        heard: Callable[[NodeId, Gossip], bool],
        elsewhere: Callable[[], Collection[NodeId]],
        urgent: Callable[[], Iterable[SiteId]],
    ) -> None:
        """
        Args:
            heard: Merges what a peer told; returns whether any of it was new.
            elsewhere: Writers that are asked themselves, and not about each other.
            urgent: Sites of which this node must know all before anything else, once.
        """
        self._reactor, self._ledger, self._links = reactor, ledger, links
        self._heard, self._elsewhere, self._urgent = heard, elsewhere, urgent
        self._with: set[NodeId] = set()
        self._caught_up = False

    def busy(self) -> int:
        """With how many peers it is comparing."""
        return len(self._with)

    async def sync(self, peer: NodeId) -> bool:
        """Compare with `peer` until both know the same; whether that worked. Never raises."""
        if peer in self._with:
            return False
        self._with.add(peer)
        try:
            await self._sync(peer)
            return True
        except PeerError as error:
            self.log.debug("comparing with {peer} ended: {error}", peer=peer, error=str(error))
        except HybridError as error:
            self.log.warn("comparing with {peer} failed: {error}", peer=peer, error=str(error))
        except Exception:
            self.log.failure("comparing with {peer} failed", peer=peer)
        finally:
            self._with.discard(peer)
        return False

    async def _sync(self, peer: NodeId) -> None:
        if not self._caught_up:
            await self._discuss(peer, topics(sites=sorted(self._urgent())))
        answer = await self._compare(peer)
        skipped = set(self._elsewhere()) - {peer}
        writers = [node for node in comparing.differing(self._ledger, answer) if node not in skipped]
        if writers:
            await self._discuss(peer, topics(writers=writers))
            answer = await self._compare(peer)  # which sites both hold was not known before
        if not answer.same_copies:
            await self._discuss(peer, topics(copies=comparing.held_by_both(self._ledger, peer)))
        self._caught_up = True

    async def _compare(self, peer: NodeId) -> Compared:
        answer = await self._links.request(peer, comparing.question(self._ledger, peer))
        if not isinstance(answer, Compared):
            raise HybridError(f"{peer} does not compare", f"{type(answer).__name__} is no answer to that")
        return answer

    async def _discuss(self, peer: NodeId, about: Iterable[Topic]) -> None:
        for topic in about:
            while await self._pull(peer, topic):
                await deferLater(self._reactor, BREATH_S, lambda: None)

    async def _pull(self, peer: NodeId, topic: Topic) -> bool:
        """One question and its answer; whether there is more to ask."""
        answer = await self._links.request(peer, comparing.pull(self._ledger, topic))
        if not isinstance(answer, Pulled):
            raise HybridError(f"{peer} does not compare", f"{type(answer).__name__} is no answer to that")
        new = self._heard(peer, answer.news)
        for news in comparing.lacked(self._ledger, answer):
            await self._links.request(peer, news)
        return answer.more and new

    # ------------------------------------------------------------------------------------------------- answers

    async def compared(self, sender: NodeId, message: msgspec.Struct) -> Compared:
        """Answer `Compare`."""
        assert isinstance(message, Compare)
        return comparing.compared(self._ledger, sender, message)

    async def pulled(self, sender: NodeId, message: msgspec.Struct) -> Pulled:
        """Answer `Pull`."""
        assert isinstance(message, Pull)
        return comparing.pulled(self._ledger, message)
