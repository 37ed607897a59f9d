"""
`hybrid.ports.Peers` in memory: whole clusters in one process, on any clock, with cuts. For tests and simulations.

Messages go through `hybrid.wire` as they would over a socket, so that what cannot be encoded fails here too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from hybrid import wire
from hybrid.cluster.answering import Answers, RequestHandler, StreamHandler, peer_answer
from hybrid.cluster.memory_stream import MemoryStream, fail, fire
from hybrid.errors import PeerError
from hybrid.model import NodeId
from hybrid.ports import ByteSource


class MemoryNetwork:
    """
    The wires between the nodes of one process.

    A cut is noticed as on real links: what is sent into it is lost, and after `dead_s` the link counts as down;
    after `heal` links come up again within `reconnect_s`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        delay_s: float = 0.001,
        dead_s: float = 5.0,
        reconnect_s: float = 0.5,
        stall_s: float = 60.0,
    ) -> None:
        self.clock = clock
        self.delay_s = delay_s
        self.dead_s = dead_s
        self.reconnect_s = reconnect_s
        self.stall_s = stall_s
        self._running: dict[NodeId, MemoryPeers] = {}
        self._cut: set[tuple[NodeId, NodeId]] = set()
        self._up: set[tuple[NodeId, NodeId]] = set()
        self._waiting: dict[Deferred[None], tuple[NodeId, NodeId]] = {}

    def join(self, node: NodeId) -> MemoryPeers:
        """The peers of `node`; on the network from its `startService` to its `stopService`."""
        return MemoryPeers(self, node)

    def cut(self, a: NodeId, b: NodeId) -> None:
        """Lose everything between `a` and `b`, both ways."""
        self.cut_one_way(a, b)
        self.cut_one_way(b, a)

    def cut_one_way(self, sender: NodeId, receiver: NodeId) -> None:
        """Lose everything from `sender` to `receiver`."""
        self._cut.add((sender, receiver))
        self.clock.callLater(self.dead_s, self._drop_if_cut, sender, receiver)

    def heal(self, a: NodeId, b: NodeId) -> None:
        """Undo `cut` and `cut_one_way` between `a` and `b`."""
        self._cut -= {(a, b), (b, a)}
        self.clock.callLater(self.reconnect_s, self._connect, a, b)

    def partition(self, *groups: set[NodeId]) -> None:
        """Cut every pair of nodes that are not in one group."""
        for ours, theirs in itertools.combinations(groups, 2):
            for a, b in itertools.product(sorted(ours), sorted(theirs)):
                self.cut(a, b)

    def heal_all(self) -> None:
        """Undo every cut."""
        for a, b in sorted(self._cut):
            self.heal(a, b)

    def is_cut(self, sender: NodeId, receiver: NodeId) -> bool:
        """Whether what `sender` sends to `receiver` is lost."""
        return (sender, receiver) in self._cut

    def reaches(self, sender: NodeId, receiver: NodeId) -> bool:
        """Whether what `sender` sends now arrives at `receiver`."""
        return receiver in self._running and (sender, receiver) not in self._cut

    def connected(self, node: NodeId) -> frozenset[NodeId]:
        """The nodes that `node` believes to have a link with."""
        return frozenset(b for a, b in self._up if a == node)

    def started(self, peers: MemoryPeers) -> None:
        """`peers` came up: its links follow within `reconnect_s`."""
        self._running[peers.node] = peers
        for other in sorted(self._running):
            if other != peers.node:
                self.clock.callLater(self.reconnect_s, self._connect, peers.node, other)

    def stopped(self, node: NodeId) -> None:
        """`node` went down, and the others are told so by their kernels: its links end at once."""
        self._running.pop(node, None)
        for other in self.connected(node):
            self._drop(node, other)

    def deliver(self, sender: NodeId, receiver: NodeId, call: Callable[[MemoryPeers], None]) -> None:
        """Run `call(receiver's peers)` after the delay, unless it is lost on the way."""

        def arrive() -> None:
            if self.reaches(sender, receiver) and sender in self._running:
                call(self._running[receiver])

        self.clock.callLater(self.delay_s, arrive)

    async def wait(self, node: NodeId, peer: NodeId, event: Deferred[None], deadline_s: float) -> None:
        """Wait for `event`. Raises `PeerError` at the deadline or when the link of `node` to `peer` goes down."""
        late = self.clock.callLater(deadline_s, fail, event, PeerError(f"{peer} did not answer", f"in {deadline_s} s"))
        self._waiting[event] = (node, peer)
        try:
            await event
        finally:
            del self._waiting[event]
            if late.active():
                late.cancel()

    def _connect(self, a: NodeId, b: NodeId) -> None:
        if (a, b) in self._up or not (self.reaches(a, b) and self.reaches(b, a)):
            return
        if b in self._running[a].kept_out or a in self._running[b].kept_out:
            return
        self._up |= {(a, b), (b, a)}
        for node, other in ((a, b), (b, a)):
            self._running[node].link_up(other)

    def separate(self, a: NodeId, b: NodeId) -> None:
        """One of the two keeps the other out from now on."""
        self._drop(a, b)

    def _drop_if_cut(self, sender: NodeId, receiver: NodeId) -> None:
        if (sender, receiver) in self._cut:
            self._drop(sender, receiver)

    def _drop(self, a: NodeId, b: NodeId) -> None:
        self._up -= {(a, b), (b, a)}
        for event, pair in list(self._waiting.items()):
            if pair in ((a, b), (b, a)):
                fail(event, PeerError(f"link between {a} and {b} lost", "", "it is tried again by itself"))


