"""UDP ports of sites: flows to the container or to the owner's node, bounded, and begun anew when the owner changes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IReactorUDP

from hybrid.model import Claim, NodeId, Port, SiteId
from hybrid_proxy.datagrams import Datagrams, framed
from hybrid_proxy.doors import InteriorFactory
from hybrid_proxy.passage import passage_of
from hybrid_proxy.proxyv2 import Passport, header_bytes, parse_header
from hybrid_proxy.tcp import JOINED
from hybrid_proxy.udp import KEPT, UdpPort

if TYPE_CHECKING:
    from tests.proxy.conftest import World

ME, OTHER, SHOP = NodeId("n-me"), NodeId("n-other"), SiteId("s-shop")
PORTS = (Port("game", 27015, "udp", 5000),)
ANN, BOB = ("198.51.100.9", 1000), ("198.51.100.10", 1000)


class Socket:
    """A UDP socket: what was sent, and to whom; for a test, its own port too."""

    def __init__(self, home: Sockets, protocol: Any) -> None:
        self._home, self.protocol = home, protocol
        self.sent: list[tuple[bytes, Any]] = []
        self.peer: Any = None

    def connect(self, host: str, port: int) -> None:
        """See `IUDPTransport`."""
        self.peer = host, port

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """See `IUDPTransport`."""
        self.sent.append((datagram, addr or self.peer))

    def stopListening(self) -> None:  # noqa: N802  (Twisted's name)
        """See `IListeningPort`."""
        self._home.open.remove(self)


class Sockets:
    """A reactor for UDP."""

    def __init__(self) -> None:
        self.open: list[Socket] = []

    def listenUDP(self, port: int, protocol: Any, interface: str = "", most: int = 0) -> Socket:  # noqa: N802  (Twisted's name)
        """See `IReactorUDP`."""
        socket = Socket(self, protocol)
        self.open.append(socket)
        protocol.transport = socket
        protocol.startProtocol()
        return socket


@pytest.fixture
def sockets(world: World) -> Sockets:
    """Of a node with a game server at UDP port 5000."""
    world.follow(world.site(ports=PORTS))
    return Sockets()


def port(world: World, sockets: Sockets) -> tuple[UdpPort, Socket]:
    """The public port, and its socket."""
    made = UdpPort(cast(IReactorUDP, sockets), world.house, world.connect, 5000)
    own = sockets.listenUDP(5000, made)
    sockets.open.clear()
    return made, own


def test_a_flow_for_each_client(world: World, sockets: Sockets) -> None:
    """To the container from a socket of its own, and back from the public port."""
    game, own = port(world, sockets)
    for client, text in ((ANN, b"a1"), (BOB, b"b1"), (ANN, b"a2")):
        game.datagramReceived(text, client)
    ann, bob = sockets.open
    assert ann.sent == [(b"a1", ("10.88.0.5", 27015)), (b"a2", ("10.88.0.5", 27015))]
    assert bob.sent == [(b"b1", ("10.88.0.5", 27015))]
    bob.protocol.datagramReceived(b"hello bob", ("10.88.0.5", 27015))
    assert own.sent == [(b"hello bob", BOB)]


def test_a_silent_flow_ends(world: World, sockets: Sockets) -> None:
    """After a minute; answers keep it too."""
    game, _ = port(world, sockets)
    game.datagramReceived(b"x", ANN)
    world.pass_time(40)
    sockets.open[0].protocol.datagramReceived(b"y", None)
    world.pass_time(40)
    assert len(sockets.open) == 1
    world.pass_time(30)
    assert not sockets.open
    game.datagramReceived(b"x", ANN)
    assert len(sockets.open) == 1


def test_datagrams_wait_for_an_owner(world: World, sockets: Sockets) -> None:
    """The newest few; then they go to it."""
    world.follow(world.site("changing", ports=PORTS))
    game, _ = port(world, sockets)
    for number in range(KEPT + 4):
        game.datagramReceived(b"%d" % number, ANN)
    assert not sockets.open
    world.follow(world.site(ports=PORTS))
    assert [text for text, _ in sockets.open[0].sent] == [b"%d" % number for number in range(4, KEPT + 4)]


def test_a_flow_begins_anew_when_the_owner_changes(world: World, sockets: Sockets) -> None:
    """Its next datagram finds the new one."""
    game, _ = port(world, sockets)
    game.datagramReceived(b"x", ANN)
    world.follow(world.site(owner=OTHER, epoch=2, ports=PORTS))
    game.follow()
    assert not sockets.open
    game.datagramReceived(b"y", ANN)
    assert world.call().destination.site == SHOP


def test_through_another_node(world: World, sockets: Sockets) -> None:
    """Datagrams stay whole in the stream between the nodes."""
    world.follow(world.site(owner=OTHER, ports=PORTS))
    game, own = port(world, sockets)
    game.datagramReceived(b"one", ANN)
    node = world.call().accept()
    found = parse_header(node.taken())
    assert found is not None
    assert found[0] == Passport(*ANN, SHOP, Claim(1, OTHER), public_port=5000, service="udp:5000")
    game.datagramReceived(b"", ANN)
    node.send(JOINED + framed(b"hel"))
    assert node.taken() == framed(b"one") + framed(b"")
    assert own.sent == [(b"hel", ANN)]
    assert node.producer is not None
    node.producer.pauseProducing()
    game.datagramReceived(b"too much", ANN)
    assert node.taken() == b""
    node.hang_up()
    game.datagramReceived(b"again", ANN)
    world.call()


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n", b"nonsense\r\n\r\n"]
)
def test_another_node_that_has_it_not(world: World, sockets: Sockets, answer: bytes) -> None:
    """The flow is forgotten; the client sends again anyway."""
    world.follow(world.site(owner=OTHER, ports=PORTS))
    game, own = port(world, sockets)
    game.datagramReceived(b"one", ANN)
    node = world.call().accept()
    node.send(answer)
    assert node.closed and not own.sent
    game.datagramReceived(b"two", ANN)
    world.call().refuse()
    game.datagramReceived(b"three", ANN)
    world.call()


def test_for_another_node(world: World, sockets: Sockets) -> None:
    """The owner's door opens a socket for the flow, and closes it with the stream."""
    interior = InteriorFactory(world.house, passage_of(world.house, world.connect, cast(IReactorUDP, sockets), ""))
    member = world.plug(interior)
    header = header_bytes(Passport(*ANN, SHOP, Claim(1, ME), public_port=5000, service="udp:5000"))
    member.send(header + framed(b"one")[:3])
    assert member.taken() == JOINED
    member.send(framed(b"one")[3:])
    (socket,) = sockets.open
    assert socket.sent == [(b"one", ("10.88.0.5", 27015))]
    socket.protocol.datagramReceived(b"answer", None)
    assert member.taken() == framed(b"answer")
    member.hang_up()
    assert not sockets.open
    stale = world.plug(interior)
    stale.send(header_bytes(Passport(*ANN, SHOP, Claim(0, ME), service="udp:5000")))
    assert stale.taken().startswith(b"HTTP/1.1 421 ") and not sockets.open


