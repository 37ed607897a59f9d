"""Logins to past moments: `user@site#moment`, asked of the node process, waited for, and led to what it opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from twisted.internet.task import Clock

from hybrid.model import NodeId, Port, SiteId, Wished
from hybrid.view import SiteView
from hybrid_proxy.dialogue import split_moment
from hybrid_proxy.guest import GuestFactory
from hybrid_proxy.lines import Credentials
from hybrid_proxy.postgres import startup
from hybrid_proxy.shared import DIALOGUES
from hybrid_proxy.wishes import AGAIN_S, AT_MOST, Wishes

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World

ME, SHOP, PAST = NodeId("n-me"), SiteId("s-shop"), SiteId("preview-abc")
PORTS = tuple(Port(name, 1000, name) for name in ("postgres", "mysql", "imap", "pop3", "submission", "ftp"))
PLAIN = Credentials("ann@shop.test#2h", "x").plain()
SAID = {
    "postgres": startup(196608, {"user": "app@shop.test#2h", "database": "app@shop.test#2h"}),
    "imap": b"a AUTHENTICATE PLAIN " + PLAIN + b"\r\n",
    "pop3": b"AUTH PLAIN " + PLAIN + b"\r\n",
    "submission": b"EHLO x\r\nAUTH PLAIN " + PLAIN + b"\r\n",
    "ftp": b"USER ann@shop.test#2h\r\nPASS x\r\n",
}


@pytest.fixture
def wishes(world: World) -> list[tuple[SiteId, str]]:
    """Front doors of a node with a site that speaks everything; what they wish for."""
    wishes: list[tuple[SiteId, str]] = []
    world.house.wish = lambda site, moment: wishes.append((site, moment))
    world.follow(world.site(ports=PORTS))
    return wishes


def preview(world: World, moment: str = "2h") -> SiteView:
    """One of the site, as the node process tells of it."""
    seen = world.site(site=PAST, domains=("preview-abc.test",), ports=PORTS, upstream="10.88.0.2")
    spec = msgspec.structs.replace(seen.spec, name=f"x#{moment}", clone_of=SHOP, number=0)
    return msgspec.structs.replace(seen, spec=spec)


def client(world: World, service: str, says: bytes) -> Wire:
    """Somebody at the port of a service."""
    wire = world.plug(GuestFactory(world.house, world.connect, service, DIALOGUES[service], False))
    wire.send(says)
    wire.clear()
    return wire


@pytest.mark.parametrize("service", sorted(SAID))
def test_a_login_waits_until_its_moment_is_there(world: World, wishes: list[tuple[SiteId, str]], service: str) -> None:
    """Then it goes there and nowhere else."""
    wire = client(world, service, SAID[service])
    assert wishes == [(SHOP, "2h")] and not world.calls and not wire.closed
    world.follow(preview(world))
    call = world.call()
    assert (call.destination.site, getattr(call.destination, "address", "")) == (PAST, "10.88.0.2")
    client(world, service, SAID[service])
    assert world.call().destination.site == PAST and len(wishes) == 1


def test_the_server_does_not_hear_of_the_moment(world: World, wishes: list[tuple[SiteId, str]]) -> None:
    """User and database are those of the site; without a moment a login goes to the present."""
    world.follow(preview(world))
    client(world, "postgres", SAID["postgres"])
    assert world.call().accept().taken() == startup(196608, {"user": "app", "database": "app"})
    client(world, "postgres", startup(196608, {"user": "app", "database": "x#2h"}))
    assert world.call().accept().taken() == startup(196608, {"user": "app", "database": "x"})
    client(world, "postgres", startup(196608, {"user": "app@shop.test", "database": "x"}))
    assert world.call().destination.site == SHOP
    wire = client(world, "imap", SAID["imap"])
    site = world.call().accept()
    site.send(b"* OK\r\n+ \r\n")
    assert site.taken().endswith(Credentials("ann@shop.test", "x").plain() + b"\r\n") and not wire.closed


def test_a_preview_that_was_opened_goes_by_its_id(world: World, wishes: list[tuple[SiteId, str]]) -> None:
    """As `hybrid snap preview` tells it; none is wished for then."""
    world.follow(preview(world, "preview-abc"))
    client(world, "postgres", startup(196608, {"user": "app@shop.test#preview-abc", "database": "x"}))
    assert world.call().destination.site == PAST and not wishes


def test_a_moment_that_never_comes(world: World, wishes: list[tuple[SiteId, str]]) -> None:
    """The login fails after 20 s, for a while."""
    wire = client(world, "imap", SAID["imap"])
    world.pass_time(21)
    assert wire.taken().startswith(b"a NO [UNAVAILABLE] ") and not wire.closed


def test_a_cancelled_query_never_ends_up_in_the_past(world: World, wishes: list[tuple[SiteId, str]]) -> None:
    """Previews have no number, which keys could name."""
    world.follow(preview(world))
    assert world.house.routes.services.numbered(0) is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a@b#2h", ("a@b", "2h")),
        ("a#b#2026-11-20T14:05:00+01:00", ("a#b", "2026-11-20T14:05:00+01:00")),
        ("a", ("a", "")),
        ("#2h", ("#2h", "")),
        ("a#", ("a#", "")),
        ("a#b c", ("a#b c", "")),
        ("a#" + "x" * 65, ("a#" + "x" * 65, "")),
        ("a#../x", ("a#../x", "")),
    ],
)
def test_moments_in_names(text: str, parts: tuple[str, str]) -> None:
    """What cannot be one is part of the name."""
    assert split_moment(text) == parts


def test_wishes_are_bounded() -> None:
    """Each is told once in a while, and not too many, as nobody has shown a password yet."""
    clock, told = Clock(), list[Wished]()
    wishes = Wishes(told.append, clock.seconds)
    for _ in range(3):
        wishes.wish(SHOP, "2h")
    assert told == [Wished(SHOP, "2h")]
    for number in range(20):
        wishes.wish(SHOP, f"{number}d")
    assert len(told) == AT_MOST
    clock.advance(AGAIN_S)
    wishes.wish(SHOP, "2h")
    assert told[AT_MOST:] == [Wished(SHOP, "2h")]
