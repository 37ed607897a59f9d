"""
Fuzzing the parsers that face the internet: `python -m tests.fuzz.http SECONDS [TARGET…]`, or `make fuzz`.

Each target gets mutations of real input, cut at random places, and says what must hold whatever comes: nothing but the
named refusals is raised, what is accepted does not depend on how it was cut, and what is sent on has one meaning.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from twisted.internet.task import Clock

from hybrid_proxy.body import BadBody, ChunkedReader
from hybrid_proxy.conversation import Frames as WebSocketFrames
from hybrid_proxy.h2frames import Frames
from hybrid_proxy.h2front import H2Front
from hybrid_proxy.h2head import Malformed, request_of
from hybrid_proxy.head import Refused, parse_request
from hybrid_proxy.hello import BadHello, parse_hello
from hybrid_proxy.house import House
from hybrid_proxy.limits import Limits
from hybrid_proxy.message import provenance, request_bytes
from hybrid_proxy.pages import Page
from hybrid_proxy.proxyv2 import BadHeader, parse_header
from hybrid_proxy.reply import BadReply, parse_reply
from tests.proxy.conftest import plug
from tests.proxy.tlsclient import TlsClient

Target = Callable[[random.Random, bytes], None]

HEADS = [
    b"GET / HTTP/1.1\r\nHost: shop.test\r\nCookie: a=b\r\nAccept: */*\r\n\r\n",
    b"POST /a?b=c HTTP/1.1\r\nHost: shop.test:80\r\nContent-Length: 4\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close, x\r\nX: y\r\n\r\n",
    b"GET http://shop.test/ HTTP/1.0\r\nHost: shop.test\r\nVia: 1.1 hybrid\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: [::1]:1\r\nExpect: 100-continue\r\nUpgrade: h2c\r\n\r\n",
]
BITS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b":",
    b" ",
    b"\t",
    b"\x0b",
    b"\xff",
    b"0x",
    b"Transfer-Encoding: chunked\r\n",
    b";",
]


def mutated(chance: random.Random, data: bytes) -> bytes:
    """`data` with some of it changed, doubled, cut out or put in."""
    found = bytearray(data)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(found) + 1)
        match chance.randrange(5):
            case 0:
                found[at:at] = chance.choice(BITS)
            case 1:
                del found[at : at + chance.randrange(1, 9)]
            case 2 if at < len(found):
                found[at] = chance.randrange(256)
            case 3:
                found[at:at] = found[at : at + chance.randrange(1, 40)]
            case _:
                found[at:at] = chance.randbytes(chance.randrange(1, 5))
    return bytes(found)


def pieces(chance: random.Random, data: bytes) -> list[bytes]:
    """`data` cut somewhere."""
    found = []
    while data:
        size = chance.choice((1, 2, 7, 50, len(data)))
        found.append(data[:size])
        data = data[size:]
    return found


def request(chance: random.Random, data: bytes) -> None:
    """What is accepted is written so that it is read again as the same, and only once."""
    try:
        head = parse_request(data)
    except Refused:
        return
    if head is None or head.host is None:  # without a host it leads to nobody's site
        return
    try:
        came_from = provenance(head, "192.0.2.1", b"http", b"1", 3)
    except Page:
        return
    written = request_bytes(head, came_from)
    again = parse_request(written)
    assert again is not None and again.end == len(written), (data, written)
    assert (again.method, again.target, again.host, again.length, again.chunked) == (
        head.method,
        head.target,
        head.host,
        head.length,
        head.chunked,
    ), (data, written)


def reply(chance: random.Random, data: bytes) -> None:
    """Understood, refused, or not complete yet."""
    with contextlib.suppress(BadReply):
        parse_reply(data.replace(b"GET / HTTP/1.1", b"HTTP/1.1 200 OK").replace(b"POST / HTTP/1.1", b"HTTP/1.1 404 No"))


def chunked(chance: random.Random, data: bytes) -> None:
    """The same bytes and the same end, however they are cut."""

    def read(parts: Sequence[bytes]) -> tuple[bytes, bool, bytes] | None:
        reader, found, rest = ChunkedReader(), b"", b""
        try:
            for part in parts:
                if reader.done:
                    rest += part
                else:
                    found += reader.feed(part)
        except BadBody:
            return None
        return found, reader.done, (reader.rest + rest if reader.done else b"")

    whole = read([data])
    assert read(pieces(chance, data)) == whole, data


def hello(chance: random.Random, data: bytes) -> None:
    """What was no hello never becomes one; whole, it does not change with what follows."""
    try:
        found = parse_hello(data)
    except BadHello:
        return
    with contextlib.suppress(BadHello):
        assert found is None or parse_hello(data + b"more") == found


def passport(chance: random.Random, data: bytes) -> None:
    """Ours or none."""
    with contextlib.suppress(BadHeader):
        parse_header(data)


def fields(chance: random.Random, data: bytes) -> None:
    """A request by HTTP/2 that is accepted is one head of HTTP/1.1, whatever its fields say."""
    values = [mutated(chance, data[:20]) for _ in range(4)]
    names = [
        chance.choice((b"cookie", b"x", b"host", b"content-length", b"te", mutated(chance, b"a-b"))) for _ in values
    ]
    pseudo = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"shop.test"), (b":path", b"/")]
    at = chance.randrange(len(pseudo))
    pseudo[at] = pseudo[at][0], chance.choice((pseudo[at][1], mutated(chance, pseudo[at][1]), values[0]))
    with contextlib.suppress(Malformed, Refused):
        head = request_of([*pseudo, *zip(names, values, strict=True)], chance.random() < 0.5)
        assert head.host is not None and b"\r" not in head.target and b" " not in head.target


def http2(chance: random.Random, data: bytes) -> None:
    """A connection ends or goes on; nothing is raised, and no site is asked for what was broken."""

    def connect(destination: object, factory: object) -> object:
        raise AssertionError("there is no site")

    house = House(Clock(), Limits(), connect)  # type: ignore[arg-type]
    front = H2Front(house, house.secure_door("192.0.2.1", 1, "shop.test"))
    wire = plug(front)
    for part in pieces(chance, data):
        if not wire.closed:
            wire.send(part)
    assert len(front._h2.incoming_buffer._data) <= 17 * 1024


def frames(chance: random.Random, data: bytes) -> None:
    """Both followers of frames go on for ever."""
    first, second = Frames(), WebSocketFrames()
    for part in pieces(chance, data):
        first.bounded(part)
        second.feed(part)


def _http2_seeds() -> list[bytes]:
    from h2.config import H2Configuration
    from h2.connection import H2Connection

    client = H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    get = [(":method", "GET"), (":scheme", "https"), (":authority", "shop.test"), (":path", "/")]
    client.send_headers(1, get, end_stream=True)
    client.send_headers(3, [(":method", "POST"), *get[1:]])
    client.send_data(3, b"abc", end_stream=True)
    client.ping(b"12345678")
    client.reset_stream(1)
    return [client.data_to_send()]


PROXY = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x20" + bytes(range(32))
CHUNKS = [
    b"4\r\nabcd\r\n0\r\n\r\nrest",
    b"2;x=y\r\nab\r\n1\r\nc\r\n0\r\nT: r\r\n\r\n",
    b"00a\r\n0123456789\r\n0\r\n\r\n",
]
Targets = Mapping[str, tuple[Target, Callable[[], list[bytes]]]]
TARGETS: Targets = {
    "request": (request, lambda: HEADS),
    "reply": (reply, lambda: HEADS),
    "chunked": (chunked, lambda: CHUNKS),
    "hello": (hello, lambda: [TlsClient(None, "shop.test", ("h2", "http/1.1")).hello()]),
    "passport": (passport, lambda: [PROXY]),
    "fields": (fields, lambda: HEADS),
    "http2": (http2, _http2_seeds),
    "frames": (frames, _http2_seeds),
}


def run(targets: Targets, name: str, seconds: float, seed: int) -> int:
    """Feed one target for so long. Returns how many inputs it got; raises what it raises, with the seed."""
    target, make = targets[name]
    seeds, count, until_s = make(), 0, time.monotonic() + seconds
    while time.monotonic() < until_s:
        for _ in range(100):
            chance = random.Random(f"{name} {seed} {count}")
            data = mutated(chance, chance.choice(seeds))
            try:
                target(chance, data)
            except Exception as error:
                raise AssertionError(f"{name} {seed} {count}: {data!r}") from error
            count += 1
    return count


def main(targets: Targets, argv: Sequence[str]) -> None:
    """Each target for `argv[0]` seconds."""
    seconds = float(argv[0]) if argv else 10.0
    for name in argv[1:] or targets:
        count = run(targets, name, seconds, int(time.time()))
        print(f"{name}: {count} inputs in {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main(TARGETS, sys.argv[1:])
