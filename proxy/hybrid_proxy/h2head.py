"""
Heads between HTTP/2 (RFC 9113) and the HTTP/1.1 that is spoken to sites. Pure.

A request is written out as HTTP/1.1 and read by the one strict parser there is, so nothing gets in by HTTP/2 that does
not by HTTP/1.1. What could break out of its line when written so is refused before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hybrid_proxy.head import TOKEN, Refused, RequestHead, parse_request
from hybrid_proxy.message import STRICT
from hybrid_proxy.pages import Page
from hybrid_proxy.reply import ReplyHead, parse_reply

Field = tuple[bytes, bytes]
_VISIBLE = re.compile(rb"[!-~]+")
_NAME = re.compile(TOKEN)
_BREAKS = re.compile(rb"[\x00\r\n]")
_MORE_COOKIE = b"; "


class Malformed(Exception):
    """The request is none (RFC 9113 §8.1.1): its stream is reset."""


def request_of(headers: Iterable[Field], ended: bool) -> RequestHead:
    """
    The request in the fields of a HEADERS frame.

    Args:
        headers: As decoded, pseudo-header fields first.
        ended: No body follows.

    Raises:
        Malformed: See there.
        Refused: It is one, but is not served.
    """
    pseudo: dict[bytes, bytes] = {}
    fields: list[Field] = []
    cookies: list[bytes] = []
    for name, value in headers:
        if name.startswith(b":"):
            pseudo[name] = value
        elif not _NAME.fullmatch(name) or name.lower() != name or _BREAKS.search(value):
            raise Malformed(name)
        elif name == b"cookie":
            cookies.append(value)
        elif name == b"host":
            pseudo.setdefault(b":authority", value)
        elif name != b"expect":  # nobody waits for 100 here
            fields.append((name, value))
    method, target, authority = (pseudo.get(name, b"") for name in (b":method", b":path", b":authority"))
    if method == b"CONNECT":
        raise Refused(405, "this method is not offered")
    if pseudo.get(b":scheme") != b"https" or not all(map(_VISIBLE.fullmatch, (method, target, authority))):
        raise Malformed(b"pseudo-header fields")
    if cookies:
        fields.append((b"cookie", _MORE_COOKIE.join(cookies)))
    if not ended and all(name != b"content-length" for name, _ in fields):
        fields.append((b"transfer-encoding", b"chunked"))
    lines = [
        b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, target, authority),
        *(b"%b: %b\r\n" % field for field in fields),
    ]
    data = b"".join([*lines, b"\r\n"])
    head = parse_request(data)
    if head is None or head.end != len(data):
        raise Malformed(b"fields")
    return head


def reply_fields(reply: ReplyHead, adds: bytes = b"") -> list[Field]:
    """The fields of the HEADERS frame for a site's response; `adds`: see `RequestHead`."""
    fields = [(b":status", b"%d" % reply.status)]
    fields += [(name.lower(), value.strip(b" \t")) for name, value in reply.fields]
    if adds and all(name != STRICT for name, _ in fields):
        name, _, value = adds.rstrip(b"\r\n").partition(b": ")
        fields.append((name.lower(), value))
    if reply.length is not None and reply.status >= 200 and reply.status != 204:
        fields.append((b"content-length", b"%d" % reply.length))
    return fields


def page_fields(page: Page, with_body: bool) -> tuple[list[Field], bytes]:
    """The fields and the body of an answer of our own."""
    data = page.bytes(close=False)
    reply = parse_reply(data)
    assert reply is not None
    return reply_fields(reply), data[reply.end :] if with_body else b""
