"""
Carries the ledger over the links: to everybody it concerns what it has not heard. Shell.

A register goes over each link once. When a link breaks, or every half a minute (in case something was wrong), all of
it is news again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from hybrid.cluster.answering import RequestHandler
from hybrid.cluster.ledger import Ledger, Merged
from hybrid.cluster.membership import Membership
from hybrid.model import NodeId
from hybrid.settings import Timing
from hybrid.wire import Done, Gossip

RESYNC_S = 30.0
NOTHING = Gossip()
HURRY_S = 0.01
"""Several publications within this time travel together."""


class Links(Protocol):
    """What gossip needs of the links."""

    def send(self, node: NodeId, message: msgspec.Struct) -> bool:
        """Fire and forget; `False` when it was dropped."""

    def on_connected(self, callback: Callable[[NodeId], None]) -> None:
        """Call when there is a link to a node."""

    def handle(self, kind: type[msgspec.Struct], handler: RequestHandler) -> None:
        """See `hybrid.ports.Peers`."""


class Gossiping(Service):
    """Tells and listens."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        membership: Membership,
        ledger: Ledger,
        links: Links,
        timing: Timing,
        replica_peers: Callable[[], Collection[NodeId]],
        listens: Callable[[NodeId, Gossip], bool],
        changed: Callable[[Merged], None],
    ) -> None:
        """
        Args:
            listens: Whether to take in what a node says.
            changed: Called after each merge that changed something.
        """
        self._reactor, self._membership, self._ledger, self._links = reactor, membership, ledger, links
        self._replica_peers, self._listens, self._changed = replica_peers, listens, changed
        self._hurried: IDelayedCall | None = None
        self._tell = LoopingCall(self._spread)
        self._resync = LoopingCall(self._forget_all)
        self._tell.clock = self._resync.clock = reactor
        self._tell_s = timing.heartbeat_s
        links.on_connected(self._met)
        links.handle(Gossip, self._heard)

    def startService(self) -> None:
        """Begin to tell."""
        super().startService()
        self._tell.start(self._tell_s)
        self._resync.start(RESYNC_S, now=False)

    def stopService(self) -> Deferred[None] | None:
        """Fall silent."""
        for loop in (self._tell, self._resync):
            if loop.running:
                loop.stop()
        if self._hurried is not None and self._hurried.active():
            self._hurried.cancel()
        super().stopService()
        return None

    def hurry(self) -> None:
        """Something was published: tell it now, not in a while."""
        if self.running and (self._hurried is None or not self._hurried.active()):
            self._hurried = self._reactor.callLater(HURRY_S, self._spread)

    def _spread(self) -> None:
        """Never raises: a loop that raises would be this node's silence."""
        try:
            for node in self._membership.targets(self._replica_peers()):
                news = self._ledger.news_for(node)
                if news != NOTHING and not self._links.send(node, news):
                    self._ledger.forget_peer(node)
        except Exception:
            self.log.failure("telling the news failed")

    async def _heard(self, sender: NodeId, message: msgspec.Struct) -> Done:
        assert isinstance(message, Gossip)
        if self._listens(sender, message) and (merged := self._ledger.merge(message, sender)):
            self._changed(merged)
        return Done()

    def _met(self, node: NodeId) -> None:
        self._ledger.forget_peer(node)
        self.hurry()

    def _forget_all(self) -> None:
        try:
            for node in self._membership.known:
                self._ledger.forget_peer(node)
        except Exception:
            self.log.failure("a resync failed")
