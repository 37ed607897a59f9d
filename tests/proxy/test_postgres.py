"""PostgreSQL at the shared port: found by what the StartupMessage says, refused in its own words."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from hybrid.model import Claim, NodeId, Port, SiteId
from hybrid_proxy.body import LAST_CHUNK, chunk
from hybrid_proxy.guest import GuestFactory
from hybrid_proxy.postgres import Postgres, error, parameters, startup
from hybrid_proxy.proxyv2 import Passport, header_bytes, parse_header
from hybrid_proxy.tcp import JOINED

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World

ME, OTHER, SHOP = NodeId("n-me"), NodeId("n-other"), SiteId("s-shop")
PORTS = (Port("db", 5432, "postgres"),)
V3 = 196608
SSL_REQUEST = struct.pack("!II", 8, 80877103)
READY = b"Z\0\0\0\x05I"
AUTHENTICATED = b"R\0\0\0\x08\0\0\0\0"


@pytest.fixture
def database(world: World) -> World:
    """Front doors of a node that has a database `shop.test`."""
    world.follow(world.site(ports=PORTS))
    return world


def client(world: World) -> Wire:
    """Somebody at port 5432."""
    return world.plug(GuestFactory(world.house, world.connect, "postgres", Postgres, False))


def hello(user: str, database: str = "app", code: int = V3) -> bytes:
    """A StartupMessage."""
    return startup(code, {"user": user, "database": database})


def key(pid: int) -> bytes:
    """BackendKeyData."""
    return b"K" + struct.pack("!III", 12, pid, 77)


def test_a_login_finds_its_site(database: World) -> None:
    """`user@site`: the server sees the user alone, and the authentication passes both ways."""
    wire = client(database)
    wire.send(hello("app@shop.test"))
    call = database.call()
    assert call.destination.site == SHOP
    site = call.accept()
    assert site.taken() == hello("app")
    site.send(b"R\0\0\0\x08\0\0\0\x03")
    assert wire.taken() == b"R\0\0\0\x08\0\0\0\x03"
    wire.send(b"p\0\0\0\x08abc\0")
    assert site.taken() == b"p\0\0\0\x08abc\0"
    site.send(AUTHENTICATED + READY + b"and more")
    assert wire.taken() == AUTHENTICATED + READY + b"and more"
    site.send(b"anything")
    wire.send(b"else")
    assert (wire.taken(), site.taken()) == (b"anything", b"else")


@pytest.mark.parametrize("login", [("app@x", "app"), ("x", "app"), ("app@SHOP.test", "app"), ("app@s-shop", "app")])
def test_a_site_goes_by_several_names(database: World, login: tuple[str, str]) -> None:
    """By domain, name or id behind the user's `@`, or as the database or user of its name."""
    client(database).send(hello(*login) if "@" in login[0] else hello("somebody", login[0]))
    database.call()
    client(database).send(hello("x", "another"))
    database.call()


def test_byte_by_byte(database: World) -> None:
    """How a login is cut into packets does not matter, on neither side."""
    wire = client(database)
    for byte in hello("app@shop.test"):
        wire.send(bytes([byte]))
    site = database.call().accept()
    for byte in AUTHENTICATED + key(5) + READY:
        site.send(bytes([byte]))
    assert wire.taken() == AUTHENTICATED + key(5 | 1 << 17) + READY


def test_what_a_client_says_early_comes_after_its_login(database: World) -> None:
    """Nothing is lost or reordered while the site is looked for."""
    database.follow(database.site("changing", ports=PORTS))
    wire = client(database)
    wire.send(hello("app@shop.test") + b"p\0\0\0\x05\0")
    database.follow(database.site(ports=PORTS))
    assert database.call().accept().taken() == hello("app") + b"p\0\0\0\x05\0"


def test_what_comes_while_the_site_is_looked_for_is_kept(database: World) -> None:
    """TLS gives out what it has even when it is told to wait; too much of it ends the connection."""
    wire = client(database)
    wire.send(hello("app@shop.test"))
    wire.send(b"p\0\0\0\x05\0")
    call = database.call()
    assert call.accept().taken() == hello("app") + b"p\0\0\0\x05\0"
    wire = client(database)
    wire.send(hello("app@shop.test"))
    call = database.call()
    wire.send(b"x" * 30000)
    assert wire.closed and call.cancelled


