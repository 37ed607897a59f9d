"""
`hybrid.ports.Peers` in memory: whole clusters in one process, on any clock, with cuts. For tests and simulations.

Messages go through `hybrid.wire` as they would over a socket, so that what cannot be encoded fails here too. What
concerns a node happens on that node's clock, so that one which is stopped or dead does nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from hybrid import wire
from hybrid.cluster.answering import Answers, RequestHandler, StreamHandler, peer_answer
from hybrid.cluster.memory_stream import MemoryStream, fail, fire
from hybrid.detach import detach
from hybrid.errors import PeerError
from hybrid.model import NodeId
from hybrid.ports import ByteSource


class _Link:
    """One connection between two nodes, from its beginning to its end: nothing sent on it arrives on the next one."""

    __slots__ = ("held", "last_s", "streams", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[Deferred[None], NodeId] = {}
        """Who waits on it for what."""
        self.streams: dict[MemoryStream, None] = {}
        self.last_s: dict[NodeId, float] = {}
        """When the last message to each end arrives: none overtakes another."""
        self.held: list[tuple[NodeId, NodeId, Callable[[MemoryPeers], None]]] = []
        """Sent into a cut: arrives when that is healed in time, as what TCP sends again does."""


class MemoryNetwork:
    """
    The wires between the nodes of one process.

    A cut is noticed as on real links: what is sent into it waits, and after `dead_s` the link counts as down and all
    that waited is lost; after `heal` links come up again within `reconnect_s`.
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
        self._silent: set[NodeId] = set()
        self._cut: set[tuple[NodeId, NodeId]] = set()
        self._links: dict[NodeId, dict[NodeId, _Link]] = {}

    def join(self, node: NodeId, clock: IReactorTime | None = None) -> MemoryPeers:
        """The peers of `node`, by its own `clock`; on the network from its `startService` to its `stopService`."""
        return MemoryPeers(self, node, clock or self.clock)

    # ------------------------------------------------------------------------------------------------- faults

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
        link = self._links.get(a, {}).get(b)
        if link is not None:
            held, link.held = link.held, []
            for sender, receiver, call in held:
                self.deliver(sender, receiver, call)
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

    def silence(self, node: NodeId) -> None:
        """`node` was stopped (SIGSTOP): nobody hears from it; after `dead_s` the others drop their links to it."""
        self._silent.add(node)
        self.clock.callLater(self.dead_s, self._drop_if_silent, node, list(self._links.get(node, {}).values()))

    def speak(self, node: NodeId) -> None:
        """`node` goes on."""
        self._silent.discard(node)
        if node in self._running:
            self._reconnect(node)

    def vanish(self, node: NodeId) -> None:
        """`node` lost its power: nobody is told, and after `dead_s` the others drop their links to it."""
        self._running.pop(node, None)
        self.silence(node)

    # --------------------------------------------------------------------------------------------------- links

    def reaches(self, sender: NodeId, receiver: NodeId) -> bool:
        """Whether what `sender` sends now arrives at `receiver`, some time."""
        return receiver in self._running and (sender, receiver) not in self._cut

    def cuts(self) -> frozenset[tuple[NodeId, NodeId]]:
        """From, to: directions in which everything is lost."""
        return frozenset(self._cut)

    def streams(self) -> int:
        """Streams under way."""
        return sum(len(link.streams) for links in self._links.values() for link in links.values()) // 2

    def connected(self, node: NodeId) -> frozenset[NodeId]:
        """The nodes that `node` believes to have a link with."""
        return frozenset(self._links.get(node, ()))

    def linked(self, node: NodeId, other: NodeId) -> bool:
        """Whether `node` believes to have a link with `other`."""
        return other in self._links.get(node, ())

    def started(self, peers: MemoryPeers) -> None:
        """`peers` came up: links of an earlier life end, new ones follow within `reconnect_s`."""
        self._end_links(peers.node)
        self._running[peers.node] = peers
        self._silent.discard(peers.node)
        self._reconnect(peers.node)

    def stopped(self, node: NodeId) -> None:
        """`node` went down, and the others are told so by their kernels: its links end at once."""
        self._end_links(node)
        self._running.pop(node, None)

    def deliver(self, sender: NodeId, receiver: NodeId, call: Callable[[MemoryPeers], None]) -> None:
        """Run `call(receiver's peers)` by the receiver's clock after the delay, unless it is lost on the way."""
        link = self._links.get(sender, {}).get(receiver)
        peers = self._running.get(receiver)
        if link is None or peers is None:
            return
        if (sender, receiver) in self._cut:
            link.held.append((sender, receiver, call))
            return
        now_s = self.clock.seconds()
        at_s = link.last_s[receiver] = max(now_s + self.delay(sender, receiver), link.last_s.get(receiver, 0.0))

        def arrive() -> None:
            if self._links.get(sender, {}).get(receiver) is not link:
                return
            if (sender, receiver) in self._cut:
                link.held.append((sender, receiver, call))
            else:
                call(peers)

        peers.clock.callLater(at_s - now_s, arrive)

    def delay(self, sender: NodeId, receiver: NodeId) -> float:
        """Seconds that the next message takes. For simulations to make it vary."""
        return self.delay_s

    async def wait(self, node: NodeId, peer: NodeId, event: Deferred[None], deadline_s: float) -> None:
        """Wait for `event`. Raises `PeerError` at the deadline or when the link of `node` to `peer` goes down."""
        link, peers = self._links.get(node, {}).get(peer), self._running.get(node)
        if link is None or peers is None:
            raise PeerError(f"link between {node} and {peer} lost", "", "it is tried again by itself")

        def give_up() -> None:
            fail(event, PeerError(f"{peer} did not answer", f"in {deadline_s} s"))

        late = peers.clock.callLater(deadline_s, give_up)
        link.waiting[event] = node
        try:
            await event
        finally:
            link.waiting.pop(event, None)
            if late.active():
                late.cancel()

    def opened(self, stream: MemoryStream) -> None:
        """`stream` is cut when its link goes down."""
        self._links[stream.sender][stream.receiver].streams[stream] = None

    def closed(self, stream: MemoryStream) -> None:
        """`stream` has ended at its receiver, who would otherwise wait for ever when the link goes down."""
        link = self._links.get(stream.sender, {}).get(stream.receiver)
        if link is not None:
            link.streams.pop(stream, None)

    def _reconnect(self, node: NodeId) -> None:
        for other in sorted(self._running):
            if other != node:
                self.clock.callLater(self.reconnect_s, self._connect, node, other)

    def _connect(self, a: NodeId, b: NodeId) -> None:
        if self.linked(a, b) or {a, b} & self._silent or not (self.reaches(a, b) and self.reaches(b, a)):
            return
        if b in self._running[a].kept_out or a in self._running[b].kept_out:
            return
        link = _Link()
        for node, other in ((a, b), (b, a)):
            self._links.setdefault(node, {})[other] = link
        for node, other in ((a, b), (b, a)):
            peers = self._running[node]
            peers.clock.callLater(0.0, peers.link_up, other)

    def separate(self, a: NodeId, b: NodeId) -> None:
        """One of the two keeps the other out from now on."""
        self._drop(a, b)

    def _drop_if_cut(self, sender: NodeId, receiver: NodeId) -> None:
        if (sender, receiver) in self._cut:
            self._drop(sender, receiver)

    def _drop_if_silent(self, node: NodeId, links: list[_Link]) -> None:
        if node not in self._silent:
            return
        for other, link in list(self._links.get(node, {}).items()):
            if link in links:
                self._drop(node, other)

    def _end_links(self, node: NodeId) -> None:
        for other in list(self._links.get(node, ())):
            self._drop(node, other)

    def _drop(self, a: NodeId, b: NodeId) -> None:
        link = self._links.get(a, {}).pop(b, None)
        self._links.get(b, {}).pop(a, None)
        if link is None:
            return
        error = PeerError(f"link between {a} and {b} lost", "", "it is tried again by itself")
        for event, node in link.waiting.items():
            self._tell(node, lambda event=event: fail(event, error))  # type: ignore[misc]  # default argument
        for stream in link.streams:
            self._tell(stream.receiver, stream.cut)
        for node, other in ((a, b), (b, a)):
            if node in self._running:
                self._tell(node, partial(self._running[node].link_down, other))

    def _tell(self, node: NodeId, news: Callable[[], None]) -> None:
        peers = self._running.get(node)
        if peers is not None:
            peers.clock.callLater(0.0, news)


