"""
Request heads of HTTP/1.1 (RFC 9112), parsed strictly. Pure.

One expression accepts a whole head; whatever it does not match is either incomplete or refused, and only then is it
looked at line by line to say why. Nothing here is lenient: what two parsers could read in two ways gets 400.
Ordinary heads are taken by a quicker reader first (`_heads.c`, or `plain` where that was not built); what is not
ordinary is looked at here, and what is said here is what both of them do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from hybrid_proxy import plain
from hybrid_proxy.plain import TOKEN as TOKEN

try:
    from hybrid_proxy._heads import parse_request as _quick
except ImportError:
    _quick = plain.parse_request

COMPILED = _quick is not plain.parse_request
_new = object.__new__
MAX_HEAD = 32 * 1024
MAX_LINE = 16 * 1024
MAX_TARGET = 8 * 1024
MAX_FIELDS = 100
MAX_LENGTH_DIGITS = 18

_LINE = rb"([A-Z][A-Z-]{0,31}) ([!\"$-~]++) HTTP/1\.([01])\r\n"
_HEAD = re.compile(_LINE + rb"((?:" + TOKEN + rb":[\t -~\x80-\xff]*+\r\n)*+)\r\n")
_REQUEST_LINE = re.compile(_LINE)
_FIELD_LINE = re.compile(TOKEN + rb":[\t -~\x80-\xff]*+")
_BEGINNING = re.compile(rb"[A-Z][A-Z-]{0,31}(?: |\Z)")
_OTHER_VERSION = re.compile(rb"[A-Z][A-Z-]{0,31} [!\"$-~]++ HTTP/(?!1\.[01])\d\.\d")
_STRAY = re.compile(rb"\x00|(?<!\r)\n|\r(?!\n|\Z)")
_FIELD = re.compile(rb"([^:]++):[\t ]*+([^\r]*+)\r\n")
_HOST = re.compile(rb"([0-9A-Za-z](?:[0-9A-Za-z_.-]{0,252}[0-9A-Za-z.])?|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{0,5}))?")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]+)(.*)", re.DOTALL)

TLS_HANDSHAKE = 0x16
CONNECTIONS = {1: ([b"close"], False), 2: ([b"keep-alive"], True)}
"""What the compiled parsers tell of `Connection`, 0 aside: its options, and whether another message may follow."""


class Refused(Exception):
    """
    The head cannot be served.

    Args:
        status: What to answer; 0 for a peer that does not speak HTTP at all: close without a word.
        why: For the page; says nothing about the platform.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"{status} {why}")
        self.status, self.why = status, why


class RequestHead:
    """
    A request as understood; what is sent on is written from this, never copied from what came in.

    `forwarding` are those that say where a request came
    from (`X-Forwarded-*`, `Forwarded`, `Via`, …), names in lower case: only a member of the cluster may set them.
    """

    host: str | None = None
    """Lower case, without port and final dot."""
    authority = b""
    """`Host` as sent."""
    forwarding: Sequence[tuple[bytes, bytes]] = ()
    listed: Sequence[bytes] = ()
    """Options of `Connection`, lower case."""
    length: int | None = None
    """`Content-Length`, or `None`."""
    chunked = False
    upgrade = b""
    """Lower case; empty unless `Connection` lists it."""
    expects_continue = False
    adds = b""
    """Field lines, each ended, for the response: set by the door."""
    _fields: list[tuple[bytes, bytes]] | None = None
    _lines = b""

    def __init__(self, method: bytes, target: bytes, minor: int, end: int) -> None:
        self.method = method
        self.target = target
        """In origin-form (or `*`)."""
        self.minor = minor
        """0 or 1: the version is HTTP/1.`minor`."""
        self.end = end
        """Where the head ends in what was parsed."""
        self.keep_alive = minor == 1

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

    @property
    def has_body(self) -> bool:
        """Whether bytes of a body follow."""
        return self.chunked or bool(self.length)

    def field(self, name: bytes) -> bytes | None:
        """The value of the first end-to-end field `name` (lower case)."""
        return next((value for key, value in self.fields if key.lower() == name), None)


