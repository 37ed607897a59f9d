"""
Carries membership and ledger over the links: a heartbeat to everybody it concerns, with what each has not heard. Shell.

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
from hybrid.cluster.membership import Choose, Membership
from hybrid.model import NodeId
from hybrid.settings import Timing
from hybrid.wire import Done, Gossip

RESYNC_S = 30.0
NOTHING = Gossip(heartbeats={})
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
        choose: Choose,
        replica_peers: Callable[[], Collection[NodeId]],
        changed: Callable[[Merged], None],
    ) -> None:
        """`changed(merged)` is called after each merge that changed something, and when nodes came or went."""
        self._reactor, self._membership, self._ledger, self._links = reactor, membership, ledger, links
        self._choose, self._replica_peers, self._changed = choose, replica_peers, changed
        self._live: frozenset[NodeId] = frozenset()
        self._hurried: IDelayedCall | None = None
        self._beat = LoopingCall(self.beat)
        self._resync = LoopingCall(self._forget_all)
        self._beat.clock = self._resync.clock = reactor
        self._heartbeat_s = timing.heartbeat_s
        links.on_connected(self._met)
        links.handle(Gossip, self._heard)

    def startService(self) -> None:
        """Begin to beat."""
        super().startService()
        self._beat.start(self._heartbeat_s)
        self._resync.start(RESYNC_S, now=False)

    def stopService(self) -> Deferred[None] | None:
        """Fall silent."""
        for loop in (self._beat, self._resync):
            if loop.running:
                loop.stop()
        if self._hurried is not None and self._hurried.active():
            self._hurried.cancel()
        super().stopService()
        return None

    def hurry(self) -> None:
        """Something was published: tell it now, not at the next heartbeat."""
        if self.running and (self._hurried is None or not self._hurried.active()):
            self._hurried = self._reactor.callLater(HURRY_S, self._spread, {})

    def beat(self) -> None:
        """One heartbeat. Never raises: a loop that raises would be this node's death."""
        try:
            self._spread(self._membership.beat(self._reactor.seconds()))
            self._notice_liveness()
        except Exception:
            self.log.failure("a heartbeat failed")

    def _spread(self, heartbeats: dict[NodeId, tuple[int, int]]) -> None:
        targets = self._membership.targets(self._reactor.seconds(), self._replica_peers(), self._choose)
        for node in targets:
            news = self._ledger.news_for(node, heartbeats)
            if news == NOTHING:
                continue
            if not self._links.send(node, news):
                self._ledger.forget_peer(node)

    async def _heard(self, sender: NodeId, message: msgspec.Struct) -> Done:
        assert isinstance(message, Gossip)
        self._membership.received(message.heartbeats, self._reactor.seconds(), sender)
        merged = self._ledger.merge(message, sender)
        self._ledger.raise_to(self._membership.incarnation)
        if merged:
            self._changed(merged)
        self._notice_liveness()
        return Done()

    def _met(self, node: NodeId) -> None:
        self._membership.know(node, self._reactor.seconds())
        self._ledger.forget_peer(node)
        self.hurry()

    def _forget_all(self) -> None:
        try:
            for node in self._membership.known:
                self._ledger.forget_peer(node)
        except Exception:
            self.log.failure("a resync failed")

    def _notice_liveness(self) -> None:
        live = self._membership.live(self._reactor.seconds())
        if live != self._live:
            for node in live - self._live:
                self.log.info("node {node} is alive", node=node)
            for node in self._live - live:
                self.log.warn("node {node} is silent: taken for dead", node=node)
            self._live = live
            self._changed(Merged())