def test_an_unknown_site_is_told_how_to_log_in(database: World) -> None:
    """Not left waiting, and not told which sites there are."""
    wire = client(database)
    wire.send(hello("app@nowhere.test"))
    said = wire.taken()
    assert said.startswith(b"E") and b"C3D000" in said and b"USER@SITE" in said
    assert wire.closed and not database.calls


@pytest.mark.parametrize("state", ["stopped", "unavailable"])
def test_a_site_that_is_off_says_so(database: World, state: str) -> None:
    """57P03, cannot connect now."""
    database.follow(database.site(state, owner=None, ports=PORTS))  # type: ignore[arg-type]  # a SiteState
    wire = client(database)
    wire.send(hello("app@shop.test"))
    assert b"C57P03" in wire.taken() and wire.closed


def test_a_login_waits_for_an_owner_and_not_for_ever(database: World) -> None:
    """20 s, then 57P03."""
    database.follow(database.site("changing", ports=PORTS))
    wire = client(database)
    wire.send(hello("app@shop.test"))
    database.pass_time(19)
    assert not wire.taken()
    database.pass_time(2)
    assert b"C57P03" in wire.taken() and wire.closed
    assert database.house.room.held == 0


def test_a_client_that_says_nothing_is_sent_away(database: World) -> None:
    """However slowly its bytes trickle in: the deadline is absolute."""
    wire = client(database)
    for byte in hello("app@shop.test" + "x" * 60)[:60]:
        wire.send(bytes([byte]))
        database.pass_time(1)
    database.pass_time(1)
    assert wire.closed


@pytest.mark.parametrize(
    "bad",
    [
        struct.pack("!II", 7, V3),
        struct.pack("!II", 10001, V3),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        SSL_REQUEST * 2,
        SSL_REQUEST + hello("app@shop.test"),
        struct.pack("!II", 9, 80877103) + b"x",
        struct.pack("!IIII", 16, 80877102, 0, 1),
        struct.pack("!III", 12, 80877102, 1 << 17),
    ],
)
def test_bad_bytes_end_the_connection(database: World, bad: bytes) -> None:
    """Broken lengths, other protocols, words in the clear behind the question for TLS, keys nobody gave out."""
    wire = client(database)
    wire.send(bad)
    assert wire.closed and not database.calls


@pytest.mark.parametrize("body", [b"", b"\0", b"user", b"user\0\0", b"user\0x\0", b"\0\0\0", b"database\0app\0\0"])
def test_a_broken_startup_is_refused(database: World, body: bytes) -> None:
    """With an error that a client can show."""
    wire = client(database)
    wire.send(struct.pack("!II", 8 + len(body), V3) + body)
    assert b"C0A000" in wire.taken() and wire.closed


def test_version_2_is_refused(database: World) -> None:
    """It has not been spoken for twenty years."""
    wire = client(database)
    wire.send(hello("app@shop.test", code=2 << 16))
    assert b"C0A000" in wire.taken() and wire.closed


def test_no_tls_without_a_certificate(database: World) -> None:
    """Client and server go on in the clear."""
    wire = client(database)
    wire.send(SSL_REQUEST)
    assert wire.taken() == b"N"
    wire.send(struct.pack("!II", 8, 80877104))
    assert wire.taken() == b"N"
    wire.send(hello("app@shop.test"))
    database.call()


def test_a_cancel_goes_to_the_site_that_gave_the_key(database: World) -> None:
    """From any process of any node: the number of the site is in the key."""
    client(database).send(struct.pack("!IIII", 16, 80877102, 5 | 1 << 17, 77))
    site = database.call().accept()
    assert site.taken() == struct.pack("!IIII", 16, 80877102, 5, 77)


def test_a_large_process_id_stays_as_it_is(database: World) -> None:
    """Its query cannot be cancelled then, but nobody else's is."""
    wire = client(database)
    wire.send(hello("app@shop.test"))
    database.call().accept().send(key(1 << 18) + READY)
    assert wire.taken() == key(1 << 18) + READY


