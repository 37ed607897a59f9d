"""Sites that sleep: whoever asks waits, their node is told, and all go on when they are up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import pytest
from msgspec.structs import replace
from twisted.internet.interfaces import IReactorUDP

from hybrid.model import Claim, NodeId, Port, SiteId
from hybrid.sitetraffic import Awaited
from hybrid.view import SiteView
from hybrid_proxy.calls import Calls
from hybrid_proxy.datagrams import framed
from hybrid_proxy.doors import InteriorFactory
from hybrid_proxy.passage import passage_of
from hybrid_proxy.proxyv2 import Passport, header_bytes
from hybrid_proxy.tcp import JOINED, PortFactory
from hybrid_proxy.udp import UdpPort
from tests.proxy.test_udp import ANN, Sockets

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World

ME, OTHER, SHOP = NodeId("n-me"), NodeId("n-other"), SiteId("s-shop")
GET = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PORTS = (Port("http", 80), Port("git", 9418, "tcp", 9418), Port("game", 27015, "udp", 5000))


def shop(world: World, state: str = "serving", owner: NodeId = ME) -> SiteView:
    """The site in that state; it may sleep."""
    seen = world.site(state, owner=owner, ports=PORTS)  # type: ignore[arg-type]  # one of the states
    return replace(seen, spec=replace(seen.spec, sleep_after_s=60.0, asleep=state == "asleep"))


def asked(world: World) -> Wire:
    """A client that asked."""
    client = world.client()
    client.send(GET)
    return client


@pytest.fixture
def told(world: World) -> Iterator[list[Awaited]]:
    """What the node process is told; asked again each second, as a front door does."""
    told: list[Awaited] = []
    calls = Calls(world.house.routes, world.house.room.awaited, told.append, world.clock.seconds)
    world.house.room.arrived = calls.call

    def again() -> None:
        calls.again()
        world.clock.callLater(1.0, again)

    world.clock.callLater(1.0, again)
    world.follow(shop(world, "asleep"))
    yield told


def test_requests_wait_and_the_node_is_told_once(world: World, told: list[Awaited]) -> None:
    """A crowd wakes a site once; all are answered as if it had been awake."""
    clients = [asked(world) for _ in range(50)]
    assert told == [Awaited(SHOP)] and world.calls == []
    world.follow(shop(world, "changing"))
    world.follow(shop(world))
    for call in world.calls:
        call.accept().send(OK)
    assert [client.taken()[-2:] for client in clients] == [b"ok"] * 50


def test_a_word_that_was_lost_is_said_again(world: World, told: list[Awaited]) -> None:
    """Nobody waits twenty seconds because the node process was just restarting; nobody waits: nothing is said."""
    client = asked(world)
    world.pass_time(5)
    assert 4 <= len(told) <= 6
    client.hang_up()
    told.clear()
    world.pass_time(5)
    assert told == []


def test_one_that_never_comes_up(world: World, told: list[Awaited]) -> None:
    """Who waited for twenty seconds is told when to come back, like at any site without an owner."""
    client = asked(world)
    world.pass_time(21)
    assert client.taken().startswith(b"HTTP/1.1 503 ") and world.house.room.held == 0


def test_no_more_wait_than_there_is_room_for(world: World, told: list[Awaited]) -> None:
    """A flood at a site that sleeps fills no memory, and is told so."""
    limit = world.house.limits.held_per_site
    waiting = [asked(world) for _ in range(limit)]
    late = asked(world)
    assert late.taken().startswith(b"HTTP/1.1 503 ") and world.house.room.held == limit
    assert not any(client.taken() for client in waiting)


def test_another_node_passes_on(world: World, told: list[Awaited]) -> None:
    """A request that comes in elsewhere goes to the owner, who wakes the site; nothing is told here."""
    world.follow(shop(world, "asleep", OTHER))
    client = asked(world)
    site = world.call().accept()
    assert told == [] and b"GET / HTTP/1.1" in site.taken()
    world.follow(shop(world, "changing", OTHER))
    world.follow(shop(world, "serving", OTHER))
    site.send(OK)
    assert client.taken().endswith(b"ok")


def test_from_another_node(world: World, told: list[Awaited]) -> None:
    """What another front door passes on wakes the site as well."""
    member = world.member(header_bytes(Passport("198.51.100.9", 40000, SHOP, Claim(1, ME))))
    member.send(GET)
    assert told == [Awaited(SHOP)] and member.taken() == b""
    world.follow(shop(world))
    world.call().accept().send(OK)
    assert member.taken().endswith(b"ok")


def test_a_connection_wakes_it(world: World, told: list[Awaited]) -> None:
    """Plain TCP too, before a byte was sent, as protocols in which the server speaks first need it."""
    caller = world.plug(PortFactory(world.house, world.connect, 9418))
    assert told == [Awaited(SHOP)] and caller.producerState == "paused"
    world.follow(shop(world))
    site = world.call().accept()
    caller.send(b"hello")
    assert site.taken() == b"hello"


def test_datagrams_wake_it(world: World, told: list[Awaited]) -> None:
    """They are kept meanwhile, at the node where they came in."""
    game = UdpPort(cast(IReactorUDP, Sockets()), world.house, world.connect, 5000)
    game.datagramReceived(b"one", ANN)
    assert told == [Awaited(SHOP)]
    world.follow(shop(world, "asleep", OTHER))
    game.datagramReceived(b"two", ANN)
    node = world.call().accept()
    node.taken()
    for state in ("changing", "serving"):
        world.follow(shop(world, state, OTHER))
        game.follow()
    node.send(JOINED)
    assert node.taken() == framed(b"one") + framed(b"two")


def test_datagrams_of_another_node_wake_it(world: World, told: list[Awaited]) -> None:
    """Its stream is taken up when the site is there."""
    sockets = Sockets()
    interior = InteriorFactory(world.house, passage_of(world.house, world.connect, cast(IReactorUDP, sockets), ""))
    member = world.plug(interior)
    member.send(header_bytes(Passport(*ANN, SHOP, Claim(1, ME), public_port=5000, service="udp:5000")))
    assert told == [Awaited(SHOP)] and member.taken() == b""
    world.follow(shop(world, "changing"))
    world.follow(shop(world))
    assert member.taken() == JOINED
    member.send(framed(b"one"))
    assert [text for text, _ in sockets.open[0].sent] == [b"one"]


def test_who_is_said_to_use_it(world: World, told: list[Awaited]) -> None:
    """A request under way, one that waits, one that was answered, and a connection, each for as long as it is so."""
    world.follow(shop(world))
    house = world.house

    def in_use() -> set[SiteId]:
        found = house.in_use()
        list(house.traffic.taken())
        return found

    assert in_use() == set()
    client = asked(world)
    assert in_use() == {SHOP}
    site = world.call().accept()
    assert in_use() == {SHOP}
    site.send(OK)
    assert in_use() == {SHOP}
    assert in_use() == set() and not client.closed
    caller = world.plug(PortFactory(house, world.connect, 9418))
    world.call().accept()
    assert in_use() == in_use() == {SHOP}
    caller.hang_up()
    assert in_use() == {SHOP}
    assert in_use() == set()
    world.follow(shop(world, "asleep"))
    asked(world)
    assert in_use() == {SHOP}


def test_who_may_not_sleep_is_not_spoken_of(world: World) -> None:
    """What a front door tells every ten seconds is about sites that may sleep, however many others there are."""
    asked(world)
    assert world.house.in_use() == set()