class MemoryPeers(Service):
    """One node's `hybrid.ports.Peers` on a `MemoryNetwork`, with what gossip needs besides."""

    def __init__(self, network: MemoryNetwork, node: NodeId, clock: IReactorTime) -> None:
        self.node, self.clock = node, clock
        self._network = network
        self._answers = Answers()
        self._on_connected: list[Callable[[NodeId], None]] = []
        self._on_lost: list[Callable[[NodeId], None]] = []
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

    def on_lost(self, callback: Callable[[NodeId], None]) -> None:
        """See `hybrid.cluster.peers.PeerLinks`."""
        self._on_lost.append(callback)

    def link_down(self, node: NodeId) -> None:
        """The network's word that there is no link to `node` any more."""
        for callback in self._on_lost:
            callback(node)

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
        if not self._network.linked(self.node, node):
            return False
        data = wire.encode(message)
        self._network.deliver(self.node, node, lambda peers: peers.serve(self.node, data, None))
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

    def serve(self, sender: NodeId, data: bytes, reply: Callable[[bytes], None] | None) -> None:
        """Answer the request in `data`, back over the network; `None`: nobody wants an answer."""

        async def answer() -> None:
            said = await self._answers.answer(sender, wire.decode(data))
            if reply is not None:
                encoded = wire.encode(said)
                self._network.deliver(self.node, sender, lambda peers: reply(encoded))

        detach(answer())

    async def offer(self, node: NodeId, offer: msgspec.Struct, source: ByteSource) -> msgspec.Struct:
        """See `hybrid.ports.Peers`."""
        try:
            self._check_link(node)
            stream = MemoryStream(self._network, self.node, node)
            data = wire.encode(offer)
            self._network.opened(stream)
            self._network.deliver(self.node, node, lambda peers: peers.serve_stream(data, stream))
            return peer_answer(node, wire.decode(await stream.carry(source)))
        finally:
            await source.abort()

    def serve_stream(self, data: bytes, stream: MemoryStream) -> None:
        """Answer the offer in `data`, whose bytes will come through `stream`."""

        async def answer() -> None:
            try:
                reply = await self._answers.answer_stream(stream.sender, wire.decode(data), stream)
            finally:
                self._network.closed(stream)
            stream.answered(wire.encode(reply))

        detach(answer())

    def _check_link(self, node: NodeId) -> None:
        if not self._network.linked(self.node, node):
            raise PeerError(f"{node} cannot be reached", "no link", "it is tried again by itself")
