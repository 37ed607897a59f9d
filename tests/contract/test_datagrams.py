"""Every driver of `hybrid.cluster.pulse.Datagrams` obeys these: in memory, and over UDP, sealed."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from hybrid.cluster import keyring
from hybrid.cluster.envelope import Envelopes
from hybrid.cluster.memory_datagrams import MemoryAir
from hybrid.cluster.memory_peers import MemoryNetwork
from hybrid.cluster.packets import ALIVE, GOSSIP, MAX_UPDATES, PING, SUSPECT, Packet
from hybrid.cluster.pulse import Datagrams
from hybrid.cluster.udp import UdpDatagrams
from hybrid.model import NodeId

A, B = NodeId("n-" + "a" * 16), NodeId("n-" + "b" * 16)


@dataclass
class Ends:
    """Two nodes, and what each heard, oldest first."""

    a: Datagrams
    b: Datagrams
    heard: dict[NodeId, list[tuple[NodeId, Packet]]] = field(default_factory=lambda: {A: [], B: []})
    waiting: list[tuple[Callable[[], bool], Deferred[None]]] = field(default_factory=list)

    def listen(self) -> None:
        """Note what comes."""
        for node, datagrams in ((A, self.a), (B, self.b)):
            datagrams.listen(lambda sender, packet, node=node: self._note(node, sender, packet))  # type: ignore[misc]

    def _note(self, node: NodeId, sender: NodeId, packet: Packet) -> None:
        self.heard[node].append((sender, packet))
        for condition, event in self.waiting:
            if condition() and not event.called:
                event.callback(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for it, not for ever."""
        if not condition():
            event: Deferred[None] = Deferred()
            self.waiting.append((condition, event))
            await event.addTimeout(20, reactor)


def udp(me: NodeId, ring: keyring.Keyring, ports: dict[NodeId, int]) -> UdpDatagrams:
    """A node on loopback."""
    envelopes = Envelopes(me, 1, b"salt", lambda: ring)
    places = lambda: {node: ("127.0.0.1", port) for node, port in ports.items()}  # noqa: E731
    datagrams = UdpDatagrams(reactor, envelopes, places, "127.0.0.1", 0)  # type: ignore[arg-type]
    datagrams.startService()
    ports[me] = datagrams.port
    return datagrams


@pytest_twisted.async_yield_fixture(params=["memory", "udp"])
async def ends(request: pytest.FixtureRequest) -> AsyncIterator[Ends]:
    """Two nodes that know each other."""
    if request.param == "memory":
        air = MemoryAir(MemoryNetwork(reactor))
        two = Ends(air.join(A), air.join(B))
        two.listen()
        yield two
        return
    ring, ports = keyring.first(bytes(32), 0), dict[NodeId, int]()
    a, b = udp(A, ring, ports), udp(B, ring, ports)
    two = Ends(a, b)
    two.listen()
    yield two
    for end in (a, b):
        await end.stopService()


@pytest_twisted.ensureDeferred
async def test_packets_arrive_as_they_were_sent(ends: Ends) -> None:
    """Each packet comes once, with its sender, also the largest there can be."""
    node = NodeId("n-" + "x" * 22)
    packets = [
        Packet(PING, 1, 1_800_000_000, B),
        Packet(GOSSIP, 2, 5, "", ((node, SUSPECT, 2**47, node),) * MAX_UPDATES),
        Packet(GOSSIP, 3, 5, "", ((A, ALIVE, 0, ""),)),
    ]
    for packet in packets:
        ends.a.send(B, packet)
        ends.b.send(A, packet)
    await ends.until(lambda: len(ends.heard[A]) == len(ends.heard[B]) == 3)
    assert sorted(ends.heard[B], key=lambda heard: heard[1].number) == [(A, packet) for packet in packets]
    assert sorted(ends.heard[A], key=lambda heard: heard[1].number) == [(B, packet) for packet in packets]


@pytest_twisted.ensureDeferred
async def test_to_nobody(ends: Ends) -> None:
    """A packet to a node that nobody knows, or that is gone, is lost, and nothing else happens."""
    ends.a.send(NodeId("n-nobody"), Packet(PING, 1, 1))
    ends.a.send(B, Packet(PING, 2, 1))
    await ends.until(lambda: bool(ends.heard[B]))
    assert [packet.number for _, packet in ends.heard[B]] == [2]


@pytest_twisted.ensureDeferred
async def test_strangers_are_counted_and_never_answered() -> None:
    """Noise, other clusters' packets, replays and cut-off ones are dropped; who sent them gets no byte back."""
    ring, ports = keyring.first(bytes(32), 0), dict[NodeId, int]()
    node, heard = udp(B, ring, ports), list[Packet]()
    node.listen(lambda sender, packet: heard.append(packet))
    good = Envelopes(A, 1, b"salt", lambda: ring).seal(b"\x95\x01\x02\x03\xa0\x90") or b""
    foreign = Envelopes(A, 1, b"salt", lambda: keyring.first(b"2" * 32, 0)).seal(b"x") or b""
    unpacked = Envelopes(A, 2, b"salt", lambda: ring).seal(b"no packet") or b""
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        stranger.setblocking(False)
        noise = [random.Random(1).randbytes(size) for size in (0, 1, 30, 1400, 1401, 9000)]
        for datagram in (*noise, foreign, good, good, good[:-1], unpacked):
            stranger.sendto(datagram, ("127.0.0.1", node.port))
        for _ in range(200):
            if sum(node.dropped.values()) >= 10:
                break
            await deferLater(reactor, 0.05, lambda: None)
        assert len(heard) == 1
        assert node.dropped["an unknown key"] >= 1
        assert node.dropped["seen before"] == 1
        assert node.dropped["not a packet"] == 1
        assert node.dropped["not authentic"] == 1
        with pytest.raises(BlockingIOError):
            stranger.recv(2048)
    finally:
        stranger.close()
        await node.stopService()


@pytest_twisted.ensureDeferred
async def test_a_newcomer_is_answered_where_it_wrote_from() -> None:
    """A member whose address is not known yet can be answered, once it has shown that it has the key."""
    ring, known, unknown = keyring.first(bytes(32), 0), dict[NodeId, int](), dict[NodeId, int]()
    newcomer, old = udp(A, ring, known), udp(B, ring, unknown)
    known[B] = old.port
    two = Ends(newcomer, old)
    two.listen()
    try:
        old.send(A, Packet(PING, 1, 1))
        assert old.dropped == {"no address": 1}
        newcomer.send(B, Packet(PING, 2, 1))
        await two.until(lambda: bool(two.heard[B]))
        old.send(A, Packet(PING, 3, 1))
        await two.until(lambda: bool(two.heard[A]))
    finally:
        await newcomer.stopService()
        await old.stopService()