class MemoryPeers(Service):
    """One node's `hybrid.ports.Peers` on a `MemoryNetwork`, with what gossip needs besides."""

    def __init__(self, network: MemoryNetwork, node: NodeId) -> None:
        self.node = node
        self._network = network
        self._answers = Answers()
        self._on_connected: list[Callable[[NodeId], None]] = []
        self.kept_out: set[NodeId] = set()

    def startService(self) -> None:
        """Join the network."""
        super().startService()
        self._network.started(self)

    def stopService(self) -> Deferred[None]:
        """Leave it; requests and streams under way fail on both sides."""
        super().stopService()
        self._network.stopped(self.node)
        return succeed(None)

    def handle(self, kind: type[msgspec.Struct], handler: RequestHandler) -> None:
        """See `hybrid.ports.Peers`."""
        self._answers.handle(kind, handler)

    def handle_streams(self, handler: StreamHandler) -> None:
        """See `hybrid.ports.Peers`."""
        self._answers.handle_streams(handler)

    def connected(self) -> frozenset[NodeId]:
        """See `hybrid.cluster.peers.PeerLinks`."""
        return self._network.connected(self.node)

    def on_connected(self, callback: Callable[[NodeId], None]) -> None:
        """See `hybrid.cluster.peers.PeerLinks`."""
        self._on_connected.append(callback)

    def link_up(self, node: NodeId) -> None:
        """The network's word that there is a link to `node` now."""
        for callback in self._on_connected:
            callback(node)

    def cut(self, node: NodeId, reason: str) -> None:
        """See `hybrid.cluster.peers.PeerLinks`; `node` is kept out from now on."""
        self.kept_out.add(node)
        self._network.separate(self.node, node)

    def send(self, node: NodeId, message: msgspec.Struct) -> bool:
        """See `hybrid.cluster.peers.PeerLinks`."""
        if node not in self.connected():
            return False
        data = wire.encode(message)
        self._network.deliver(self.node, node, lambda peers: peers.serve(self.node, data, lambda reply: None))
        return True

    async def request(self, node: NodeId, message: msgspec.Struct, deadline_s: float = 10.0) -> msgspec.Struct:
        """See `hybrid.ports.Peers`."""
        self._check_link(node)
        data = wire.encode(message)
        replies: list[bytes] = []
        arrived: Deferred[None] = Deferred()

        def reply(answer: bytes) -> None:
            replies.append(answer)
            fire(arrived)

        self._network.deliver(self.node, node, lambda peers: peers.serve(self.node, data, reply))
        await self._network.wait(self.node, node, arrived, deadline_s)
        return peer_answer(node, wire.decode(replies[0]))

    def serve(self, sender: NodeId, data: bytes, reply: Callable[[bytes], None]) -> None:
        """Answer the request in `data`, back over the network."""

        async def answer() -> None:
            encoded = wire.encode(await self._answers.answer(sender, wire.decode(data)))
            self._network.deliver(self.node, sender, lambda peers: reply(encoded))

        Deferred.fromCoroutine(answer())

    async def offer(self, node: NodeId, offer: msgspec.Struct, source: ByteSource) -> msgspec.Struct:
        """See `hybrid.ports.Peers`."""
        try:
            self._check_link(node)
            stream = MemoryStream(self._network, self.node, node)
            data = wire.encode(offer)
            self._network.deliver(self.node, node, lambda peers: peers.serve_stream(data, stream))
            return peer_answer(node, wire.decode(await stream.carry(source)))
        finally:
            await source.abort()

    def serve_stream(self, data: bytes, stream: MemoryStream) -> None:
        """Answer the offer in `data`, whose bytes will come through `stream`."""

        async def answer() -> None:
            reply = await self._answers.answer_stream(stream.sender, wire.decode(data), stream)
            stream.answered(wire.encode(reply))

        Deferred.fromCoroutine(answer())

    def _check_link(self, node: NodeId) -> None:
        if node not in self.connected():
            raise PeerError(f"{node} cannot be reached", "no link", "it is tried again by itself")
