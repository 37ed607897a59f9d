"""What is told of a site's visitors, and how many of them it gets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from hybrid.model import SiteId
from hybrid.sitehttp import Http
from hybrid.sitetraffic import LATENCY_S
from hybrid_proxy.accesslog import MOST_LINES, Journal
from hybrid_proxy.rates import BURST_S, MOST_SOURCES, Rates

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World

SHOP = SiteId("s-shop")
GET = b'GET /a"b HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: x\xe9"y\r\nReferer: http://r.test/\r\n\r\n'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def wish(world: World, **fields: object) -> None:
    """`shop.test` wants this of its HTTP."""
    site = world.site()
    spec = msgspec.structs.replace(site.spec, http=msgspec.convert(fields, Http))
    world.follow(msgspec.structs.replace(site, spec=spec))


def asked(world: World, request: bytes = GET) -> tuple[Wire, Wire]:
    """A client that sent `request`, and the site that received it."""
    client = world.client()
    client.send(request)
    return client, world.call().accept()


def test_times_and_errors_are_counted(world: World) -> None:
    """By class, from the head of a request to the end of its response; errors are the site's own."""
    _, site = asked(world)
    world.pass_time(0.25)
    site.send(OK)
    world.client().send(GET)
    world.clock.advance(40)
    site.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    (told,) = world.house.traffic.taken()
    classes = [0] * (len(LATENCY_S) + 1)
    classes[LATENCY_S.index(0.25)] = classes[-1] = 1
    assert (told.requests, told.errors, list(told.latency), told.refused, told.waited) == (2, 1, classes, 0, 0)


def test_waiting_and_pages_are_counted(world: World) -> None:
    """How many requests waited for an owner, and for how long; how many got a page instead."""
    world.follow(world.site("changing"))
    first, second = world.client(), world.client()
    first.send(GET)
    world.pass_time(3)
    world.follow(world.site(epoch=2))
    world.call().accept().send(OK)
    world.follow(world.site("changing", epoch=3))
    second.send(GET)
    world.pass_time(25)
    (told,) = world.house.traffic.taken()
    assert (told.requests, told.waited, told.refused) == (1, 2, 1)
    assert 22 <= told.waited_s <= 25


def test_no_log_unless_wished_for(world: World) -> None:
    """It costs nothing where nobody wants it."""
    asked(world)[1].send(OK)
    assert list(world.house.journal.taken()) == []


def test_a_line_in_the_combined_format(world: World) -> None:
    """As programs that read logs expect it; nothing in it ends its quotes, or commands a terminal."""
    wish(world, log="combined")
    asked(world)[1].send(OK)
    (told,) = world.house.journal.taken()
    (line,) = told.lines
    head, _, rest = line.partition(" - - [")
    assert (told.site, head) == (SHOP, "198.51.100.9")
    assert rest.partition("] ")[2] == ('"GET /a\\x22b HTTP/1.1" 200 40 "http://r.test/" "x\\xe9\\x22y"')


def test_a_line_in_json(world: World) -> None:
    """With host, seconds and the request's id."""
    wish(world, log="json")
    _, site = asked(world)
    request = site.taken()
    world.pass_time(0.5)
    site.send(OK)
    (told,) = world.house.journal.taken()
    found = json.loads(told.lines[0])
    assert found.pop("time").endswith("Z")
    request_id = request.partition(b"X-Request-Id: ")[2].partition(b"\r")[0].decode()
    assert found == {
        "remote": "198.51.100.9",
        "host": "shop.test",
        "method": "GET",
        "target": '/a"b',
        "status": 200,
        "bytes": 40,
        "seconds": 0.5,
        "referer": "http://r.test/",
        "user_agent": 'x\ufffd"y',
        "request_id": request_id,
    }


def test_a_flood_of_lines_is_bounded() -> None:
    """What there is no room for is counted."""
    journal = Journal()
    for number in range(MOST_LINES + 5):
        journal.add(SHOP, str(number))
    (told,) = journal.taken()
    assert (len(told.lines), told.dropped) == (MOST_LINES, 5) and list(journal.taken()) == []


def test_a_source_that_asks_too_often(world: World) -> None:
    """429 with a hint when to come back; others are served; after a while it is served again."""
    wish(world, requests_per_s=1.0)
    client, site = asked(world)
    for _ in range(int(BURST_S) - 1):
        site.send(OK)
        client.send(GET)
    greedy = world.client()
    greedy.send(GET)
    answer = greedy.taken()
    assert answer.startswith(b"HTTP/1.1 429 ") and b"Retry-After: " in answer
    other = world.client("203.0.113.1")
    other.send(GET)
    world.pass_time(2)
    again = world.client()
    again.send(GET)
    assert again.taken() == b""


@pytest.mark.parametrize("source", ["198.51.100.9", "2001:db8::1"])
def test_buckets(source: str) -> None:
    """A burst, then the rate; neighbours in one IPv6 network share; the number of buckets is bounded."""
    rates = Rates()
    burst = sum(rates.allow(SHOP, source, 2.0, 0.0) for _ in range(50))
    assert burst == int(2 * BURST_S)
    assert [rates.allow(SHOP, source, 2.0, 1.0) for _ in range(3)] == [True, True, False]
    assert rates.allow(SHOP, "2001:db8::2", 2.0, 1.0) is (":" not in source)
    for number in range(MOST_SOURCES + 10):
        rates.allow(SHOP, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1.0, 2.0)
    assert len(rates._buckets) == MOST_SOURCES
