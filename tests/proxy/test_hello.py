"""The first message of a TLS client, from real clients and from bad ones."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_proxy.hello import MAX_HELLO, BadHello, parse_hello
from tests.proxy.tlsclient import TlsClient

REAL = TlsClient(None, "Shop.Test", ("h2", "http/1.1")).hello()


def in_records(message: bytes, size: int) -> bytes:
    """A handshake message cut into records of `size` bytes."""
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2) + piece for piece in pieces)


def hello_of(*extensions: tuple[int, bytes]) -> bytes:
    """A ClientHello with these extensions, in one record."""
    listed = b"".join(kind.to_bytes(2) + len(value).to_bytes(2) + value for kind, value in extensions)
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00" + len(listed).to_bytes(2) + listed
    return in_records(b"\x01" + len(body).to_bytes(3) + body, 16000)


def named(name: bytes, kind: int = 0) -> tuple[int, bytes]:
    """The extension that asks for a name."""
    entry = bytes((kind,)) + len(name).to_bytes(2) + name
    return 0, len(entry).to_bytes(2) + entry


def test_a_real_hello_byte_by_byte() -> None:
    """Nothing is decided before it is whole; then name and protocols are known."""
    for end in range(len(REAL)):
        assert parse_hello(REAL[:end]) is None
    found = parse_hello(REAL + b"more")
    assert found is not None and found.host == "shop.test" and found.protocols == (b"h2", b"http/1.1")


def test_a_hello_in_many_records() -> None:
    """As some clients cut it to get past middleboxes."""
    whole = parse_hello(REAL)
    assert parse_hello(in_records(REAL[5:], 7)) == whole
    assert parse_hello(in_records(REAL[5:], 1)) == whole


@pytest.mark.parametrize("name", [b"", b"a b", b"a\x00b", b"..", b"\xff", b"x" * 300, b"a/../b"])
def test_what_is_no_host_name_is_no_name(name: bytes) -> None:
    """It leads to nobody's site."""
    found = parse_hello(hello_of(named(name)))
    assert found is not None and found.host is None


def test_without_extensions_there_is_no_name() -> None:
    """Very old clients; and those that ask for another kind of name."""
    body = b"\x03\x01" + bytes(32) + b"\x00\x00\x02\x13\x01\x01\x00"
    for data in (in_records(b"\x01" + len(body).to_bytes(3) + body, 999), hello_of(named(b"shop.test", kind=1))):
        found = parse_hello(data)
        assert found is not None and found.host is None and found.protocols == ()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x80\x2e\x01",
        b"\x16\x02",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x05\x02",
        b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00",
        hello_of((0, b"\x00\x09\x00")),
        hello_of(named(b"a.test"), named(b"b.test")),
        hello_of((16, b"\x00\x05\x09h2")),
    ],
)
def test_what_is_no_hello_is_told_at_once(data: bytes) -> None:
    """HTTP, SSL 2, lengths that do not fit, a name given twice."""
    with pytest.raises(BadHello):
        parse_hello(data)


def test_a_hello_has_an_end() -> None:
    """However it is cut, no more than a few records' worth is kept."""
    with pytest.raises(BadHello):
        parse_hello(in_records(b"\x01" + MAX_HELLO.to_bytes(3) + bytes(MAX_HELLO), 1)[: 2 * MAX_HELLO + 9])


@given(st.binary(max_size=300), st.integers(0, len(REAL)), st.integers(0, len(REAL)))
def test_no_bytes_are_too_odd(noise: bytes, start: int, end: int) -> None:
    """Whatever comes is a hello, not yet one, or none."""
    for data in (noise, REAL[:start] + noise + REAL[end:]):
        with contextlib.suppress(BadHello):
            parse_hello(data)
