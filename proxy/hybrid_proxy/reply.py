"""
Response heads of HTTP/1.1 as sites send them (RFC 9112). Pure.

A little kinder than `hybrid_proxy.head`: sites may end lines in a bare LF (CGI programs do), since the reply is written
anew and a site's connections carry that site's replies only. What leaves the length of the body in doubt is refused,
or marks the connection as not to be used again.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from hybrid_proxy import plain
from hybrid_proxy.head import CONNECTIONS, MAX_FIELDS, MAX_HEAD, MAX_LENGTH_DIGITS, TOKEN, fields_of, lines_of

try:
    from hybrid_proxy._heads import parse_reply as _quick
except ImportError:
    _quick = plain.parse_reply

_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-9]\d\d)(?: ([\t -~\x80-\xff]*+))?\r?\n"
    rb"((?:" + TOKEN + rb":[\t -~\x80-\xff]*+\r?\n)*+)\r?\n"
)
_FIELD = re.compile(rb"([^:]++):[\t ]*+([^\r\n]*+)\r?\n")
_COMPLETE = re.compile(rb"\n\r?\n")
_new = object.__new__
_HOP = frozenset(
    (b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"te", b"trailer", b"upgrade", b"proxy-authorization")
)

NOT_OWNER = b"x-hybrid-not-owner"
"""Field of an owner's refusal to another front door: `epoch,node` of the claim it knows of."""


class BadReply(Exception):
    """The peer's response cannot be passed on."""


class ReplyHead:
    """A response as understood."""

    length: int | None = None
    chunked = False
    upgrade = b""
    """Value of `Upgrade`, as sent."""
    not_owner = b""
    """See `NOT_OWNER`; meaningful from a member of the cluster only."""
    _fields: list[tuple[bytes, bytes]] | None = None
    _lines = b""

    def __init__(self, status: int, reason: bytes, minor: int, end: int) -> None:
        self.status = status
        self.reason = reason
        self.end = end
        self.keep_alive = minor == 1
        """Whether the connection may carry another request after this."""

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The end-to-end fields in order, names as sent."""
        if self._fields is None:
            self._fields = fields_of(self._lines)
        return self._fields

    @fields.setter
    def fields(self, fields: list[tuple[bytes, bytes]]) -> None:
        self._fields = fields

    @property
    def lines(self) -> bytes:
        """The same as they are sent on: `Name: value` and CR LF, each."""
        return self._lines if self._fields is None else lines_of(self._fields)

    def tell(self, lines: bytes) -> None:
        """Its fields are these, as they are sent on."""
        self._fields, self._lines = None, lines

    def body_length(self, method: bytes) -> int | None:
        """Bytes of the body that follows a reply to `method`: `None` when only framing or the end can tell."""
        if method == b"HEAD" or self.status < 200 or self.status in (204, 304):
            return 0
        return None if self.chunked else self.length


def parse_reply(data: bytes, quick: Callable[[bytes], plain.Reply | None] = _quick) -> ReplyHead | None:
    """
    The response head at the start of `data`; `quick` takes it if it is an ordinary one.

    Returns:
        The head, or `None` while it is incomplete.

    Raises:
        BadReply: It is none, or too large.
    """
    found = quick(data)
    if found is None:
        return parse_carefully(data)
    status, reason, minor, end, length, lines, chunked, connection = found
    head = _new(ReplyHead)
    head.status, head.reason, head.end, head.keep_alive, head._lines = status, reason, end, minor == 1, lines
    if length >= 0:
        head.length = length
    if chunked:
        head.chunked = True
    if connection:
        head.keep_alive = CONNECTIONS[connection][1]
    return head


def parse_carefully(data: bytes) -> ReplyHead | None:
    """See `parse_reply`: the definition of what is passed on."""
    match = _HEAD.match(data)
    if match is None:
        if len(data) > MAX_HEAD or _COMPLETE.search(data) or not b"HTTP/1."[: len(data)] == data[:7]:
            raise BadReply("not a response head")
        return None
    minor, status, reason, block = match.groups()
    head = ReplyHead(int(status), reason or b"", 1 if minor == b"1" else 0, match.end())
    found = _FIELD.findall(block)
    if len(found) > MAX_FIELDS or match.end() > MAX_HEAD:
        raise BadReply("too many header fields")
    _read_fields(head, found, minor == b"0")
    return head


def _read_fields(head: ReplyHead, found: list[tuple[bytes, bytes]], old: bool) -> None:
    listed: list[bytes] = []
    for name, value in found:
        value = value.rstrip(b" \t")
        lower = name.lower()
        if lower == b"content-length":
            _length(head, value)
        elif lower == b"transfer-encoding":
            _encoding(head, value, old)
        elif lower == b"connection":
            listed += [option.strip(b" \t") for option in value.lower().split(b",")]
        elif lower == b"upgrade":
            head.upgrade = value
        elif lower == NOT_OWNER:
            head.not_owner = value
        elif lower not in _HOP and not lower.startswith(b"x-hybrid-"):
            head.fields.append((name, value))
    if listed:
        _connection(head, listed)
    if head.chunked and head.length is not None:
        head.length, head.keep_alive = None, False


def _length(head: ReplyHead, value: bytes) -> None:
    if not value.isdigit() or len(value) > MAX_LENGTH_DIGITS or head.length not in (None, int(value)):
        raise BadReply("not one Content-Length")
    head.length = int(value)


def _encoding(head: ReplyHead, value: bytes, old: bool) -> None:
    if head.chunked or old or value.lower() != b"chunked":
        raise BadReply("not a Transfer-Encoding that is understood")
    head.chunked = True


def _connection(head: ReplyHead, listed: list[bytes]) -> None:
    if b"close" in listed:
        head.keep_alive = False
    elif b"keep-alive" in listed:
        head.keep_alive = True
    named = {option for option in listed if option not in (b"", b"close", b"keep-alive", b"upgrade")}
    if named:
        head.fields = [(name, value) for name, value in head.fields if name.lower() not in named]
