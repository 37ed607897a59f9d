"""WebSockets and plain TCP: bytes both ways, ends seen, sites found as for any request."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from hybrid.model import Claim, NodeId, Port, Served, SiteId
from hybrid_proxy.body import LAST_CHUNK, chunk
from hybrid_proxy.limits import Limits
from hybrid_proxy.proxyv2 import Passport, header_bytes, parse_header
from hybrid_proxy.tcp import JOINED, PortFactory

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World

ME, OTHER, SHOP = NodeId("n-me"), NodeId("n-other"), SiteId("s-shop")
DB = (Port("http", 80), Port("db", 3306, "tcp", 13306))
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: shop.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
NOT_OWNER = b"HTTP/1.1 421 Misdirected Request\r\nX-Hybrid-Not-Owner: 2,n-me\r\nContent-Length: 0\r\n\r\n"


def tcp_client(world: World) -> Wire:
    """A client of the site's public TCP port."""
    return world.plug(PortFactory(world.house, world.connect, 13306))


def end(wire: Wire) -> None:
    """The other end says that it sends no more."""
    wire._it.readConnectionLost()  # type: ignore[attr-defined]  # all protocols here are half-closeable


# ------------------------------------------------------------------------------------------------------ WebSocket


def switched(world: World) -> tuple[Wire, Wire]:
    """A client and a site with a WebSocket between them."""
    client = world.client()
    client.send(UPGRADE)
    site = world.call().accept()
    request = site.taken()
    assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in request and b"Sec-WebSocket-Key: " in request
    site.send(SWITCHING + b"early")
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
    assert b"Sec-WebSocket-Accept: x\r\n" in answer and answer.endswith(b"\r\n\r\nearly")
    return client, site


def test_a_websocket_carries_bytes_both_ways(world: World) -> None:
    """After the handshake everything passes unchanged, also what looks like HTTP."""
    client, site = switched(world)
    client.send(b"GET / HTTP/1.1\r\n\x00\x81")
    assert site.taken() == b"GET / HTTP/1.1\r\n\x00\x81"
    site.send(b"\x81\x05hello")
    assert client.taken() == b"\x81\x05hello"


def test_a_websocket_has_back_pressure(world: World) -> None:
    """A slow end slows the other."""
    client, site = switched(world)
    assert client.producer is not None and site.producer is not None
    client.producer.pauseProducing()
    assert site.producerState == "paused"
    site.producer.pauseProducing()
    assert client.producerState == "paused"


def test_each_end_of_a_websocket_may_end_first(world: World) -> None:
    """One direction ends, the other goes on until it ends too."""
    client, site = switched(world)
    end(client)
    assert site.half_closed and not client.closed
    site.send(b"last words")
    assert client.taken() == b"last words"
    end(site)
    assert client.closed and site.closed
    assert [served.requests for served in world.house.traffic.taken()] == [1]


def test_a_broken_websocket_ends_at_both_ends(world: World) -> None:
    """Neither end is left hanging."""
    client, site = switched(world)
    site.hang_up()
    assert client.closed
    client, site = switched(world)
    client.hang_up()
    assert site.closed


def test_a_silent_websocket_ends_after_an_hour(world: World) -> None:
    """Not before."""
    client, site = switched(world)
    world.clock.pump([60] * 50)
    client.send(b"x")
    world.clock.pump([60] * 50)
    assert not client.closed
    world.clock.pump([60] * 80)
    assert client.closed and site.closed


def test_tunnels_end_with_the_node_they_lead_to(world: World) -> None:
    """A WebSocket to a node that died is cut, so that the client connects anew; a planned move leaves it until then."""
    world.follow(world.site(owner=OTHER))
    client = world.client()
    client.send(UPGRADE)
    node = world.call().accept()
    node.send(SWITCHING)
    world.follow(world.site(owner=ME, epoch=2))
    assert not client.closed
    world.dies(OTHER)
    world.follow()
    assert client.closed and node.closed


class TestBusy:
    """A site gets a bounded number of requests at a time."""

    @pytest.fixture
    def limits(self) -> Limits:
        """One."""
        return Limits(busy_per_site=1)

    def test_tunnels_do_not_keep_requests_away(self, world: World) -> None:
        """A site with many open WebSockets still serves pages."""
        switched(world)
        switched(world)
        client = world.client()
        client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        world.call()


def test_a_site_may_refuse_a_websocket(world: World) -> None:
    """Then it is a response like any other."""
    client = world.client()
    client.send(UPGRADE)
    world.call().accept().send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    assert client.taken().startswith(b"HTTP/1.1 403 ") and not client.closed


def test_a_switch_nobody_asked_for_is_refused(world: World) -> None:
    """A site cannot turn a plain request into a tunnel; h2c and other upgrades are not even passed on."""
    client = world.client()
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n")
    site = world.call().accept()
    request = site.taken()
    assert b"h2c" not in request and b"Upgrade" not in request
    site.send(SWITCHING)
    assert client.taken().startswith(b"HTTP/1.1 502 ")


