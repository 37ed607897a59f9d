"""FTP at the shared port: logins, data connections through ports of the node's own, and nobody sent anywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory

from hybrid.model import Claim, NodeId, Port, SiteId
from hybrid_proxy.body import LAST_CHUNK, chunk
from hybrid_proxy.ftp import Ftp, data_port
from hybrid_proxy.guest import GuestFactory
from hybrid_proxy.passive import Passive
from hybrid_proxy.proxyv2 import Passport, header_bytes, parse_header
from hybrid_proxy.tcp import JOINED

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World

ME, OTHER, SHOP = NodeId("n-me"), NodeId("n-other"), SiteId("s-shop")
PORTS = (Port("f", 2121, "ftp"),)
SOURCE = "198.51.100.9"


class Ports:
    """Ports that are listened on, in memory."""

    def __init__(self) -> None:
        self.open: dict[int, Factory] = {}
        self.full = False

    def listen(self, address: str, port: int, factory: Factory) -> Listening:
        """See `Passive`."""
        if self.full or port in self.open:
            raise OSError("in use")
        self.open[port] = factory
        return Listening(self, port)


class Listening:
    """One of them."""

    def __init__(self, home: Ports, port: int) -> None:
        self.port, self._home = port, home

    def close(self) -> None:
        """See `Opened`."""
        del self._home.open[self.port]


@pytest.fixture
def ports(world: World) -> Ports:
    """Front doors of a node with files of `shop.test`; the ports they listen on for data."""
    world.follow(world.site(ports=PORTS))
    ports = Ports()
    world.house.passive = Passive(ports.listen, (50000, 50010))
    return ports


def client(world: World) -> Wire:
    """Somebody who was greeted."""
    wire = world.plug(GuestFactory(world.house, world.connect, "ftp", Ftp, False))
    assert wire.taken() == b"220 ready, log in as user@site\r\n"
    return wire


def said(wire: Wire, text: bytes) -> bytes:
    """What is answered to a line."""
    wire.send(text + b"\r\n")
    return wire.taken()


def logged_in(world: World) -> tuple[Wire, Wire]:
    """A client and the server of its site."""
    wire = client(world)
    assert said(wire, b"USER ann@shop.test") == b"331 the password\r\n"
    assert said(wire, b"PASS se cret") == b""
    site = world.call().accept()
    site.send(b"220-hello\r\n220 ready\r\n")
    assert site.taken() == b"USER ann\r\n"
    site.send(b"331 password\r\n")
    assert site.taken() == b"PASS se cret\r\n"
    site.send(b"230-welcome\r\n230 go on\r\n")
    assert wire.taken() == b"230 go on\r\n"
    return wire, site


def test_a_login_and_commands(world: World, ports: Ports) -> None:
    """As the user without its site; then lines pass both ways."""
    wire, site = logged_in(world)
    assert said(wire, b"CWD caf\xc3\xa9 \xff") == b"" and site.taken() == b"CWD caf\xc3\xa9 \xff\r\n"
    site.send(b"250-a\r\n b\r\n250 done\r\n")
    assert wire.taken() == b"250-a\r\n b\r\n250 done\r\n"


@pytest.mark.parametrize(
    ("command", "reply", "told"),
    [
        (b"PASV", b"227 Entering Passive Mode (10,88,0,5,200,10).", b"227 Entering Passive Mode (192,0,2,7,"),
        (b"EPSV", b"229 Entering Extended Passive Mode (|||51210|)", b"229 Entering Extended Passive Mode (|||5"),
    ],
)
def test_a_data_connection(world: World, ports: Ports, command: bytes, reply: bytes, told: bytes) -> None:
    """At a port of the node's own, for that client alone, to the port the server opened."""
    wire, site = logged_in(world)
    assert said(wire, command + b"\r\nRETR x") == b""
    assert site.taken() == command + b"\r\n"
    site.send(reply + b"\r\n")
    assert wire.taken().startswith(told)
    assert site.taken() == b"RETR x\r\n"
    (factory,) = ports.open.values()
    assert factory.buildProtocol(IPv4Address("TCP", "203.0.113.1", 1)) is None
    data = world.plug(factory)
    assert not ports.open
    call = world.call()
    assert getattr(call.destination, "port", 0) == 51210
    far = call.accept()
    far.send(b"contents")
    assert data.taken() == b"contents"
    assert factory.buildProtocol(IPv4Address("TCP", SOURCE, 1)) is None


def test_a_data_connection_through_another_node(world: World, ports: Ports) -> None:
    """The owner's door is told the port, and leads there."""
    world.follow(world.site(owner=OTHER, ports=PORTS))
    wire = client(world)
    wire.send(b"USER ann@shop.test\r\nPASS x\r\n")
    node = world.call().accept()
    node.send(JOINED + chunk(b"220 a\r\n331 b\r\n230 c\r\n"))
    wire.send(b"EPSV\r\n")
    node.send(chunk(b"229 x (|||51210|)\r\n"))
    (factory,) = ports.open.values()
    data = world.plug(factory)
    far = world.call().accept()
    found = parse_header(far.taken())
    assert found is not None
    assert found[0] == Passport(SOURCE, 40001, SHOP, Claim(1, OTHER), public_port=51210, service="ftp")
    far.send(JOINED + chunk(b"contents") + LAST_CHUNK)
    assert data.taken() == b"contents" and data.half_closed


