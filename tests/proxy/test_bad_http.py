"""Every bad input to the HTTP door, and its answer: the project's table, row by row, against a whole front."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from hybrid.model import NodeId
from hybrid_proxy.proxyv2 import Passport, header_bytes

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World

LINE = b"GET / HTTP/1.1\r\n"
HOST = b"Host: shop.test\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

BAD = {
    # framing in two ways at once
    "length and chunked": (POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400),
    "one length twice": (POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "a list of lengths": (POST + b"Content-Length: 4, 4\r\n\r\nabcd", 400),
    "signed length": (POST + b"Content-Length: +4\r\n\r\nabcd", 400),
    "negative length": (POST + b"Content-Length: -4\r\n\r\nabcd", 400),
    "empty length": (POST + b"Content-Length: \r\n\r\nabcd", 400),
    "length too long": (POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", 400),
    "unknown encoding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n", 400),
    "identity, chunked": (POST + b"Transfer-Encoding: identity, chunked\r\n\r\n", 400),
    "encoding after a control byte": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n", 400),
    "encoding twice": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "blank before the colon": (POST + b"Transfer-Encoding : chunked\r\n\r\n", 400),
    "encoding in HTTP/1.0": (b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    # chunks
    "hexadecimal prefix": (CHUNKED + b"0x4\r\nabcd\r\n0\r\n\r\n", 400),
    "bare LF in an extension": (CHUNKED + b"4;a\nb\r\nabcd\r\n0\r\n\r\n", 400),
    "bare LF after a size": (CHUNKED + b"4\nabcd\r\n0\r\n\r\n", 400),
    "a chunk longer than it says": (CHUNKED + b"4\r\nabcde\r\n0\r\n\r\n", 400),
    "a chunk of 2^72 bytes": (CHUNKED + b"ffffffffffffffffff\r\n", 400),
    "negative chunk": (CHUNKED + b"-4\r\n", 400),
    "endless extension": (CHUNKED + b"4;" + b"x" * 600, 400),
    "bad trailer": (CHUNKED + b"0\r\nbad trailer\r\n\r\n", 400),
    # the head
    "bare LF lines": (b"GET / HTTP/1.1\nHost: shop.test\n\n", 400),
    "bare LF in a value": (LINE + HOST + b"A: b\nc\r\n\r\n", 400),
    "bare CR in a value": (LINE + HOST + b"A: b\rc\r\n\r\n", 400),
    "NUL in a value": (LINE + HOST + b"A: b\x00c\r\n\r\n", 400),
    "control byte in a value": (LINE + HOST + b"A: b\x01c\r\n\r\n", 400),
    "blank in a name": (LINE + HOST + b"A b: c\r\n\r\n", 400),
    "no name": (LINE + HOST + b": c\r\n\r\n", 400),
    "no colon": (LINE + HOST + b"abc\r\n\r\n", 400),
    "folded line": (LINE + HOST + b"A: b\r\n c\r\n\r\n", 400),
    "folded first line": (LINE + b" A: b\r\n" + HOST + b"\r\n", 400),
    "501 fields": (LINE + HOST + b"A: b\r\n" * 501 + b"\r\n", 431),
    "line of 17 KB": (LINE + HOST + b"A: " + b"b" * 17 * 1024 + b"\r\n\r\n", 431),
    "head of 40 KB": (LINE + HOST + (b"A: " + b"b" * 8000 + b"\r\n") * 5 + b"\r\n", 431),
    "address of 9 KB": (b"GET /" + b"a" * 9 * 1024 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "bad method": (b"G[T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "lower-case method": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "bad address": (b"GET nowhere HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "blank in the address": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "control byte in the address": (b"GET /a\x01b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "fragment in the address": (b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "bad version": (b"GET / HTTP/1.x\r\n" + HOST + b"\r\n", 400),
    "lower-case version": (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400),
    "version 3": (b"GET / HTTP/3.0\r\n" + HOST + b"\r\n", 505),
    "HTTP/2 on a plain port": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/0.9": (b"GET /\r\n", 400),
    "not HTTP": (b"\x03\x00\x00\x13\x0e\xe0", 400),
    # whose site
    "no Host": (LINE + b"\r\n", 400),
    "two Hosts": (LINE + HOST + b"Host: other.test\r\n\r\n", 400),
    "one Host twice": (LINE + HOST + HOST + b"\r\n", 400),
    "empty Host": (LINE + b"Host:\r\n\r\n", 400),
    "no Host at all in Host": (LINE + b"Host: a b@c/../\r\n\r\n", 400),
    "Host with a path": (LINE + b"Host: shop.test/x\r\n\r\n", 400),
    "Host with a user": (LINE + b"Host: a@shop.test\r\n\r\n", 400),
    "absolute-form elsewhere": (b"GET http://evil.test/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "absolute-form with a user": (b"GET http://a@shop.test/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "absolute-form, other scheme": (b"GET ftp://shop.test/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "unknown Host": (LINE + b"Host: nobody.test\r\n\r\n", 421),
    # what is not offered
    "CONNECT": (b"CONNECT shop.test:443 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "TRACE": (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "Expect: weird": (POST + b"Expect: weird\r\nContent-Length: 4\r\n\r\n", 417),
    "round and round": (LINE + HOST + b"Via: 1.1 hybrid, 1.1 hybrid, 1.0 hybrid\r\n\r\n", 508),
    "WebSocket without a key": (
        LINE + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
        400,
    ),
    "WebSocket with half a key": (
        LINE + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: YWJj\r\n\r\n",
        400,
    ),
    "WebSocket of another version": (
        LINE + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n"
        b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n",
        426,
    ),
}


def status(wire: Wire) -> int:
    """Of the one answer on `wire`."""
    answer = wire.taken()
    assert answer.startswith(b"HTTP/1.1 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Traceback" not in answer and b"s-shop" not in answer
    return int(answer[9:12])


@pytest.mark.parametrize(("data", "expected"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("size", [1_000_000, 1], ids=["at once", "byte by byte"])
def test_bad_input_gets_its_answer_and_no_site_sees_it(world: World, data: bytes, expected: int, size: int) -> None:
    """A request that could be read in two ways is refused at once; none of it reaches a website as a request."""
    wire = world.client()
    for at in range(0, len(data), size):
        wire.send(data[at : at + size])
        if wire.value():
            break
    assert status(wire) == expected
    for call in world.calls:
        assert call.cancelled
    wire.taken()
    wire.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    if expected != 421:
        assert wire.taken() == b"" and len(world.calls) <= 1, "after a refusal nothing more is read as a request"


@pytest.mark.parametrize(("data", "expected"), BAD.values(), ids=BAD.keys())
def test_a_refused_client_is_let_go(world: World, data: bytes, expected: int) -> None:
    """The connection closes after a refusal, also when the client goes on sending."""
    wire = world.client()
    wire.send(data)
    world.pass_time(world.house.limits.idle_s + 1)
    assert wire.closed


def test_a_tls_hello_on_the_plain_port_is_closed_at_once(world: World) -> None:
    """A browser that tries https on the http port gets an error at once, not after a timeout."""
    wire = world.client()
    wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert wire.closed and wire.taken() == b""


def test_one_byte_a_second_is_told_to_hurry(world: World) -> None:
    """A head that comes in too slowly gets 408 after 15 seconds, though a byte arrives each second."""
    wire = world.client()
    seconds = 0
    while not wire.value():
        wire.send(b"GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaa"[seconds : seconds + 1])
        world.pass_time(1)
        seconds += 1
    assert 14 <= seconds <= 16
    assert status(wire) == 408


def test_a_silent_client_is_closed(world: World) -> None:
    """A connection on which nothing comes is closed after 15 seconds without a word."""
    wire = world.client()
    world.pass_time(16)
    assert wire.closed and wire.taken() == b""


def test_a_slow_body_is_told_to_hurry(world: World) -> None:
    """A body slower than 500 bytes a second gets 408, and the site's connection ends."""
    wire = world.client()
    wire.send(POST + b"Content-Length: 100000\r\n\r\n")
    site = world.call().accept()
    for _ in range(11):
        wire.send(b"x" * 100)
        world.pass_time(1)
    assert status(wire) == 408
    assert site.aborted


