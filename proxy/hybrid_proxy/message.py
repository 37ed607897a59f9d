"""
Heads as they are sent on: written from what was understood, with the fields that say where a request came from. Pure.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache

from hybrid_proxy.head import RequestHead
from hybrid_proxy.pages import LOOP, NO_KEY, WRONG_WEBSOCKET
from hybrid_proxy.reply import ReplyHead

PSEUDONYM = b"hybrid"
STRICT = b"strict-transport-security"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def request_bytes(head: RequestHead, came_from: bytes) -> bytes:
    """
    The head to send to an upstream.

    Args:
        head: The client's request.
        came_from: Field lines, each ended, see `provenance` and `passed_on`.
    """
    framing = b""
    if head.chunked:
        framing = b"Transfer-Encoding: chunked\r\n"
    elif head.length is not None:
        framing = b"Content-Length: %d\r\n" % head.length
    elif head.upgrade and is_websocket(head):
        framing = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    return b"".join(
        (
            *(head.method, b" ", head.target, b" HTTP/1.1\r\nHost: ", head.authority, b"\r\n"),
            *(head.lines, framing, came_from, b"\r\n"),
        )
    )


def provenance(head: RequestHead, source: str, scheme: bytes, request_id: bytes, passes: int) -> bytes:
    """
    Field lines on where a public request came from; what the client itself said of that is not among them.

    Args:
        head: The request.
        source: The client's address.
        scheme: `http` or `https`.
        request_id: Ours.
        passes: How often a request may have been here before.

    Raises:
        Page: It has been here too often.
    """
    return origin(head.authority, source, scheme, _via(head, passes)) + request_id + b"\r\n"


@lru_cache(maxsize=4096)
def origin(authority: bytes, source: str, scheme: bytes, via: bytes) -> bytes:
    """The same but for the request's number, which comes next: much alike for the requests of one connection."""
    node = source.encode("ascii", "replace")
    quoted = b'"[%b]"' % node if b":" in node else node
    return (
        b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n"
        b'Forwarded: for=%b;host="%b";proto=%b\r\nVia: %b\r\nX-Request-Id: '
        % (node, scheme, authority, quoted, authority, scheme, via)
    )


def passed_on(head: RequestHead) -> bytes:
    """The same lines, when another front door of the cluster wrote them."""
    return b"".join(b"%b: %b\r\n" % field for field in head.forwarding if not field[0].startswith(b"x-hybrid-"))


def _via(head: RequestHead, passes: int) -> bytes:
    before = b", ".join(value for name, value in head.forwarding if name == b"via")
    if not before:
        return b"1.%d hybrid" % head.minor
    if before.count(PSEUDONYM) >= passes:
        raise LOOP
    return b"%b, 1.%d hybrid" % (before, head.minor)


def is_websocket(head: RequestHead) -> bool:
    """Whether an upgrade is asked for that is offered; any other (h2c, TLS) is not passed on at all."""
    return head.upgrade == b"websocket"


def check_websocket(head: RequestHead) -> None:
    """
    Check a request with `is_websocket` (RFC 6455 §4.2.1).

    Raises:
        Page: 400 or 426.
    """
    key = head.field(b"sec-websocket-key")
    if head.method != b"GET" or head.minor == 0 or head.has_body or key is None or not _is_key(key):
        raise NO_KEY
    if head.field(b"sec-websocket-version") != b"13":
        raise WRONG_WEBSOCKET


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False


def reply_bytes(reply: ReplyHead, head: RequestHead, length: int | None, keep_alive: bool) -> bytes:
    """
    The response head to send to the client.

    Args:
        reply: The upstream's response.
        head: The request it answers.
        length: Of the body that follows, `None` when its end is told by chunks (HTTP/1.1) or by closing (1.0).
        keep_alive: Whether the client may send another request.
    """
    lines = [b"HTTP/1.1 %d " % reply.status, reply.reason, b"\r\n", reply.lines]
    if head.adds and not any(name.lower() == STRICT for name, _ in reply.fields):
        lines.append(head.adds)
    if reply.status < 200 or reply.status == 204:
        pass
    elif reply.length is not None:  # also the length a GET would have, in answer to HEAD
        lines.append(b"Content-Length: %d\r\n" % reply.length)
    elif length is None and head.minor == 1:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    if not keep_alive:
        lines.append(b"Connection: close\r\n")
    elif head.minor == 0:
        lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def interim_bytes(reply: ReplyHead) -> bytes:
    """A 1xx response other than 101."""
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (reply.status, reply.reason, reply.lines)


def switching_bytes(reply: ReplyHead) -> bytes:
    """101: after this the connection is a tunnel."""
    return b"HTTP/1.1 101 %b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%b\r\n" % (reply.reason, reply.lines)
