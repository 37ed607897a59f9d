"""What is a request head, and what is refused: the same however the bytes arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_proxy.head import Refused, RequestHead, normal_host, parse_request

GET = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"


def head_of(data: bytes) -> RequestHead:
    """The whole head in `data`."""
    head = parse_request(data)
    assert head is not None
    return head


def in_pieces(data: bytes) -> RequestHead | None:
    """What a front makes of `data` that comes in byte by byte."""
    for end in range(1, len(data) + 1):
        head = parse_request(data[:end])
        if head is not None:
            assert end == head.end
            return head
    return None


def status_of(data: bytes) -> int:
    """How `data` is refused."""
    with pytest.raises(Refused) as caught:
        parse_request(data)
    return caught.value.status


def test_a_plain_request_is_understood() -> None:
    """A browser's request arrives with its parts in their places."""
    head = head_of(
        b"POST /a?b=c HTTP/1.1\r\nHost: Shop.Test:8080\r\nContent-Length: 5\r\nAccept:  text/html \t\r\n"
        b"Expect: 100-continue\r\n\r\nhello"
    )
    assert (head.method, head.target, head.host, head.authority) == (b"POST", b"/a?b=c", "shop.test", b"Shop.Test:8080")
    assert (head.length, head.chunked, head.keep_alive, head.expects_continue) == (5, False, True, True)
    assert head.fields == [(b"Accept", b"text/html")]


def test_fields_for_one_hop_are_not_kept() -> None:
    """Connection-listed and hop-by-hop fields end here, and so does what CGI would take for another field."""
    head = head_of(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Private\r\nX-Private: 1\r\n"
        b"Keep-Alive: 5\r\nTE: trailers\r\nProxy: http://evil\r\nX_Forwarded_For: 1.2.3.4\r\nX-Kept: 2\r\n\r\n"
    )
    assert head.fields == [(b"X-Kept", b"2")]
    assert not head.keep_alive


def test_what_only_members_may_say_is_set_apart() -> None:
    """A client's own X-Forwarded-* never mixes with what is passed on."""
    head = head_of(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1\r\nForwarded: for=1\r\nX-Hybrid-Site: s\r\nVia: 1.1 x\r\n\r\n"
    )
    assert head.fields == []
    assert dict(head.forwarding) == {
        b"x-forwarded-for": b"1",
        b"forwarded": b"for=1",
        b"x-hybrid-site": b"s",
        b"via": b"1.1 x",
    }


def test_absolute_form_is_read_like_origin_form() -> None:
    """A client that thinks it talks to a proxy is served."""
    head = head_of(b"GET http://shop.test/x?y HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    assert (head.target, head.host) == (b"/x?y", "shop.test")
    assert head_of(b"GET http://shop.test HTTP/1.0\r\n\r\n").target == b"/"


def test_old_clients_are_served() -> None:
    """HTTP/1.0 may lack Host, and keeps the connection only when it says so."""
    assert head_of(b"GET / HTTP/1.0\r\n\r\n").host is None
    assert not head_of(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n").keep_alive
    assert head_of(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n").keep_alive


def test_one_empty_line_before_a_request_is_forgiven() -> None:
    """Old browsers send one after a POST."""
    assert head_of(b"\r\n" + GET).end == len(GET) + 2
    assert status_of(b"\r\n\r\n" + GET) == 400


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"Shop.TEST", "shop.test"),
        (b"shop.test.", "shop.test"),
        (b"shop.test:80", "shop.test"),
        (b"[::1]:8080", "[::1]"),
        (b"192.0.2.1", "192.0.2.1"),
        (b"a_b.test", "a_b.test"),
        (b"", None),
        (b".", None),
        (b"-a", None),
        (b"a b", None),
        (b"a@b", None),
        (b"a/../b", None),
        (b"a..b", None),
        (b"shop.test:99999", None),
        (b"shop.test:-1", None),
        (b"[zz]", None),
        (b"a" * 300, None),
        ("bücher.test".encode(), None),
    ],
)
def test_hosts(authority: bytes, host: str | None) -> None:
    """A host is one name, whatever its case, port and final dot; what may hide a second one is none."""
    assert normal_host(authority) == host


def test_limits_hold() -> None:
    """No head can make the platform keep more than 32 KiB, nor pass more than 100 fields on."""
    many = b"".join(b"A%d: 1\r\n" % number for number in range(101))
    assert status_of(b"GET / HTTP/1.1\r\nHost: a\r\n" + many + b"\r\n") == 431
    assert status_of(b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 17 * 1024) == 431
    assert status_of(b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"A: " + b"x" * 9000 + b"\r\n") * 4) == 431
    assert status_of(b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n") == 414
    assert status_of(b"GET /" + b"x" * 9000) == 414


def test_a_head_arrives_in_any_pieces() -> None:
    """Byte by byte or at once: the same head, and never too early."""
    head = in_pieces(GET)
    assert head is not None and head.host == "shop.test"


TOKENS = st.text("abcXYZ-09!#$%&'*+.^`|~", min_size=1, max_size=12).map(str.encode)
VALUES = st.binary(max_size=30).map(lambda data: bytes(byte for byte in data if byte in b"\t" or 32 <= byte != 127))


@given(st.lists(st.tuples(TOKENS.map(lambda name: b"Q" + name), VALUES), max_size=20))
def test_any_fields_come_through_as_they_are(fields: list[tuple[bytes, bytes]]) -> None:
    """What a client says in fields of its own reaches the site unchanged but for blanks around it."""
    block = b"".join(b"%b: %b\r\n" % field for field in fields)
    head = head_of(b"GET / HTTP/1.1\r\nHost: a\r\n" + block + b"\r\n")
    assert head.fields == [(name, value.strip(b" \t")) for name, value in fields]


@given(st.binary(max_size=400))
def test_no_bytes_upset_the_parser(data: bytes) -> None:
    """Anything at all is a head, incomplete, or refused with a status; never a crash."""
    try:
        head = parse_request(data)
    except Refused as error:
        assert error.status in (0, 400, 405, 414, 417, 431, 505)
    else:
        assert head is None or head.end <= len(data)


@given(st.integers(0, len(GET) - 1), st.sampled_from([b"\n", b"\r", b"\x00", b" ", b"\x7f", b"\xff"]))
def test_a_damaged_head_is_never_read_as_another_site(at: int, damage: bytes) -> None:
    """One stray byte anywhere may be refused or harmless, but does not change whose site is asked for."""
    try:
        head = parse_request(GET[:at] + damage + GET[at:])
    except Refused:
        return
    assert head is None or head.host == "shop.test"


@pytest.mark.parametrize("data", [b"G", b"GET", b"GET /", GET[:-1], GET[:-2], GET[:-3], b"\r", b"\r\n", b""])
def test_incomplete_heads_wait(data: bytes) -> None:
    """A slow client is not refused for being slow (that is for the deadline)."""
    assert parse_request(data) is None
