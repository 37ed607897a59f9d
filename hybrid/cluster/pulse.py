"""
Runs the membership protocol: one timer, datagrams in and out, pings over the links. Shell; decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from hybrid.cluster.answering import RequestHandler
from hybrid.cluster.membership import Deeds, Membership
from hybrid.cluster.packets import CALL, Packet
from hybrid.detach import detach
from hybrid.errors import PeerError
from hybrid.model import NodeId
from hybrid.wire import Done, Ping

CALL_S = 2.0
"""A ping over a link that was not answered by then came too late for every probe."""

WARN_AFTER = 5
"""Probes of a node in a row that only its link answered."""

Hear = Callable[[NodeId, Packet], None]


class Datagrams(Protocol):
    """Carries packets between nodes, each or not, in any order. What arrives was sent by a member of the cluster."""

    def send(self, node: NodeId, packet: Packet) -> None:
        """Send it on its way; where that is impossible it is lost. Never raises."""

    def listen(self, hear: Hear) -> None:
        """From now on `hear(sender, packet)` is called with what arrives."""


class Links(Protocol):
    """What the protocol needs of the links."""

    async def request(self, node: NodeId, message: msgspec.Struct, deadline_s: float = 10.0) -> msgspec.Struct:
        """See `hybrid.ports.Peers`."""

    def on_connected(self, callback: Callable[[NodeId], None]) -> None:
        """Call when there is a link to a node."""

    def on_lost(self, callback: Callable[[NodeId], None]) -> None:
        """Call when the link to a node is no more."""

    def handle(self, kind: type[msgspec.Struct], handler: RequestHandler) -> None:
        """See `hybrid.ports.Peers`."""


class Pulse(Service):
    """The life of this node, shown to the others; and theirs, seen."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        membership: Membership,
        datagrams: Datagrams,
        links: Links,
        changed: Callable[[], None],
    ) -> None:
        """`changed()` is called when a node came to life or is taken for dead."""
        self._reactor, self._membership, self._datagrams, self._links = reactor, membership, datagrams, links
        self._changed = changed
        self._timer: IDelayedCall | None = None
        self._due_s = math.inf
        datagrams.listen(self._received)
        links.handle(Ping, self._pinged)
        links.on_connected(self._met)
        links.on_lost(self._met)

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._membership.start(self._reactor.seconds())
        self._schedule()

    def stopService(self) -> Deferred[None] | None:
        """Fall silent."""
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        return None

    # ------------------------------------------------------------------------------------------------------ events

    def _advance(self) -> None:
        self._timer = None
        self._take(self._membership.advance)

    def _received(self, sender: NodeId, packet: Packet) -> None:
        if self.running:
            self._take(self._membership.received, sender, packet)

    def _met(self, node: NodeId) -> None:
        self._take(self._membership.met, node)

    async def _pinged(self, sender: NodeId, message: msgspec.Struct) -> Done:
        return Done()

    async def _call(self, node: NodeId, number: int) -> None:
        try:
            await self._links.request(node, Ping(), deadline_s=CALL_S)
        except PeerError:
            return
        if self.running:
            self._take(self._membership.called, node, number)
            if self._membership.only_called(node) == WARN_AFTER:
                self.log.warn(
                    "node {node} answers over its link, but its datagrams do not arrive, or ours do not: "
                    "is UDP open on the cluster port, in both directions?",
                    node=node,
                )

    # ------------------------------------------------------------------------------------------------------- deeds

    def _take(self, step: Callable[..., Deeds], *told: object) -> None:
        """Do what the protocol says. Never raises: without its timer this node would be dead for the others."""
        try:
            for node, packet in step(*told, self._reactor.seconds()):
                if packet.kind == CALL:
                    detach(self._call(node, packet.number))
                else:
                    self._datagrams.send(node, packet)
            if self._membership.unseen:
                self._notice(self._membership.changes())
        except Exception:
            self.log.failure("a step of the membership protocol failed")
        finally:
            self._schedule()

    def _schedule(self) -> None:
        """One timer, for what is due next."""
        due_s, timer = self._membership.due_s, self._timer
        if timer is not None:
            if due_s == self._due_s:
                return
            if timer.active():
                timer.cancel()
            self._timer = None
        if self.running and due_s != math.inf:
            self._due_s = due_s
            self._timer = self._reactor.callLater(max(0.0, due_s - self._reactor.seconds()), self._advance)

    def _notice(self, changes: Iterable[tuple[NodeId, str, str]]) -> None:
        came = False
        for node, before, after in changes:
            if after == "dead":
                self.log.warn("node {node} does not answer: taken for dead", node=node)
            elif after == "suspect":
                self.log.debug("node {node} is suspected", node=node)
            elif before != "suspect":
                self.log.info("node {node} is alive", node=node)
            came |= "suspect" not in (before, after) or after == "dead"
        if came:
            self._changed()
