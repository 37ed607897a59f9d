"""MySQL at the shared port: greeted before the site is known, asked again by the site's own scramble."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from hybrid.model import NodeId, Port, SiteId
from hybrid_proxy.guest import GuestFactory
from hybrid_proxy.mysql import (
    ATTRIBUTES,
    CONNECT_WITH_DB,
    DEPRECATE_EOF,
    LENGTH_CODED,
    OFFERED,
    PLUGIN_AUTH,
    SSL,
    Login,
    MySQL,
    ends_answer,
    error,
    greeting,
    next_packet,
    packet,
    read_greeting,
    read_login,
    response,
)

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World

ME, SHOP = NodeId("n-me"), SiteId("s-shop")
PORTS = (Port("db", 3306, "mysql"),)
NONCE = bytes(range(20))
THEIRS = greeting(b"10.11.0-MariaDB", NONCE, OFFERED)
ATTRS = b"\x08\x03_os\x03BSD"
OK = b"\0\0\0\x02\0\0\0"


@pytest.fixture
def database(world: World) -> World:
    """Front doors of a node that has a database `shop.test`."""
    world.follow(world.site(ports=PORTS))
    return world


def client(world: World) -> Wire:
    """Somebody at port 3306 who was greeted."""
    wire = world.plug(GuestFactory(world.house, world.connect, "mysql", MySQL, False))
    found = next_packet(wire.taken(), 1000)
    assert found is not None and found[0] == 0 and read_greeting(found[1]).plugin == b"mysql_native_password"
    return wire


def hello(user: str, database: str | None = "app", capabilities: int = OFFERED, number: int = 1) -> bytes:
    """A HandshakeResponse41 to the front door's scramble."""
    if database is None:
        capabilities &= ~CONNECT_WITH_DB
    head = struct.pack("<II", capabilities, 1 << 24) + b"\x2d" + bytes(23)
    answer = bytes([20]) + b"a" * 20
    named = database.encode() + b"\0" if database is not None else b""
    return packet(number, head + user.encode() + b"\0" + answer + named + b"mysql_native_password\0" + ATTRS)


def test_a_login_finds_its_site(database: World) -> None:
    """The client answers the site's scramble, and packets are numbered as each side expects them."""
    wire = client(database)
    wire.send(hello("app@shop.test"))
    site = database.call().accept()
    site.send(packet(0, THEIRS))
    theirs = read_greeting(THEIRS)
    assert wire.taken() == packet(2, b"\xfemysql_native_password\0" + theirs.scramble + b"\0")
    wire.send(packet(3, b"b" * 20))
    found = next_packet(site.taken(), 1000)
    assert found is not None and found[0] == 1
    seen = read_login(found[1])
    assert (seen.user, seen.database, seen.rest) == ("app", "app", ATTRS)
    assert b"\x14" + b"b" * 20 in found[1] and b"a" * 20 not in found[1]
    site.send(packet(2, b"\xfeed25519\0salt"))
    assert wire.taken() == packet(4, b"\xfeed25519\0salt")
    wire.send(packet(5, b"signed"))
    assert site.taken() == packet(3, b"signed")
    site.send(packet(4, OK) + b"early")
    assert wire.taken() == packet(6, OK) + b"early"
    wire.send(b"\x09\0\0\0\x03SELECT 1")
    assert site.taken() == b"\x09\0\0\0\x03SELECT 1"


def test_byte_by_byte(database: World) -> None:
    """How packets are cut does not matter, on neither side."""
    wire = client(database)
    for byte in hello("app", "x"):
        wire.send(bytes([byte]))
    site = database.call().accept()
    for byte in packet(0, THEIRS):
        site.send(bytes([byte]))
    wire.taken()
    for byte in packet(3, b""):
        wire.send(bytes([byte]))
    site.taken()
    for byte in packet(2, OK):
        site.send(bytes([byte]))
    assert wire.taken() == packet(4, OK)


def test_an_old_greeting_and_small_capabilities(database: World) -> None:
    """A client without a database, attributes or lengths of variable size is understood all the same."""
    wire = client(database)
    wire.send(hello("x", None, OFFERED & ~(ATTRIBUTES | LENGTH_CODED)))
    site = database.call().accept()
    site.send(packet(0, THEIRS))
    wire.send(packet(3, b"b" * 20))
    found = next_packet(site.taken(), 1000)
    assert found is not None and read_login(found[1]).database is None


def test_a_wrong_password_is_the_servers_to_tell(database: World) -> None:
    """Its error passes, with the number the client expects."""
    wire = client(database)
    wire.send(hello("app@shop.test"))
    site = database.call().accept()
    site.send(packet(0, THEIRS))
    wire.taken()
    wire.send(packet(3, b""))
    denied = error(1045, b"28000", "Access denied")
    site.send(packet(2, denied))
    assert wire.taken() == packet(4, denied) and wire.closed and site.closed