# ------------------------------------------------------------------------------------------------------ plain TCP


@pytest.fixture
def database(world: World) -> World:
    """The site has a database port, and is served here."""
    world.follow(world.site(ports=DB))
    return world


def test_a_tcp_port_leads_to_the_site(database: World) -> None:
    """Bytes pass both ways, whoever speaks first, with half-close."""
    client = tcp_client(database)
    call = database.call()
    assert getattr(call.destination, "port", None) == 3306
    site = call.accept()
    site.send(b"welcome")
    assert client.taken() == b"welcome"
    client.send(b"query")
    assert site.taken() == b"query"
    end(client)
    assert site.half_closed and not site.closed
    site.send(b"answer")
    end(site)
    assert client.taken() == b"answer" and client.closed and site.closed
    assert list(database.house.traffic.taken()) == [Served(SHOP, 1, 18)]


def test_a_tcp_connection_waits_for_the_owner(database: World) -> None:
    """As requests do, unread; and goes on when there is one."""
    database.follow(database.site("changing", ports=DB))
    client = tcp_client(database)
    assert client.producerState == "paused"
    database.pass_time(10)
    database.follow(database.site(ports=DB, epoch=2))
    site = database.call().accept()
    client.send(b"query")
    assert site.taken() == b"query"


def test_a_tcp_connection_does_not_wait_for_ever(database: World) -> None:
    """After twenty seconds it is closed; a stopped site's at once."""
    database.follow(database.site("changing", ports=DB))
    client = tcp_client(database)
    database.pass_time(21)
    assert client.closed and database.house.room.held == 0
    database.follow(database.site("stopped", ports=DB))
    assert tcp_client(database).closed


def test_a_tcp_connection_to_another_node(database: World) -> None:
    """The owner is told who and which port; after its 101 the bytes go framed, so that an end can be told."""
    database.follow(database.site(ports=DB, owner=OTHER, epoch=3))
    client = tcp_client(database)
    node = database.call().accept()
    found = parse_header(node.taken())
    assert found is not None
    assert found[0] == Passport("198.51.100.9", 40001, SHOP, Claim(3, OTHER), 13306)
    assert client.producerState == "paused"
    node.send(JOINED + chunk(b"welcome"))
    assert client.taken() == b"welcome"
    client.send(b"query")
    assert node.taken() == chunk(b"query")
    end(client)
    assert node.taken() == LAST_CHUNK and not client.closed
    node.send(chunk(b"answer") + LAST_CHUNK)
    assert client.taken() == b"answer" and client.closed


def test_another_node_that_is_not_the_owner_is_not_the_end(database: World) -> None:
    """The connection waits for a better view."""
    database.follow(database.site(ports=DB, owner=OTHER, epoch=3))
    client = tcp_client(database)
    database.call().accept().send(NOT_OWNER)
    assert not client.closed and database.house.room.held == 1
    database.follow(database.site(ports=DB, epoch=4))
    database.call().accept().send(b"welcome")
    assert client.taken() == b"welcome"


def test_the_owner_takes_a_tcp_connection_from_another_node(database: World) -> None:
    """It answers 101 when the container did, and speaks framed."""
    wire = database.member(header_bytes(Passport("203.0.113.1", 5, SHOP, Claim(1, ME), 13306)))
    assert wire.taken() == b""
    site = database.call().accept()
    assert wire.taken() == JOINED
    wire.send(chunk(b"query") + LAST_CHUNK)
    assert site.taken() == b"query" and site.half_closed
    site.send(b"answer")
    assert wire.taken() == chunk(b"answer")
    end(site)
    assert wire.taken() == LAST_CHUNK and wire.closed


def test_who_does_not_own_the_port_says_so(database: World) -> None:
    """Also for a port that is another site's."""
    wire = database.member(header_bytes(Passport("203.0.113.1", 5, SiteId("s-zoo"), Claim(1, ME), 13306)))
    assert b"x-hybrid-not-owner: 0,\r\n" in wire.taken() and wire.closed


def test_broken_framing_between_nodes_ends_the_connection(database: World) -> None:
    """Nothing of it reaches the site."""
    wire = database.member(header_bytes(Passport("203.0.113.1", 5, SHOP, Claim(1, ME), 13306)))
    site = database.call().accept()
    wire.send(b"not a chunk\r\n")
    assert site.taken() == b"" and site.closed and wire.closed


def test_a_client_that_leaves_while_it_waits_leaves_no_trace(database: World) -> None:
    """Neither a connection being opened nor a place in the waiting room."""
    client = tcp_client(database)
    call = database.call()
    client.hang_up()
    assert call.cancelled
    database.follow(database.site("changing", ports=DB))
    client = tcp_client(database)
    client.hang_up()
    assert database.house.room.held == 0 and database.house.sources.enter("198.51.100.9")
