"""What sites answer: understood, or refused before a client sees it."""

from __future__ import annotations

import pytest

from hybrid_proxy.reply import BadReply, ReplyHead, parse_reply


def reply_of(data: bytes) -> ReplyHead:
    """The whole head in `data`."""
    reply = parse_reply(data)
    assert reply is not None
    return reply


def test_a_plain_response_is_understood() -> None:
    """Status, length and fields reach the client; hop-by-hop fields do not."""
    reply = reply_of(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: X-Mine\r\nX-Mine: 1\r\n"
        b"Keep-Alive: timeout=5\r\nA: b \r\n\r\n"
    )
    assert (reply.status, reply.reason, reply.length, reply.keep_alive) == (200, b"OK", 5, True)
    assert reply.fields == [(b"A", b"b")]


def test_a_cgi_program_may_end_lines_in_lf() -> None:
    """Old programs on a site work: their line ends are written anew."""
    assert reply_of(b"HTTP/1.0 200 OK\r\nContent-type: text/html\n\nbody").fields == [(b"Content-type", b"text/html")]


@pytest.mark.parametrize(
    ("method", "data", "length"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 0),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", 0),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 0),
        (b"GET", b"HTTP/1.1 200 OK\r\n\r\n", None),
        (b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        (b"GET", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 0),
    ],
)
def test_how_long_the_body_is(method: bytes, data: bytes, length: int | None) -> None:
    """A body ends where the standard says it does."""
    assert reply_of(data).body_length(method) == length


def test_both_framings_spoil_the_connection() -> None:
    """A response framed in two ways is passed on by its chunks, and its connection never used again."""
    reply = reply_of(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert reply.chunked and reply.length is None and not reply.keep_alive


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 099 X\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 40_000,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n",
    ],
)
def test_a_broken_response_is_refused(data: bytes) -> None:
    """What could be read in two ways is never passed on."""
    with pytest.raises(BadReply):
        parse_reply(data)


def test_incomplete_heads_wait() -> None:
    """A head may come in pieces."""
    data = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
    assert all(parse_reply(data[:end]) is None for end in range(len(data)))