def test_a_server_that_takes_no_more_is_heard(database: World) -> None:
    """An error in place of a greeting gets the SQL state that a greeted client expects."""
    wire = client(database)
    wire.send(hello("app@shop.test"))
    database.call().accept().send(packet(0, b"\xff\x10\x04Too many connections"))
    assert wire.taken() == packet(2, b"\xff\x10\x04#HY000Too many connections") and wire.closed


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff\xff\xff\x01",
        packet(0, b"x" * 40),
        packet(2, b"x" * 40),
        packet(1, b"short"),
        hello("app@shop.test", capabilities=OFFERED & ~PLUGIN_AUTH),
        hello("app@shop.test") + packet(2, b"more"),
        packet(1, struct.pack("<I", OFFERED | SSL) + bytes(28)),
        packet(1, struct.pack("<I", OFFERED) + bytes(28) + b"never ends"),
        packet(1, struct.pack("<I", OFFERED) + bytes(28) + b"app\0\xfb"),
        packet(1, struct.pack("<I", OFFERED) + bytes(28) + b"app\0\x20short"),
        packet(1, struct.pack("<I", OFFERED) + bytes(28) + b"app\0\xfc\x01"),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_bad_packets_get_an_error(database: World, bad: bytes) -> None:
    """Too long, wrongly numbered, broken, too old, asking for TLS where there is none."""
    wire = client(database)
    wire.send(bad)
    said = wire.taken()
    assert said[4:7] == b"\xff\x13\x04" and wire.closed and not database.calls


def test_an_answer_nobody_asked_for_ends_it(database: World) -> None:
    """A client cannot speak to the server before it was asked."""
    wire = client(database)
    wire.send(hello("app@shop.test"))
    site = database.call().accept()
    wire.send(packet(2, b"x"))
    assert wire.taken()[4:7] == b"\xff\x13\x04" and wire.closed and not site.taken()


@pytest.mark.parametrize("said", [b"", packet(0, b"\xff\x1d\x04Server shutdown in progress")])
def test_a_server_that_stops_is_tried_again(database: World, said: bytes) -> None:
    """Its client waits as for an owner."""
    wire = client(database)
    wire.send(hello("app@shop.test"))
    site = database.call().accept()
    site.send(said) if said else site.hang_up(clean=True)
    assert wire.taken() == b"" and not wire.closed
    database.pass_time(2)
    database.call().accept().send(packet(0, THEIRS))
    assert wire.taken().startswith(packet(2, b"\xfemysql_native_password\0" + read_greeting(THEIRS).scramble + b"\0"))


@pytest.mark.parametrize("said", [b"SSH-2.0-x\r\n", packet(0, THEIRS) + packet(1, OK), packet(0, b"\x09old\0")])
def test_a_server_that_is_none_is_not_believed(database: World, said: bytes) -> None:
    """Also one that says OK before anybody logged in."""
    wire = client(database)
    wire.send(hello("app@shop.test"))
    database.call().accept().send(said)
    assert b"cannot be understood" in wire.taken() and wire.closed


def test_a_server_that_lacks_what_was_agreed_on(database: World) -> None:
    """Client and server would misread each other's packets."""
    wire = client(database)
    wire.send(hello("app@shop.test"))
    database.call().accept().send(packet(0, greeting(b"5.5", NONCE, OFFERED & ~DEPRECATE_EOF)))
    assert b"too old" in wire.taken() and wire.closed


def test_an_unknown_site_is_told_how_to_log_in(database: World) -> None:
    """1049, unknown database."""
    wire = client(database)
    wire.send(hello("app@nowhere", "x1"))
    assert b"#42000no site here" in wire.taken() and wire.closed


def test_a_login_waits_for_an_owner_and_not_for_ever(database: World) -> None:
    """20 s, then 1053."""
    database.follow(database.site("changing", ports=PORTS))
    wire = client(database)
    wire.send(hello("app@shop.test"))
    database.pass_time(19)
    assert not wire.taken()
    database.pass_time(2)
    assert wire.taken()[4:7] == b"\xff\x1d\x04" and wire.closed


def test_a_handshake_that_is_never_completed_ends(database: World) -> None:
    """However slowly it trickles in."""
    wire = client(database)
    for byte in hello("app@shop.test")[:62]:
        wire.send(bytes([byte]))
        database.pass_time(1)
    assert wire.closed


def test_an_idle_client_is_told_that_its_server_is_gone(database: World) -> None:
    """1053 where no answer is under way, nothing where one is."""
    gone = error(1053, b"08S01", "the site moves to another server, connect again")
    row = b"\x03\0\0\x01\x02ab"
    for last, told in ((packet(2, OK), True), (packet(2, OK) + row, False)):
        wire = client(database)
        wire.send(hello("app@shop.test"))
        site = database.call().accept()
        site.send(packet(0, THEIRS))
        wire.send(packet(3, b""))
        site.send(last)
        wire.clear()
        site.hang_up()
        assert wire.closed and wire.taken() == (packet(0, gone) if told else b"")
    assert ends_answer(packet(1, OK)) and ends_answer(b"abc" + packet(5, b"\xfe\0\0\x02\0"))
    assert not ends_answer(row) and not ends_answer(b"")


def test_logins_are_written_as_they_were_read() -> None:
    """User, database and attributes survive, also what is no UTF-8."""
    login = Login(OFFERED, bytes(28), "\udcff", "d", ATTRS)
    assert read_login(response(login, read_greeting(THEIRS), b"x" * 20)) == Login(
        OFFERED & ~LENGTH_CODED, bytes(28), "\udcff", "d", ATTRS
    )
