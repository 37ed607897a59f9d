"""Cuts, deaths and returns on the network in memory, on a clock: what simulations rely on."""

from __future__ import annotations

import msgspec
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from hybrid.cluster.memory_peers import MemoryNetwork, MemoryPeers
from hybrid.errors import PeerError
from hybrid.model import NO_CLAIM, Guid, NodeId, Snapshot
from hybrid.ports import IncomingStream
from hybrid.wire import AskHistory, Done, Gossip, HistoryHeld, Offer, Taken

A, B, C = NodeId("n-a"), NodeId("n-b"), NodeId("n-c")
OFFER = Offer(dataset="sites/s-1", claim=NO_CLAIM, base=None, to=Snapshot(Guid(7), "x", 0))


class World:
    """Three nodes that are up; each notes the gossip it hears."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock, delay_s=0.01, dead_s=5.0, reconnect_s=0.5)
        self.heard: list[tuple[NodeId, NodeId]] = []
        self.nodes = {node: self._node(node) for node in (A, B, C)}
        self.pass_time(1.0)

    def _node(self, node: NodeId) -> MemoryPeers:
        peers = self.network.join(node)

        async def hear(sender: NodeId, message: msgspec.Struct) -> msgspec.Struct:
            self.heard.append((sender, node))
            return Done()

        async def history(sender: NodeId, message: msgspec.Struct) -> msgspec.Struct:
            return HistoryHeld(None)

        peers.handle(Gossip, hear)
        peers.handle(AskHistory, history)
        peers.startService()
        return peers

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        self.clock.pump([0.01] * round(seconds * 100))

    def ask(self, sender: NodeId, receiver: NodeId, deadline_s: float = 60.0) -> list[object]:
        """A request; its outcome, once there is one."""
        outcomes: list[object] = []
        asking = Deferred.fromCoroutine(self.nodes[sender].request(receiver, AskHistory("d"), deadline_s))
        asking.addBoth(outcomes.append)
        return outcomes


@pytest.fixture
def world() -> World:
    """Three connected nodes."""
    return World()


def refused(outcomes: list[object], words: str) -> bool:
    """Whether the outcome is a `PeerError` with these words."""
    (outcome,) = outcomes
    return isinstance(outcome, Failure) and isinstance(outcome.value, PeerError) and words in str(outcome.value)


def test_all_are_connected_and_answer(world: World) -> None:
    """Nodes that start find each other."""
    assert [world.nodes[node].connected() for node in (A, B)] == [{B, C}, {A, C}]
    outcomes = world.ask(A, B)
    world.pass_time(0.03)
    assert outcomes == [HistoryHeld(None)]


def test_cut_is_noticed_after_its_time_and_only_by_the_pair(world: World) -> None:
    """A cut loses what is sent; five seconds later the link is down; the third node is not concerned."""
    world.network.cut(A, B)
    outcomes = world.ask(A, B)
    assert world.nodes[A].send(B, Gossip())
    world.pass_time(4.9)
    assert (outcomes, world.heard, B in world.nodes[A].connected()) == ([], [], True)
    world.pass_time(0.2)
    assert refused(outcomes, "lost")
    assert (world.nodes[A].connected(), world.nodes[B].connected()) == (frozenset({C}), frozenset({C}))
    assert refused(world.ask(A, B), "cannot be reached")
    assert not world.nodes[A].send(B, Gossip())


def test_healed_cut_connects_again_and_tells(world: World) -> None:
    """After a partition links come up by themselves and those who asked are called."""
    ups: list[NodeId] = []
    world.nodes[A].on_connected(ups.append)
    world.network.partition({A}, {B, C})
    world.pass_time(6.0)
    assert not world.nodes[A].connected()
    world.network.heal_all()
    world.pass_time(1.0)
    assert (sorted(ups), world.nodes[A].connected()) == ([B, C], frozenset({B, C}))


def test_cut_in_one_direction(world: World) -> None:
    """What a node says is lost while it still hears the other; the link goes down for both."""
    world.network.cut_one_way(A, B)
    world.nodes[A].send(B, Gossip())
    world.nodes[B].send(A, Gossip())
    world.pass_time(0.1)
    assert world.heard == [(B, A)]
    world.pass_time(5.0)
    assert A not in world.nodes[B].connected()


def test_node_that_stops_and_returns(world: World) -> None:
    """A stopped node is gone at once, as its kernel says so; started again it is found again."""
    outcomes = world.ask(A, B)
    world.nodes[B].stopService()
    world.pass_time(0.01)
    assert refused(outcomes, "lost")
    world.pass_time(1.0)
    assert world.nodes[A].connected() == {C}
    world.nodes[B].startService()
    world.pass_time(1.0)
    assert world.nodes[A].connected() == {B, C}


def test_stream_never_passes_a_cut(world: World) -> None:
    """Bytes do not leak through a cut, and neither side takes the stream for complete."""
    ends: list[object] = []

    async def take(sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
        await stream.accept()
        try:
            while data := await stream.read():
                ends.append(data)
        except PeerError as error:
            ends.append(error)
            raise
        return Taken(Guid(7))

    class Slow:
        """Gives its second piece when told."""

        def __init__(self) -> None:
            self.second: Deferred[bytes] = Deferred()
            self._first = True

        async def read(self) -> bytes:
            if self._first:
                self._first = False
                return b"first"
            return await self.second

        async def abort(self) -> None:
            """See `hybrid.ports.ByteSource`."""

    world.nodes[B].handle_streams(take)
    source = Slow()
    outcomes: list[object] = []
    Deferred.fromCoroutine(world.nodes[A].offer(B, OFFER, source)).addBoth(outcomes.append)
    world.pass_time(0.1)
    assert ends == [b"first"]
    world.network.cut(A, B)
    source.second.callback(b"second")
    world.pass_time(5.1)
    assert isinstance(ends[1], PeerError) and len(ends) == 2
    assert refused(outcomes, "lost")


def test_a_stream_of_slow_pieces_arrives_whole(world: World) -> None:
    """A source that is waited for is no source that has ended, whatever the other side says meanwhile."""
    pieces = [b"%d" % number * size for number, size in enumerate((312, 256 * 1024, 312, 256 * 1024, 9))]

    class Drops:
        """Gives a piece each time step and a half, as a child that writes a little at a time."""

        def __init__(self) -> None:
            self._left = list(pieces)

        async def read(self) -> bytes:
            """See `hybrid.ports.ByteSource`."""
            await deferLater(world.clock, 0.015, lambda: None)
            return self._left.pop(0) if self._left else b""

        async def abort(self) -> None:
            """See `hybrid.ports.ByteSource`."""

    taken: list[bytes] = []

    async def take(sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
        await stream.accept()
        while data := await stream.read():
            taken.append(data)
        return Taken(Guid(7))

    world.nodes[B].handle_streams(take)
    outcomes: list[object] = []
    Deferred.fromCoroutine(world.nodes[A].offer(B, OFFER, Drops())).addBoth(outcomes.append)
    world.pass_time(5.0)
    assert (b"".join(taken), outcomes) == (b"".join(pieces), [Taken(Guid(7))])