def lines_of(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Fields as they are sent."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def fields_of(lines: bytes) -> list[tuple[bytes, bytes]]:
    """Undo `lines_of`."""
    pairs = (line.partition(b": ") for line in lines.split(b"\r\n")[:-1])
    return [(name, value) for name, _, value in pairs]


def parse_request(data: bytes, quick: Callable[[bytes], plain.Request | None] = _quick) -> RequestHead | None:
    """
    The head at the start of `data`; `quick` takes it if it is an ordinary one.

    Returns:
        The head, or `None` while it is incomplete (and nothing is wrong with what is there).

    Raises:
        Refused: It can never become a head that is served.
    """
    found = quick(data)
    if found is not None:
        method, target, minor, end, authority, length, lines, forwarding, connection = found
        host = normal_host(authority)
        if host is not None:
            head = _new(RequestHead)  # as its constructor would, which is called for all others
            head.method, head.target, head.minor, head.end, head.keep_alive = method, target, minor, end, minor == 1
            head.host, head.authority, head._lines = host, authority, lines
            if length >= 0:
                head.length = length
            if forwarding is not None:
                head.forwarding = forwarding
            if connection:
                head.listed, head.keep_alive = CONNECTIONS[connection]
            return head
    return parse_strictly(data)


def parse_strictly(data: bytes) -> RequestHead | None:
    """See `parse_request`: the definition of what is allowed."""
    match = _HEAD.match(data)
    if match is None:
        return _without_blank_line(data)
    end = match.end()
    if end > MAX_TARGET:
        _check_sizes(data[:end])
    method, target, minor, block = match.groups()
    head = RequestHead(method, target, 1 if minor == b"1" else 0, end)
    _read_fields(head, block)
    _check(head)
    return head


def _without_blank_line(data: bytes) -> RequestHead | None:
    """One empty line before a request is forgiven (RFC 9112 §2.2)."""
    if data.startswith(b"\r\n"):
        if data.startswith(b"\r\n\r\n"):
            raise Refused(400, "empty lines")
        head = parse_strictly(data[2:])
        if head is not None:
            head.end += 2
        return head
    _diagnose(data)
    return None


# ------------------------------------------------------------------------------------------ why it did not match


def _diagnose(data: bytes) -> None:
    """Raise `Refused` unless `data` may still become a head."""
    if not data or data == b"\r":
        return
    if data[0] == TLS_HANDSHAKE:
        raise Refused(0, "TLS on a plain port")
    _check_sizes(data)
    if _STRAY.search(data):
        raise Refused(400, "a line does not end in CR LF")
    line_end = data.find(b"\r\n")
    if line_end < 0:
        if not _BEGINNING.match(data):
            raise Refused(400, "not a request line")
        return
    if not _REQUEST_LINE.match(data):
        other = _OTHER_VERSION.fullmatch(data, 0, line_end)
        raise Refused(505, "HTTP version not supported") if other else Refused(400, "not a request line")
    _diagnose_fields(data[line_end + 2 :].split(b"\r\n"))


def _diagnose_fields(lines: list[bytes]) -> None:
    """Raise unless all complete lines are fields; the last of `lines` may be incomplete."""
    for line in lines[:-1]:
        if line[:1] in (b" ", b"\t"):
            raise Refused(400, "a folded field line")
        if not _FIELD_LINE.fullmatch(line):
            raise Refused(400, "not a field line")


def _check_sizes(data: bytes) -> None:
    """Raise when a limit is passed already."""
    lines = data.split(b"\r\n")
    if len(lines[0]) > MAX_TARGET + 48:
        raise Refused(414, "the address is too long")
    if len(data) > MAX_HEAD or max(map(len, lines)) > MAX_LINE or len(lines) > MAX_FIELDS + 3:
        raise Refused(431, "the header fields are too large")


# ---------------------------------------------------------------------------------------------------- the fields


def _read_fields(head: RequestHead, block: bytes) -> None:
    found = _FIELD.findall(block)
    if len(found) > MAX_FIELDS:
        raise Refused(431, "too many header fields")
    fields = head.fields = []
    for name, value in found:
        if value and value[-1] in b" \t":
            value = value.rstrip(b" \t")
        lower = name.lower()
        special = _SPECIAL.get(lower)
        if special is not None:
            special(head, value)
        elif lower.startswith(b"x-") and _is_ours(lower):
            head.forwarding = [*head.forwarding, (lower, value)]
        elif b"_" not in name:  # to CGI `X_Forwarded_For` and `X-Forwarded-For` are one variable
            fields.append((name, value))


def _is_ours(lower: bytes) -> bool:
    return lower.startswith((b"x-forwarded-", b"x-hybrid-"))


def _host(head: RequestHead, value: bytes) -> None:
    if head.authority:
        raise Refused(400, "more than one Host")
    head.host = normal_host(value)
    head.authority = value
    if head.host is None:
        raise Refused(400, "not a Host")


@lru_cache(maxsize=8192)
def normal_host(authority: bytes) -> str | None:
    """The host in `host[:port]`, lower case and without a final dot; `None` when it is not one."""
    match = _HOST.fullmatch(authority)
    if match is None or int(match[2] or 0) > 65535 or b".." in match[1]:
        return None
    return match[1].decode("ascii").lower().removesuffix(".") or None


def _length(head: RequestHead, value: bytes) -> None:
    if head.length is not None or not value.isdigit() or len(value) > MAX_LENGTH_DIGITS:
        raise Refused(400, "not one Content-Length")
    head.length = int(value)


def _encoding(head: RequestHead, value: bytes) -> None:
    if head.chunked or head.minor == 0 or value.lower() != b"chunked":
        raise Refused(400, "not a Transfer-Encoding that is understood")
    head.chunked = True


def _connection(head: RequestHead, value: bytes) -> None:
    head.listed = [*head.listed, *(option.strip(b" \t") for option in value.lower().split(b","))]
    if b"close" in head.listed:
        head.keep_alive = False
    elif b"keep-alive" in head.listed:
        head.keep_alive = True


def _expect(head: RequestHead, value: bytes) -> None:
    if value.lower() != b"100-continue":
        raise Refused(417, "this expectation cannot be met")
    head.expects_continue = head.minor == 1


def _upgrade(head: RequestHead, value: bytes) -> None:
    head.upgrade = value.lower()


def _drop(head: RequestHead, value: bytes) -> None:
    """Meant for one hop only, or dangerous to a CGI program (`Proxy` becomes HTTP_PROXY)."""


def _forwarding(name: bytes) -> Callable[[RequestHead, bytes], None]:
    def keep(head: RequestHead, value: bytes) -> None:
        head.forwarding = [*head.forwarding, (name, value)]

    return keep


_SPECIAL: dict[bytes, Callable[[RequestHead, bytes], None]] = {
    b"host": _host,
    b"content-length": _length,
    b"transfer-encoding": _encoding,
    b"connection": _connection,
    b"expect": _expect,
    b"upgrade": _upgrade,
    **{
        name: _drop
        for name in (
            b"keep-alive",
            b"te",
            b"trailer",
            b"proxy",
            b"proxy-connection",
            b"proxy-authorization",
            b"http2-settings",
        )
    },
    **{name: _forwarding(name) for name in (b"via", b"forwarded", b"x-real-ip", b"x-request-id")},
}


# ------------------------------------------------------------------------------------ rules between several fields


def _check(head: RequestHead) -> None:
    if head.method in (b"CONNECT", b"TRACE"):
        raise Refused(405, "this method is not offered")
    if head.target[0] != 0x2F:
        _read_absolute(head)
    if head.host is None and head.minor == 1:
        raise Refused(400, "no Host")
    if head.chunked and head.length is not None:
        raise Refused(400, "both Content-Length and Transfer-Encoding")
    if head.listed:
        _check_connection(head)
    else:
        head.upgrade = b""


def _read_absolute(head: RequestHead) -> None:
    """`http://host/path` becomes `/path`, when `host` is that of `Host`; `*` is for OPTIONS."""
    if head.target == b"*" and head.method == b"OPTIONS":
        return
    match = _ABSOLUTE.fullmatch(head.target)
    if match is None:
        raise Refused(400, "not an address")
    if normal_host(match[1]) is None or (head.host is not None and match[1].lower() != head.authority.lower()):
        raise Refused(400, "the address and Host differ")
    head.authority, head.host = match[1], normal_host(match[1])
    path = match[2]
    head.target = path if path.startswith(b"/") else b"/" + path


def _check_connection(head: RequestHead) -> None:
    """Fields that `Connection` lists are for this hop; an upgrade needs to be listed there."""
    if b"upgrade" not in head.listed:
        head.upgrade = b""
    named = {option for option in head.listed if option not in (b"", b"close", b"keep-alive", b"upgrade")}
    if named:
        head.fields = [(name, value) for name, value in head.fields if name.lower() not in named]
