"""
Any bytes, read by the quick parsers, compiled and not, and by those that define what is allowed: they must agree.

`python -m tests.proxy.fuzz_heads 600 1` does so for ten minutes from seed 1. `test_native` does a little of it.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from hybrid_proxy import head, plain, reply

REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /a/b?c=d&e=%20 HTTP/1.1\r\nhost: shop.test:8080\r\nContent-Length: 12\r\nAccept: */*\r\n\r\nhello, world",
    b"GET /x HTTP/1.0\r\nHOST:[::1]:80\r\nConnection: keep-alive\r\nX-Forwarded-For: 1.2\r\nVia: 1.1 a, 1.0 b\r\n\r\n",
    b"PUT /y HTTP/1.1\r\nHost: a.b\r\nTransfer-Encoding: chunked\r\nTE: a\r\nX_Y: z\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, x-a\r\nUpgrade: websocket\r\nX-A: b\r\n\r\n",
    b"GET http://a/b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nForwarded: for=a\r\nProxy: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\nKeep-Alive: 1\r\nX-Hybrid-A: b\r\nX-Request-Id: c\r\n\r\n",
    b"GET /z HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nCookie: a=b; c=d\r\nUser-Agent: x (y)\r\nEmpty:\r\n\r\nGET /",
)
REPLIES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/html\r\nDate: x\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
    b"HTTP/1.0 404 Not Found\r\nConnection: close\r\nServer: a\r\n\r\n",
    b'HTTP/1.1 304 \r\nETag: "a"\r\nVary: a, b\r\n\r\n',
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 200\r\nContent-Length: 5\r\nContent-Length: 5\r\nX-Hybrid-Not-Owner: 1,n\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-type: a\nTrailer: b\n\nx",
)
WORDS = (
    *(
        b"\r\n",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b": ",
        b"_",
        b"-",
        b"\x00",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"#",
    ),
    *(b"Host: b\r\n", b"Content-Length: 3\r\n", b"content-length:0005 \r\n", b"Content-Length: +1\r\n", b"close"),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: Keep-Alive\r\n",
        b"connection: close\r\n",
        b"chunked",
        b"HTTP/1.1",
    ),
    *(b"X_Forwarded_For: a\r\n", b"x-forwarded-for: b\r\n", b"VIA: c\r\n", b"Proxy-Connection: d\r\n", b"TE: e\r\n"),
    *(
        b"Upgrade: f\r\n",
        b"HTTP2-Settings: g\r\n",
        b"Expect: h\r\n",
        b"CONNECT",
        b"TRACE",
        b"\xc3\xa4",
        b"0",
        b"999999999999999999",
    ),
    *(
        b"A: " + b"b" * 9000 + b"\r\n",
        b"C: d\r\n" * 101,
        b"e" * 300 + b": f\r\n",
        b"x-hybrid-" + b"g" * 300 + b": h\r\n",
    ),
)

_REQUEST = (
    *("method", "target", "minor", "end", "host", "authority", "forwarding", "listed", "length", "chunked"),
    *("keep_alive", "upgrade", "expects_continue"),
)
_REQUEST_PARSERS = head.parse_request, partial(head.parse_request, quick=plain.parse_request)
_REPLY_PARSERS = reply.parse_reply, partial(reply.parse_reply, quick=plain.parse_reply)
_REPLY = ("status", "reason", "end", "length", "chunked", "keep_alive", "upgrade", "not_owner")


def request_seen(parse: Any, data: bytes) -> object:
    """All that is understood of a request, or why it is refused."""
    try:
        found = parse(data)
    except head.Refused as refused:
        return refused.status, refused.why
    return found and [found.lines, found.fields, *(_plain(getattr(found, name)) for name in _REQUEST)]


def reply_seen(parse: Any, data: bytes) -> object:
    """All that is understood of a response, or why it is not passed on."""
    try:
        found = parse(data)
    except reply.BadReply as bad:
        return str(bad)
    return found and [found.lines, found.fields, *(_plain(getattr(found, name)) for name in _REPLY)]


def _plain(value: object) -> object:
    return list(value) if isinstance(value, list | tuple) else value


def mutated(rng: random.Random, seeds: tuple[bytes, ...]) -> bytes:
    """A message of `seeds` with some bytes or words changed, added, removed or moved."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 5))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0:
                data[at:at] = rng.choice(WORDS)
            case 1:
                data[at : at + rng.randrange(1, 4)] = b""
            case 2:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 3:
                data[at : at + 1] = data[at : at + 1].swapcase()
            case 4:
                lines = data.split(b"\r\n")
                lines.insert(rng.randrange(len(lines)), rng.choice(lines))
                data = bytearray(b"\r\n".join(lines))
            case _:
                del data[at:]
    return bytes(data)


def disagreements(seed: int) -> Iterator[tuple[bytes | None, str]]:
    """For ever: an input that is read in two ways, or `None`; and what became of it."""
    rng = random.Random(seed)
    while True:
        data = mutated(rng, REQUESTS)
        strict = request_seen(head.parse_strictly, data)
        agreed = all(request_seen(parse, data) == strict for parse in _REQUEST_PARSERS)
        yield None if agreed else data, _kind("request", strict)
        data = mutated(rng, REPLIES)
        careful = reply_seen(reply.parse_carefully, data)
        agreed = all(reply_seen(parse, data) == careful for parse in _REPLY_PARSERS)
        yield None if agreed else data, _kind("reply", careful)


def _kind(what: str, seen: object) -> str:
    return f"{what} {'incomplete' if seen is None else 'understood' if isinstance(seen, list) else 'refused'}"


def main(seconds: float, seed: int) -> int:
    """Look for `seconds`; 1 when something was found."""
    if not head.COMPILED:
        print("the compiled parsers are not built (make native): only those in Python are compared")
    end_s, kinds = time.monotonic() + seconds, Counter[str]()
    for count, (data, kind) in enumerate(disagreements(seed)):
        kinds[kind] += 1
        if data is not None:
            print(f"seed {seed}, input {count}: {data!r} is read in two ways")
            return 1
        if count % 1000 == 0 and time.monotonic() > end_s:
            break
    print(", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2])))
