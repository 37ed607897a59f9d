"""
Requests that go the short way (`hybrid_proxy.brief`) and those that go the whole way: nobody can tell which it was.

A random play of clients, a site, time and the cluster is given in worlds that have the short way, in each form, and in
one that has not: after each act all ends of all connections have got the same bytes and were closed alike, and the
same was counted and logged.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from hybrid.model import SiteId
from hybrid.sitehttp import Http
from hybrid.view import SiteState
from hybrid_proxy import brief
from hybrid_proxy.door import request_ids
from hybrid_proxy.front import Front
from hybrid_proxy.house import House
from hybrid_proxy.limits import Limits
from tests.proxy.conftest import OTHER, World, plug
from tests.proxy.fuzz_heads import REPLIES, REQUESTS, mutated

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire

GET = b"GET /a HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: x\r\nReferer: y\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nok"
PLAYS = 60
ACTS = 120

ASKED = (
    GET.replace(b"GET", b"HEAD"),
    GET.replace(b"1.1", b"1.0"),
    GET.replace(b"1.1", b"1.0").replace(b"User-Agent: x", b"Connection: Keep-Alive"),
    GET.replace(b"Referer: y", b"Connection: close"),
    GET.replace(b"shop.test", b"SHOP.test.:80"),
    GET.replace(b"shop.test", b"zoo.test"),
    GET.replace(b"Referer: y", b"Via: 1.1 hybrid"),
    GET.replace(b"/a", b"/.well-known/acme-challenge/x"),
    GET.replace(b"Referer: y", b"Content-Length: 0"),
    b"POST /b HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nabc",
    GET + GET,
    GET + GET[:20],
    *(request.replace(b"Host: a", b"Host: shop.test") for request in REQUESTS),
)
ANSWERED = (
    OK.replace(b"200 OK", b"500 No"),
    OK.replace(b"\r\nX: y", b"\r\nConnection: close"),
    OK.replace(b"\r\nX: y", b"\r\nStrict-Transport-Security: max-age=1"),
    OK.replace(b"1.1", b"1.0"),
    OK.replace(b"1.1", b"1.0").replace(b"X: y", b"Connection: keep-alive"),
    OK.replace(b"\r\n\r\nok", b"\r\n\r\n"),
    OK + b"more",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
    *REPLIES,
)


def whole(front: Front, data: bytes) -> bool:
    """There is no short way."""
    return False


FORMS: dict[str, Callable[[Front, bytes], bool]] = {"python": brief.ask_in_python}
if brief.ask is not brief.ask_in_python:
    FORMS["compiled"] = brief.ask


class Ordered(dict[Any, None]):
    """A set that is gone through in the order in which things came, so that two plays go alike."""

    def add(self, thing: Any) -> None:
        """See `set`."""
        self[thing] = None

    def discard(self, thing: Any) -> None:
        """See `set`."""
        self.pop(thing, None)


class Play:
    """One world, and what was seen of it so far."""

    def __init__(self, ask: Callable[[Front, bytes], bool]) -> None:
        limits = Limits(busy_per_site=3, idle_upstreams_per_site=1, held_per_site=3)
        self.world = World(limits, ask)
        self.house = self.world.house
        self.house.deadlines._watched = cast(Any, Ordered())
        self.house._ids = request_ids(b"id")
        self.house._wall_s = self.world.clock.seconds
        self.clients: list[Wire] = []
        self.sites: list[Wire] = []

    def seen(self) -> object:
        """What all ends got since the last look, and what was counted."""
        wires = [
            (wire.taken(), wire.closed, wire.aborted, wire.half_closed, wire.producerState, wire.producer is None)
            for wire in (*self.clients, *self.sites)
        ]
        shelves = [
            (site, len(shelf.waiting), len(shelf.busy), shelf.connecting)
            for site, shelf in self.house.pool._shelves.items()
        ]
        traffic = self.house.traffic
        counted = sorted(map(str, traffic.taken())), dict(traffic.answers), dict(traffic.pages)
        return wires, shelves, counted, list(self.house.journal.taken()), len(self.world.calls), self.house.room.held


def act(chance: random.Random) -> Callable[[Play], None]:
    """Something that happens, the same in each world."""
    what, which, seconds = chance.random(), chance.random(), chance.choice((0.25, 0.25, 1, 9, 16, 61))
    asked = GET if chance.random() < 0.8 else chance.choice(ASKED)
    answered = OK if chance.random() < 0.8 else chance.choice(ANSWERED)
    if chance.random() < 0.03:
        asked, answered = mutated(chance, (asked,)), mutated(chance, (answered,))
    cut = chance.randrange(1, 60) if chance.random() < 0.05 else None
    state: SiteState = chance.choice(("serving", "serving", "serving", "changing", "stopped"))
    rightly, accepted = chance.random() < 0.97, chance.random() < 0.7
    http = Http(
        log=chance.choice(("off", "combined")),
        hsts_s=chance.choice((0, 9)),
        requests_per_s=chance.choice((0, 0, 0, 0, 0, 9)),
    )
    owner = chance.choice((None, OTHER)) if state != "serving" else None

    def one(wires: list[Wire], free: str) -> Wire | None:
        """One that is open, and nearly always one whose turn it is."""
        alive = [wire for wire in wires if not wire.closed]
        ready = [wire for wire in alive if (getattr(wire._it, free) is None) == (free == "_exchange")]
        alive = ready if rightly and ready else alive
        return alive[int(which * len(alive))] if alive else None

    def happen(play: Play) -> None:
        world = play.world
        world.calls = [call for call in world.calls if not call.cancelled]
        if world.calls and accepted:
            play.sites.append(world.calls.pop(0).accept())
        client, site = one(play.clients, "_exchange"), one(play.sites, "_asker")
        if what < 0.04 or client is None:
            secure = play.house.secure_door("192.0.2.8", 1, "shop.test")
            play.clients.append(world.client() if which < 0.7 else plug(Front(play.house, secure)))
        elif what < 0.47 and not (rightly and client._it._exchange):  # type: ignore[attr-defined]
            send(client, asked, cut)
        elif what < 0.48 and world.calls:
            world.calls.pop(0).refuse()
        elif what < 0.94 and site is not None and (rightly or which < 0.1):
            send(site, answered, cut)
        elif what < 0.95:
            world.pass_time(seconds)
        elif what < 0.955:
            client.hang_up()
        elif what < 0.96:
            client._it.readConnectionLost()  # type: ignore[attr-defined]  # half a close
        elif what < 0.965 and site is not None:
            site.hang_up(clean=which < 0.5)
        elif what < 0.97:
            play.house.draining = which < 0.1
        elif what < 0.98:
            play.house.follow_secrets({"acme/x": "answer"} if which < 0.5 else {})
        elif what < 0.99:
            seen = world.site(state) if owner is None else world.site("serving", owner, epoch=2)
            world.follow(msgspec.structs.replace(seen, spec=msgspec.structs.replace(seen.spec, http=http)))

    return happen


def send(wire: Wire, data: bytes, cut: int | None) -> None:
    """In two pieces perhaps."""
    for piece in (data,) if cut is None else (data[:cut], data[cut:]):
        if piece and not wire.closed:
            wire.send(piece)


def give(play: int, acts: int, forms: list[Callable[[Front, bytes], bool]]) -> int:
    """One play before all: what each act showed was the same. Returns how many requests went the short way."""
    short = 0

    def counted(ask: Callable[[Front, bytes], bool]) -> Callable[[Front, bytes], bool]:
        def asking(front: Front, data: bytes) -> bool:
            nonlocal short
            taken = ask(front, data)
            short += taken
            return taken

        return asking

    plays = [Play(counted(form)) for form in (whole, *forms)]
    first = plays[0].world
    for each in plays:
        each.world.follow(first.site(), first.site(site=SiteId("s-zoo"), domains=("zoo.test",)))
    chance = random.Random(f"brief {play}")
    for number in range(acts):
        deed = act(chance)
        shown = []
        for each in plays:
            deed(each)
            shown.append(each.seen())
        assert all(seen == shown[0] for seen in shown), (play, number)
    return short


@pytest.mark.parametrize("form", FORMS)
def test_nobody_can_tell_which_way_a_request_went(form: str) -> None:
    """Whatever clients, sites and the cluster do; and it is not that no request goes the short way."""
    short = sum(give(play, ACTS, [FORMS[form]]) for play in range(PLAYS))
    assert short > PLAYS


@pytest.mark.parametrize("form", FORMS)
def test_the_second_request_goes_the_short_way(form: str) -> None:
    """What the first one showed holds for the next, of any client, until the view changes."""
    world = World(Limits(), FORMS[form])
    world.follow(world.site())
    client = world.client()
    client.send(GET)
    site = world.call().accept()
    site.send(OK)
    asked: list[bool] = []

    def asking(front: Front, data: bytes) -> bool:
        asked.append(FORMS[form](front, data))
        return asked[-1]

    world.house.ask = asking
    other = world.client("203.0.113.5")
    site.taken()
    other.send(GET)
    request = site.taken()
    assert request.startswith(
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: x\r\nReferer: y\r\nX-Forwarded-For: 203."
    )
    site.send(OK)
    assert other.taken() == OK.replace(b"Content-Length: 2\r\nX: y\r\n", b"X: y\r\nContent-Length: 2\r\n")
    world.follow(world.site(epoch=2))
    client.send(GET)
    assert asked == [True, False]


def test_what_is_not_known_here_is_left_to_the_whole_way() -> None:
    """A wish for a site's HTTP that this does not see to keeps its requests from the short way."""
    house = World(Limits()).house
    assert isinstance(house, House) and set(Http.__struct_fields__) == {
        "redirect",
        "certificate",
        "log",
        "requests_per_s",
        "requests_per_s_in_all",
        "cache",
        "purges",
        "hsts_s",
    }, "look at `brief.prepare`: does the new wish need the whole way?"