@pytest.mark.parametrize("said", [b"", error("57P03", "the database system is shutting down")])
def test_a_server_that_stops_or_starts_is_tried_again(database: World, said: bytes) -> None:
    """Its client waits as for an owner, and hears nothing of it but when that takes too long."""
    wire = client(database)
    wire.send(hello("app@shop.test"))
    for _ in range(3):
        site = database.call().accept()
        site.send(said) if said else site.hang_up(clean=True)
        assert site.closed and not wire.closed and not database.calls
        database.pass_time(2)
    site = database.call().accept()
    assert site.taken() == hello("app")
    site.send(AUTHENTICATED + READY)
    assert wire.taken() == AUTHENTICATED + READY
    wire = client(database)
    wire.send(hello("app@shop.test"))
    while not wire.closed:
        for call in database.calls[-1:]:
            call.accept().send(error("57P03", "starting up"))
        database.calls.clear()
        database.pass_time(0.25)
    assert b"C57P03" in wire.taken() and database.clock.seconds() < 30


def test_a_server_that_is_none_is_not_believed(database: World) -> None:
    """The client gets an error of its protocol."""
    wire = client(database)
    wire.send(hello("app@shop.test"))
    database.call().accept().send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert b"C08P01" in wire.taken() and wire.closed


def test_an_idle_client_is_told_that_its_server_is_gone(database: World) -> None:
    """57P01, as the server itself says when it stops; nothing is put between the rows of an answer."""
    goodbye = error("57P01", "terminating connection: the site moves to another server")
    for last, told in ((READY, goodbye), (READY + b"D\0\0\0\x0aha", b"")):
        wire = client(database)
        wire.send(hello("app@shop.test"))
        site = database.call().accept()
        site.send(AUTHENTICATED + last)
        wire.clear()
        site.hang_up()
        assert (wire.taken(), wire.closed) == (told, True)
    wire = client(database)
    wire.send(hello("app@shop.test"))
    site = database.call().accept()
    site.send(AUTHENTICATED + READY)
    wire.send(b"Q\0\0\0\x0eselect 1\0")
    wire.clear()
    site.hang_up()
    assert (wire.taken(), wire.closed) == (b"", True)


def test_an_idle_client_is_told_through_another_node_too(database: World) -> None:
    """There the end of the server is a last chunk, and what other end there is."""
    for ends in (True, False):
        database.follow(database.site(owner=OTHER, ports=PORTS))
        wire = client(database)
        wire.send(hello("app@shop.test"))
        node = database.call().accept()
        node.send(JOINED + chunk(AUTHENTICATED + READY))
        wire.clear()
        if ends:
            node.send(LAST_CHUNK)
        else:
            node.hang_up()
        assert b"C57P01" in wire.taken() and wire.closed and node.closed


def test_through_another_node(database: World) -> None:
    """The owner's door is told the service; it makes no talk of its own."""
    database.follow(database.site(owner=OTHER, ports=PORTS))
    wire = client(database)
    wire.send(hello("app@shop.test"))
    node = database.call().accept()
    found = parse_header(node.taken())
    assert found is not None
    assert found[0] == Passport("198.51.100.9", 40001, SHOP, Claim(1, OTHER), service="postgres")
    node.send(JOINED)
    assert node.taken() == chunk(hello("app"))
    node.send(chunk(READY))
    assert wire.taken() == READY


def test_for_another_node(database: World) -> None:
    """What another front door passes on goes to the service's port."""
    passport = Passport("198.51.100.9", 40001, SHOP, Claim(1, ME), service="postgres")
    member = database.member(header_bytes(passport))
    call = database.call()
    assert getattr(call.destination, "port", 0) == 5432
    site = call.accept()
    assert member.taken() == JOINED
    member.send(chunk(b"raw"))
    assert site.taken() == b"raw"
    stranger = Passport("198.51.100.9", 40001, SHOP, Claim(1, ME), service="mysql")
    assert database.member(header_bytes(stranger)).taken().startswith(b"HTTP/1.1 421 ")


def test_startup_messages_are_written_as_they_were_read() -> None:
    """Also names that are no UTF-8."""
    said = {"user": "\udcff", "options": "", "database": "x"}
    assert parameters(startup(V3, said)[8:]) == said
