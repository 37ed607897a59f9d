"""Requests and responses through one node's front door."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hybrid.model import Served, SiteId
from hybrid.sitetraffic import LATENCY_S
from hybrid_proxy.limits import Limits

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World

GET = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def asked(world: World, request: bytes = GET) -> tuple[Wire, Wire]:
    """A client that sent `request`, and the site that received it."""
    client = world.client()
    client.send(request)
    return client, world.call().accept()


def test_a_request_and_its_response(world: World) -> None:
    """The site sees who asked and by which name; the client sees the site's answer."""
    client, site = asked(world)
    request = site.taken()
    assert request.startswith(b"GET / HTTP/1.1\r\nHost: shop.test\r\n")
    assert b"X-Forwarded-For: 198.51.100.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: shop.test\r\n" in request
    assert b'Forwarded: for=198.51.100.9;host="shop.test";proto=http\r\n' in request
    assert b"Via: 1.1 hybrid\r\nX-Request-Id: " in request
    site.send(b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\nok")
    assert client.taken() == b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\nok"
    assert not client.closed


def test_a_client_cannot_say_who_it_is(world: World) -> None:
    """What a client says of its own origin never reaches the site."""
    _, site = asked(
        world,
        b"GET / HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n"
        b"X-Real-IP: 6.6.6.6\r\nX-Hybrid-Site: s\r\nX-Request-Id: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n",
    )
    assert b"6.6.6.6" not in site.taken()


def test_connections_are_used_again_but_never_for_another_site(world: World) -> None:
    """A second request takes the idle connection; one for another site takes its own."""
    world.follow(world.site(site=SiteId("s-zoo"), domains=("zoo.test",), upstream="10.88.0.6"))
    client, site = asked(world)
    site.send(OK)
    client.send(GET)
    assert world.calls == []
    site.send(OK)
    client.send(GET.replace(b"shop", b"zoo"))
    assert world.call().destination.site == "s-zoo"


def test_a_chunked_response_is_framed_anew(world: World) -> None:
    """Chunks reach an HTTP/1.1 client as chunks, an old client as they are, until the connection ends."""
    reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\nT: r\r\n\r\n"
    client, site = asked(world)
    site.send(reply)
    assert client.taken() == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    site.taken()
    old = world.client()
    old.send(b"GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n")
    site.send(reply)
    assert old.taken() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"
    assert old.closed


def test_a_response_until_the_end_of_the_connection(world: World) -> None:
    """An old site's response without length is complete when the site closes, broken when it breaks off."""
    client, site = asked(world)
    site.send(b"HTTP/1.0 200 OK\r\n\r\nab")
    site.hang_up(clean=True)
    assert client.taken().endswith(b"\r\n\r\n2\r\nab\r\n0\r\n\r\n") and not client.closed
    client.send(GET)
    site = world.call().accept()
    site.send(b"HTTP/1.0 200 OK\r\n\r\nab")
    site.hang_up()
    assert client.aborted, "the client must see that the response is not whole"


def test_a_post_streams_to_the_site(world: World) -> None:
    """A body is passed on as it comes, with back-pressure to the client."""
    client, site = asked(world, b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 6\r\n\r\nab")
    assert site.taken().endswith(b"\r\n\r\nab")
    assert site.producer is not None
    site.producer.pauseProducing()
    assert client.producerState == "paused"
    site.producer.resumeProducing()
    assert client.producerState == "producing"
    client.send(b"cdef")
    assert site.taken() == b"cdef"
    assert site.producer is None
    site.send(OK)
    assert client.taken().endswith(b"ok")


def test_a_chunked_post_is_framed_anew(world: World) -> None:
    """The site gets chunks of our making."""
    client, site = asked(world, b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert b"Transfer-Encoding: chunked\r\n" in site.taken()
    client.send(b"1;e=f\r\na\r\n1\r\nb\r\n0\r\n\r\n")
    assert site.taken() == b"2\r\nab\r\n0\r\n\r\n"


def test_a_client_that_expects_100_is_told_to_go_on(world: World) -> None:
    """Once the site is there, not before."""
    client = world.client()
    client.send(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert client.taken() == b""
    site = world.call().accept()
    assert client.taken() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b"Expect" not in site.taken()


def test_a_slow_reader_slows_the_site(world: World) -> None:
    """A large response does not pile up here; a client that reads nothing for a minute is cut off."""
    client, site = asked(world)
    site.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    assert client.producer is not None
    client.producer.pauseProducing()
    assert site.producerState == "paused"
    client.producer.resumeProducing()
    assert site.producerState == "producing"
    client.producer.pauseProducing()
    world.pass_time(61)
    assert client.aborted and site.aborted


def test_a_connection_is_not_left_paused(world: World) -> None:
    """When the last piece of a response was too much for the client, the connection still serves the next request."""
    client, site = asked(world)
    site.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
    assert client.producer is not None
    client.producer.pauseProducing()
    site.send(b"def")
    assert site.producerState == "producing" and client.producer is None
    client.taken()
    client.send(GET)
    site.send(OK)
    assert client.taken().endswith(b"ok")


def test_a_client_that_leaves_is_not_served_on(world: World) -> None:
    """The site's connection ends with the client."""
    client, site = asked(world)
    client.hang_up()
    assert site.aborted


def test_a_site_that_says_nothing_is_late(world: World) -> None:
    """After a minute the client is told so."""
    client, site = asked(world)
    world.pass_time(61)
    assert client.taken().startswith(b"HTTP/1.1 504 ")
    assert site.aborted


@pytest.mark.parametrize("garbage", [b"hello world\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"])
def test_a_site_that_says_nonsense_is_a_bad_gateway(world: World, garbage: bytes) -> None:
    """The client gets a page, not the nonsense."""
    client, site = asked(world)
    site.send(garbage)
    assert client.taken().startswith(b"HTTP/1.1 502 ")
    assert site.aborted


def test_bytes_nobody_asked_for_end_the_connection(world: World) -> None:
    """A site cannot slip a response to a request that was not made yet."""
    client, site = asked(world)
    site.send(OK + b"HTTP/1.1 200 OK\r\n\r\n")
    assert site.aborted
    client.taken()
    client.send(GET)
    world.call()


def test_a_head_request_has_no_body(world: World) -> None:
    """HEAD gets the length a GET would have, and the next response is not taken for its body."""
    client, site = asked(world, b"HEAD / HTTP/1.1\r\nHost: shop.test\r\n\r\n" + GET)
    site.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    assert client.taken() == b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"
    site.send(OK)
    assert client.taken().endswith(b"ok")


def test_an_early_answer_to_a_long_request(world: World) -> None:
    """A site may refuse an upload half-way; the client sees why, and the connections are not used again."""
    client, site = asked(world, b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 600000\r\n\r\nab")
    site.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    assert b"Connection: close\r\n" in client.taken()
    assert site.aborted and client.half_closed and not client.closed
    world.pass_time(5)
    assert client.closed


def test_a_client_that_ends_its_side_still_gets_its_answer(world: World) -> None:
    """`printf … | nc` works."""
    client, site = asked(world)
    client._it.readConnectionLost()  # type: ignore[attr-defined]  # the front is half-closeable
    site.send(OK)
    assert client.taken().endswith(b"ok") and client.closed


def test_stopped_and_unavailable_sites_have_their_pages(world: World) -> None:
    """503 with a hint when to come back; the connection may go on."""
    client = world.client()
    world.follow(world.site("stopped"))
    client.send(GET)
    assert b"Retry-After: 300\r\n" in client.taken()
    world.follow(world.site("unavailable", owner=None))
    client.send(GET)
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 30\r\n" in answer and not client.closed


def test_a_thousand_pipelined_requests_do_not_exhaust_the_stack(world: World) -> None:
    """Instant answers are given in a loop."""
    client = world.client()
    client.send(GET.replace(b"shop", b"none") * 700)
    assert client.taken().count(b"HTTP/1.1 421 ") == 700


def test_traffic_is_counted_at_the_owner(world: World) -> None:
    """Requests and bytes per site, for the owner's page and for placement."""
    client, site = asked(world)
    site.send(OK)
    (served,) = world.house.traffic.taken()
    assert served == Served(SiteId("s-shop"), 1, len(client.taken()), 0, (1, *[0] * len(LATENCY_S)))
    assert list(world.house.traffic.taken()) == []


def test_an_idle_connection_to_a_site_is_closed_in_time(world: World) -> None:
    """Before the site closes it itself."""
    _, site = asked(world)
    site.send(OK)
    world.pass_time(9)
    assert site.closed


class TestCrowd:
    """A site gets a bounded number of requests at a time."""

    @pytest.fixture
    def limits(self) -> Limits:
        """One at a time, one waiting."""
        return Limits(busy_per_site=1, held_per_site=1)

    def test_the_next_waits_for_its_turn(self, world: World) -> None:
        """One request more waits until the one before is done; too many are told to come back."""
        first, site = asked(world)
        second, third = world.client(), world.client()
        second.send(GET)
        third.send(GET)
        assert world.calls == []
        assert third.taken().startswith(b"HTTP/1.1 503 ")
        site.send(OK)
        assert first.taken().endswith(b"ok")
        site.send(OK)
        assert second.taken().endswith(b"ok")
