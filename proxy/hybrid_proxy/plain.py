"""
Heads of HTTP/1.1 as nearly all of them are, read with few steps of Python. Pure.

It takes the place of `_heads.c` where that was not built, and is of the same mind: it refuses nothing, what is not
plainly well-formed, complete and ordinary gives `None`, and what is accepted is understood exactly as `head` and
`reply` understand it. A block of fields is cut at those that mean something; what is between goes on as it is, since
the expression has found each line of it to be `Name: value` already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_FIELDS = rb"((?:" + TOKEN + rb": [!-~\x80-\xff][\t -~\x80-\xff]*+\r\n)*+)\r\n"
"""No look ahead within what repeats possessively: Python 3.11.2 takes a step that then fails for taken."""
_REQUEST = re.compile(rb"([A-Z][A-Z-]{0,31}) (/[!\"$-~]*+) HTTP/1\.([01])\r\n" + _FIELDS)
_REPLY = re.compile(rb"HTTP/1\.([01]) ([1-9]\d\d)(?: ([\t -~\x80-\xff]*+))?\r\n" + _FIELDS)
MAX_REQUEST, MAX_REPLY, MAX_FIELDS, MAX_DIGITS = 8 * 1024, 32 * 1024, 100, 18

_REQUEST_DROPPED = frozenset(
    (b"keep-alive", b"te", b"trailer", b"proxy", b"proxy-connection", b"proxy-authorization", b"http2-settings")
)
_REPLY_DROPPED = frozenset(
    (b"keep-alive", b"te", b"trailer", b"proxy-authenticate", b"proxy-connection", b"proxy-authorization")
)
_UNUSUAL = frozenset((b"transfer-encoding", b"expect", b"upgrade"))
_FORWARDING = frozenset((b"via", b"forwarded", b"x-real-ip", b"x-request-id"))
_CONNECTION = {b"close": 1, b"keep-alive": 2}

Request = tuple[bytes, bytes, int, int, bytes, int, bytes, list[tuple[bytes, bytes]] | None, int]
"""Method, target, minor version, end, authority, length or -1, field lines, forwarding fields, connection."""
Reply = tuple[int, bytes, int, int, int, bytes, int, int]
"""Status, reason, minor version, end, length or -1, field lines, whether it is chunked, connection."""


def _any_case(text: bytes) -> bytes:
    """An expression for `text`, which is in lower case."""
    pairs = ((bytes([letter]), bytes([letter]).upper()) for letter in text)
    return b"".join(re.escape(low) if low == up else b"[%b%b]" % (low, up) for low, up in pairs)


def _cutter(names: Iterable[bytes], beginnings: Iterable[bytes], more: bytes = b"") -> re.Pattern[bytes]:
    """
    Splits a block of fields at those of `names`, or with a name that begins so: text, name, value, text, …

    Names are grouped by their first letter, so that one look at a line rules most of them out.
    """
    by_letter: dict[bytes, list[bytes]] = {}
    for name in names:
        by_letter.setdefault(name[:1], []).append(_any_case(name[1:]))
    for beginning in beginnings:
        by_letter.setdefault(beginning[:1], []).append(_any_case(beginning[1:]) + rb"[^:]*")
    choices = [b"%b(?:%b)" % (_any_case(letter), b"|".join(rests)) for letter, rests in by_letter.items()]
    return re.compile(rb"^(" + b"|".join(choices) + more + rb"): ([^\r]*+)\r\n", re.MULTILINE)


_cut_request = _cutter(
    (b"host", b"content-length", b"connection", *_UNUSUAL, *_REQUEST_DROPPED, *_FORWARDING),
    (b"x-forwarded-", b"x-hybrid-"),
    rb"|[^:_\r]*+_[^:\r]*+",
).split
_cut_reply = _cutter(
    (b"content-length", b"connection", b"transfer-encoding", b"upgrade", *_REPLY_DROPPED), (b"x-hybrid-",)
).split


def _is_unplain(block: bytes) -> bool:
    """Whether a value ends in white space, or there are too many."""
    return b" \r\n" in block or b"\t\r\n" in block or block.count(b"\n") > MAX_FIELDS


def parse_request(data: bytes) -> Request | None:
    """See the module."""
    match = _REQUEST.match(data, 0, MAX_REQUEST)
    if match is None:
        return None
    method, target, minor, block = match.groups()
    if method == b"CONNECT" or method == b"TRACE" or _is_unplain(block):
        return None
    authority, length, connection = None, -1, 0
    forwarding: list[tuple[bytes, bytes]] | None = None
    parts = _cut_request(block)
    for at in range(1, len(parts), 3):
        name, value = parts[at].lower(), parts[at + 1]
        if name == b"host":
            if authority is not None:
                return None
            authority = value
        elif name == b"connection":
            if connection:
                return None
            connection = _CONNECTION.get(value.lower(), 0)
            if not connection:
                return None
        elif name == b"content-length":
            if length >= 0 or not value.isdigit() or len(value) > MAX_DIGITS:
                return None
            length = int(value)
        elif name in _UNUSUAL:
            return None
        elif name in _FORWARDING or name.startswith((b"x-forwarded-", b"x-hybrid-")):
            forwarding = [*(forwarding or ()), (name, value)]
    if authority is None:
        return None
    lines = b"".join(parts[::3])
    return method, target, int(minor), match.end(), authority, length, lines, forwarding, connection


def parse_reply(data: bytes) -> Reply | None:
    """See the module."""
    match = _REPLY.match(data, 0, MAX_REPLY)
    if match is None:
        return None
    minor, status, reason, block = match.groups()
    if _is_unplain(block):
        return None
    length, chunked, connection = -1, 0, 0
    parts = _cut_reply(block)
    for at in range(1, len(parts), 3):
        name, value = parts[at].lower(), parts[at + 1]
        if name == b"content-length":
            if length >= 0 or chunked or not value.isdigit() or len(value) > MAX_DIGITS:
                return None
            length = int(value)
        elif name == b"connection":
            if connection:
                return None
            connection = _CONNECTION.get(value.lower(), 0)
            if not connection:
                return None
        elif name == b"transfer-encoding":
            if chunked or length >= 0 or minor == b"0" or value.lower() != b"chunked":
                return None
            chunked = 1
        elif name not in _REPLY_DROPPED:
            return None
    lines = b"".join(parts[::3])
    return int(status), reason or b"", int(minor), match.end(), length, lines, chunked, connection
