"""From one node's front door to another's: the header, and who is served."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.model import Claim, NodeId, SiteId
from hybrid_proxy.proxyv2 import SIGNATURE, BadHeader, Passport, header_bytes, parse_header

if TYPE_CHECKING:
    from tests.proxy.conftest import World

ME, OTHER, SHOP = NodeId("n-me"), NodeId("n-other"), SiteId("s-shop")
GET = b"GET /x HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-For: 203.0.113.1\r\nX-Request-Id: abc-1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def header(claim: Claim, public_port: int = 0) -> bytes:
    """What an entry node sends first."""
    return header_bytes(Passport("203.0.113.1", 5000, SHOP, claim, public_port))


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(ADDRESSES, st.integers(0, 65535), st.integers(0, 10**17), st.integers(0, 65535), st.integers(0, 255))
def test_a_header_is_read_as_it_was_written(
    source: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, epoch: int, public_port: int, hops: int
) -> None:
    """Client, site, claim, port and hops arrive; what follows the header is left alone."""
    passport = Passport(str(source), port, SHOP, Claim(epoch, OTHER), public_port, hops)
    data = header_bytes(passport)
    assert parse_header(data + b"GET") == (passport, len(data))
    assert all(parse_header(data[:end]) is None for end in range(len(data)))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        SIGNATURE[:-1] + b"X",
        SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x20\x00\x00\x00",
        SIGNATURE + b"\x21\x31\x00\x00",
        SIGNATURE + b"\x21\x11\xff\xff",
        SIGNATURE + b"\x21\x11\x00\x04" + bytes(4),
        SIGNATURE + b"\x21\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x00\x0e" + bytes(12) + b"\xe0\x00",
        SIGNATURE + b"\x21\x11\x00\x10" + bytes(12) + b"\xe0\x00\x09a",
        header(Claim(1, ME)).replace(b"1,n-me", b"x,n-me"),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    """Another version, command, family, or without what we need: not one of ours."""
    with pytest.raises(BadHeader):
        parse_header(data)


@given(st.binary(max_size=80))
def test_no_bytes_upset_the_header_parser(data: bytes) -> None:
    """Anything is a header, incomplete, or refused."""
    for candidate in (data, SIGNATURE + data, SIGNATURE + b"\x21\x11\x00\x20" + data):
        try:
            parse_header(candidate)
        except BadHeader:
            pass


def test_the_entry_opens_with_a_header(world: World) -> None:
    """The owner learns who the client is, and under which claim it is asked."""
    world.follow(world.site(owner=OTHER, epoch=4))
    client = world.client()
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    data = world.call().accept().taken()
    found = parse_header(data)
    assert found is not None
    passport, end = found
    assert passport == Passport("198.51.100.9", 40000, SHOP, Claim(4, OTHER))
    assert data[end:].startswith(b"GET / HTTP/1.1\r\n")


def test_the_owner_serves_and_believes_the_entry(world: World) -> None:
    """The client's address is the one the entry node saw, and there is one Via."""
    wire = world.member(header(Claim(1, ME)) + GET)
    site = world.call().accept()
    request = site.taken()
    assert b"x-forwarded-for: 203.0.113.1\r\nx-request-id: abc-1\r\n" in request
    site.send(OK)
    assert wire.taken() == OK


def test_who_is_not_the_owner_says_so(world: World) -> None:
    """With the claim it knows of, for the entry to wait for; and it does not pass the request on."""
    world.follow(world.site(owner=OTHER, epoch=7))
    wire = world.member(header(Claim(1, ME)) + GET)
    answer = wire.taken()
    assert answer.startswith(b"HTTP/1.1 421 ") and b"x-hybrid-not-owner: 7,n-other\r\n" in answer
    assert world.calls == []


def test_an_owner_coming_up_holds_the_request(world: World) -> None:
    """The entry's view may be ahead of this node's: it waits here."""
    wire = world.member(header(Claim(2, ME)) + GET)
    assert wire.taken() == b"" and world.calls == []
    world.follow(world.site(epoch=2))
    world.call().accept().send(OK)
    assert wire.taken() == OK


def test_no_header_no_service(world: World) -> None:
    """A member that sends something else, or nothing, is closed."""
    wire = world.member(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    assert wire.closed and wire.taken() == b""
    silent = world.member()
    world.pass_time(6)
    assert silent.closed


def test_a_response_from_another_node_cannot_carry_our_fields_to_a_client(world: World) -> None:
    """X-Hybrid-* never leaves the cluster."""
    client = world.client()
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    world.call().accept().send(b"HTTP/1.1 200 OK\r\nX-Hybrid-Secret: 1\r\nContent-Length: 0\r\n\r\n")
    assert b"Hybrid" not in client.taken()


def test_connections_between_nodes_follow_the_claim(world: World) -> None:
    """A connection opened under one claim is not used under the next."""
    world.follow(world.site(owner=OTHER, epoch=4))
    client = world.client()
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    wire = world.call().accept()
    wire.send(OK)
    world.follow(world.site(owner=OTHER, epoch=5))
    assert wire.closed
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    assert b"5,n-other" in world.call().accept().taken()


def test_strangers_are_few(world: World) -> None:
    """Connections that do not say who they are cannot crowd out members."""
    wires = [world.member() for _ in range(257)]
    assert [wire.closed for wire in wires] == [False] * 256 + [True]
    world.pass_time(6)
    assert all(wire.closed for wire in wires)
    assert not world.member().closed