def test_two_pipelined_requests_are_answered_in_order(world: World) -> None:
    """The second of two requests sent at once is answered after the first."""
    wire = world.client()
    wire.send(LINE + HOST + b"\r\nGET /2 HTTP/1.1\r\nHost: nobody.test\r\n\r\n")
    assert wire.taken() == b""
    site = world.call().accept()
    site.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
    answers = wire.taken()
    assert answers.index(b"one") < answers.index(b"HTTP/1.1 421")


def test_a_second_hop_is_refused(world: World) -> None:
    """A request passes from one node to another once: a second interior hop is a loop."""
    site = world.site()
    assert site.claim is not None
    wire = world.member(header_bytes(Passport("198.51.100.9", 1, site.spec.id, site.claim, hops=2)))
    assert status(wire) == 508


def test_no_page_tells_which_sites_there_are(world: World) -> None:
    """Asking for an unknown name teaches nothing about the names that are known."""
    wire = world.client()
    wire.send(LINE + b"Host: nobody.test\r\n\r\n")
    assert b"shop" not in wire.taken()


def test_a_request_for_a_site_elsewhere_that_went_round_is_refused(world: World) -> None:
    """A website that passes requests on to itself through the cluster is stopped before it eats all connections."""
    world.follow(world.site(owner=NodeId("n-other")))
    wire = world.client()
    wire.send(LINE + HOST + b"Via: 1.1 hybrid\r\nVia: 1.1 hybrid\r\nVia: 1.1 hybrid\r\n\r\n")
    assert status(wire) == 508
    assert world.calls == []