def test_a_source_has_a_bounded_number_of_flows(world: World, sockets: Sockets) -> None:
    """Forged addresses take no more than their share; nothing is sent for who is over it."""
    game, _ = port(world, sockets)
    for number in range(300):
        game.datagramReceived(b"x", ("203.0.113.1", number))
    assert len(sockets.open) == world.house.limits.per_source
    game.cut()
    assert not sockets.open
    game.datagramReceived(b"x", ("203.0.113.1", 1))
    assert len(sockets.open) == 1


def test_a_site_that_is_off_answers_nothing(world: World, sockets: Sockets) -> None:
    """And keeps nothing."""
    world.follow(world.site("stopped", ports=PORTS))
    game, own = port(world, sockets)
    game.datagramReceived(b"x", ANN)
    assert not sockets.open and not own.sent


@given(st.lists(st.binary(max_size=40)), st.integers(1, 50))
def test_datagrams_come_out_as_they_went_in(datagrams: list[bytes], piece: int) -> None:
    """However the stream is cut."""
    stream, reader, found = b"".join(map(framed, datagrams)), Datagrams(), []
    for at in range(0, len(stream), piece):
        found += reader.feed(stream[at : at + piece])
    assert found == datagrams
    assert Datagrams().feed(struct.pack("!H", 10) + b"short") == []