def test_for_another_node(world: World, ports: Ports) -> None:
    """A door that is asked for a data port leads to that port of the container, never to one below 1024."""
    for port, expected in ((51210, 51210), (0, 2121), (22, 2121)):
        passport = Passport(SOURCE, 1, SHOP, Claim(1, ME), public_port=port, service="ftp")
        world.member(header_bytes(passport))
        assert getattr(world.call().destination, "port", 0) == expected


def test_ports_are_closed_again(world: World, ports: Ports) -> None:
    """When another is opened, when nobody comes within a minute, and with the control connection."""
    wire, site = logged_in(world)
    for _ in range(3):
        said(wire, b"EPSV")
        site.send(b"229 x (|||51210|)\r\n")
        assert len(ports.open) == 1
    world.pass_time(61)
    assert not ports.open and not wire.closed
    said(wire, b"EPSV")
    site.send(b"229 x (|||51210|)\r\n")
    wire.hang_up()
    assert not ports.open


def test_no_port_is_free(world: World, ports: Ports) -> None:
    """425, and the client may go on."""
    ports.full = True
    wire, site = logged_in(world)
    said(wire, b"EPSV\r\nNOOP")
    site.send(b"229 x (|||51210|)\r\n")
    assert wire.taken().endswith(b"425 no data connection can be opened\r\n")
    assert site.taken().endswith(b"NOOP\r\n")


@pytest.mark.parametrize(
    "reply",
    [b"229 x (|||22|)", b"229 x (|||99999|)", b"229 none", b"227 (1,2,3,4,0,21)", b"227 x", b"229 (|1|1.2.3.4|51210|)"],
)
def test_a_server_cannot_send_anybody_elsewhere(world: World, ports: Ports, reply: bytes) -> None:
    """Ports of a system's services and anything odd are refused."""
    wire, site = logged_in(world)
    said(wire, b"EPSV")
    site.send(reply + b"\r\n")
    assert wire.taken().startswith(b"425 ") and not ports.open
    assert data_port(reply.decode()) is None


@pytest.mark.parametrize(
    "command", [b"PORT 203,0,113,1,0,22", b"EPRT |1|203.0.113.1|22|", b"LPRT x", b"REIN", b"AUTH TLS", b"CCC"]
)
def test_a_client_cannot_send_anybody_elsewhere(world: World, ports: Ports, command: bytes) -> None:
    """No active mode, no other login, no way out of TLS; the server hears nothing of it."""
    wire, site = logged_in(world)
    assert said(wire, command)[:1] == b"5" and not site.taken()


def test_a_wrong_password_may_be_corrected(world: World, ports: Ports) -> None:
    """The server's own words reach the client."""
    wire = client(world)
    wire.send(b"USER ann@shop.test\r\nPASS x\r\n")
    site = world.call().accept()
    site.send(b"220 a\r\n331 b\r\n530 wrong\r\n")
    assert wire.taken().endswith(b"530 wrong\r\n") and site.closed and not wire.closed
    wire.send(b"USER ann@shop.test\r\nPASS y\r\n")
    world.call()


def test_before_the_login(world: World, ports: Ports) -> None:
    """Nothing but logins; not for ever."""
    wire = client(world)
    assert b" EPSV\r\n" in said(wire, b"FEAT")
    assert said(wire, b"PASS x").startswith(b"503 ")
    assert said(wire, b"LIST").startswith(b"530 ")
    assert said(wire, b"AUTH TLS").startswith(b"504 ")
    assert said(wire, b"USER a@nowhere\r\nPASS x").endswith(b"log in as user@site\r\n")
    said(wire, b"LIST\r\nLIST\r\nLIST")
    assert wire.closed and not world.calls


def test_a_site_that_is_away(world: World, ports: Ports) -> None:
    """430, and it may be tried again; who is logged in when the server dies is told 421."""
    world.follow(world.site("stopped", ports=PORTS))
    wire = client(world)
    assert said(wire, b"USER ann@shop.test\r\nPASS x").endswith(b"430 this site is switched off\r\n")
    world.follow(world.site(ports=PORTS))
    wire, site = logged_in(world)
    site.hang_up()
    assert wire.taken().startswith(b"421 ") and wire.closed


def test_bad_lines(world: World, ports: Ports) -> None:
    """Endless, or with a bare line feed: 500 and the end."""
    for bad in (b"x" * 5000, b"NOOP\nNOOP\r\n", b"NOOP\0\r\n"):
        wire = client(world)
        wire.send(bad)
        assert wire.taken().startswith(b"500 ") and wire.closed
