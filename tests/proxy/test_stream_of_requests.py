"""Any sequence of requests, cut anywhere: the site sees each as it was meant, the client each answer in its place."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_proxy.body import LAST_CHUNK, ChunkedReader, LengthReader, chunk
from hybrid_proxy.head import parse_request
from hybrid_proxy.reply import parse_reply

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World


@dataclass
class Asked:
    """A request and the response it gets."""

    method: bytes
    body: bytes
    chunks: int
    """0: by length."""
    answer: bytes
    answer_framing: str

    def request(self, number: int) -> bytes:
        """As the client sends it."""
        head = b"%b /%d HTTP/1.1\r\nHost: shop.test\r\n" % (self.method, number)
        if self.method != b"POST":
            return head + b"\r\n"
        if not self.chunks:
            return head + b"Content-Length: %d\r\n\r\n%b" % (len(self.body), self.body)
        size = max(1, len(self.body) // self.chunks)
        pieces = [self.body[at : at + size] for at in range(0, len(self.body), size)]
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(map(chunk, pieces)) + LAST_CHUNK

    def response(self) -> bytes:
        """As the site sends it."""
        body = b"" if self.method == b"HEAD" else self.answer
        if self.answer_framing == "chunks":
            framed = chunk(body) + LAST_CHUNK if body else b"" if self.method == b"HEAD" else LAST_CHUNK
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed
        if self.answer_framing == "end":
            return b"HTTP/1.0 200 OK\r\n\r\n" + body
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(self.answer), body)


# Bodies that look like requests and responses: what smuggling is made of.
BODIES = st.one_of(
    st.binary(max_size=50),
    st.sampled_from(
        [b"GET /evil HTTP/1.1\r\nHost: shop.test\r\n\r\n", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\r\n\r\n"]
    ),
)
ASKED = st.builds(
    Asked,
    st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS"]),
    BODIES,
    st.integers(0, 4),
    BODIES,
    st.sampled_from(["length", "chunks", "end"]),
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` cut at `cuts`."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def read_request(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Method, target and body of the one request in `data`, which has nothing after it."""
    head = parse_request(data)
    assert head is not None
    reader = ChunkedReader() if head.chunked else LengthReader(head.length or 0)
    body = reader.feed(data[head.end :]) if head.has_body else b""
    assert reader.done and reader.rest == b""
    return head.method, head.target, body


def read_answers(data: bytes, asked: list[Asked]) -> list[bytes]:
    """The bodies of the responses to `asked` in `data`, which has nothing after them."""
    bodies = []
    for one in asked:
        reply = parse_reply(data)
        assert reply is not None and reply.status == 200
        length = reply.body_length(one.method)
        reader = ChunkedReader() if length is None else LengthReader(length)
        data = data[reply.end :]
        bodies.append(reader.feed(data) if length != 0 else b"")
        assert reader.done
        data = reader.rest if length != 0 else data
    assert data == b""
    return bodies


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    st.lists(ASKED, min_size=1, max_size=6),
    st.lists(st.integers(0, 5000), max_size=12),
    st.lists(st.integers(0, 200), max_size=4),
)
def test_a_stream_of_requests(world: World, asked: list[Asked], cuts: list[int], reply_cuts: list[int]) -> None:
    """No body is ever taken for a request, no answer given to another request, however the bytes arrive."""
    client = world.client()
    for piece in pieces(b"".join(one.request(number) for number, one in enumerate(asked)), cuts):
        client.send(piece)
    site: Wire | None = None
    for number, one in enumerate(asked):
        if world.calls:
            site = world.call().accept()
        assert site is not None
        body = one.body if one.method == b"POST" else b""
        assert read_request(site.taken()) == (one.method, b"/%d" % number, body)
        for piece in pieces(one.response(), reply_cuts):
            site.send(piece)
        if one.answer_framing == "end" and not site.closed:
            site.hang_up(clean=True)
    expected = [b"" if one.method == b"HEAD" else one.answer for one in asked]
    assert read_answers(client.taken(), asked) == expected
    assert not client.closed
    client.hang_up()
    world.house.pool.close()
