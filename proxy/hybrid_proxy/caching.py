"""
What may be kept of a site's answers and used again, as a shared cache (RFC 9111, RFC 9110 §13). Pure.

Stricter than it has to be: only answers that say themselves for how long they are fresh; none that sets a cookie or
answers a login; one that answers a cookie only where the site says that it is for everybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol

from hybrid_proxy.head import RequestHead
from hybrid_proxy.reply import ReplyHead

STORABLE = frozenset((200, 301, 404))
VARYING = frozenset((b"accept", b"accept-encoding", b"accept-language", b"origin"))
"""What answers may vary with; those that vary with anything else are not kept."""
AGE = b"age"
_WITH_304 = frozenset((b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary"))
_NOT_KEPT = frozenset((b"age", b"cache-status", b"strict-transport-security"))
_PASSED_ON = frozenset(
    (b"authorization", b"range", b"if-range", b"if-match", b"if-unmodified-since", b"proxy-authorization")
)
"""Requests with these are the site's own business."""
_DIRECTIVE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:=(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]*)))?")
_TAG = re.compile(rb"(?:W/)?(\"[^\"]*\")")
_PROTO = re.compile(rb"(?i)(?:^|\n)x-forwarded-proto: (https?)\r")
MOST_S = 2**31


class Head(Protocol):
    """A request's or a response's."""

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """In order, names as sent."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """An answer that may be kept."""

    left_s: int
    age_s: int
    varies: tuple[tuple[bytes, bytes], ...]
    """Fields of the request, lower case and sorted, and what they were."""


def values(head: Head, name: bytes) -> bytes:
    """All fields `name` (lower case) as one list; empty when there is none."""
    return b", ".join(value for key, value in head.fields if key.lower() == name)


def directives(head: Head) -> dict[bytes, bytes]:
    """Of `Cache-Control`: names in lower case to their arguments. Of several the smaller number counts."""
    found: dict[bytes, bytes] = {}
    for name, quoted, plain in _DIRECTIVE.findall(values(head, b"cache-control")):
        name, value = name.lower(), quoted or plain
        if name not in found or _seconds(value) < _seconds(found[name]):
            found[name] = value
    return found


def address(head: RequestHead, came_from: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Scheme, authority and target; `None` where the scheme is not told by `came_from` (see `message.provenance`)."""
    scheme = _PROTO.search(came_from)
    return (scheme[1], head.authority, head.target) if scheme is not None else None


def why_not_used(head: RequestHead) -> bytes:
    """Why a request has to go to the site, as RFC 9211 calls it; empty: it need not."""
    if head.method not in (b"GET", b"HEAD"):
        return b"method"
    if head.has_body or head.upgrade or any(name.lower() in _PASSED_ON for name, _ in head.fields):
        return b"bypass"
    wishes = directives(head)
    if b"no-cache" in wishes or b"no-store" in wishes or (not wishes and b"no-cache" in values(head, b"pragma")):
        return b"request"
    return b""


def storable(head: RequestHead, reply: ReplyHead, most_bytes: int) -> Fresh | None:
    """Whether the answer may be kept, and for how long."""
    if head.method != b"GET" or reply.status not in STORABLE or why_not_used(head) == b"bypass":
        return None
    if (reply.length is None and not reply.chunked) or (reply.length or 0) > most_bytes:
        return None  # what ends with its connection may have been cut
    if b"no-store" in directives(head) or any(name.lower() == b"set-cookie" for name, _ in reply.fields):
        return None
    rules = directives(reply)
    for_all = b"public" in rules or b"s-maxage" in rules
    if not rules.keys().isdisjoint((b"no-store", b"private", b"no-cache")):
        return None
    if values(head, b"cookie") and not for_all:
        return None
    varies = [name.strip(b" \t").lower() for name in values(reply, b"vary").split(b",") if name.strip(b" \t")]
    if not VARYING.issuperset(varies):
        return None
    age_s = min(_seconds(values(reply, AGE)), MOST_S) if values(reply, AGE).isdigit() else 0
    left_s = _lifetime_s(reply, rules) - age_s
    if left_s <= 0:
        return None
    return Fresh(left_s, age_s, tuple((name, values(head, name)) for name in sorted(set(varies))))


def _lifetime_s(reply: ReplyHead, rules: dict[bytes, bytes]) -> int:
    """As the site says it (RFC 9111 §4.2.1); 0 where it says nothing that is understood."""
    for name in (b"s-maxage", b"max-age"):
        if name in rules:
            return _seconds(rules[name])
    expires_s, date_s = moment_s(values(reply, b"expires")), moment_s(values(reply, b"date"))
    return 0 if expires_s is None or date_s is None else int(min(expires_s - date_s, MOST_S))


def enough(head: RequestHead, age_s: int, left_s: int) -> bool:
    """Whether an answer of that age is as fresh as the request wants it."""
    wishes = directives(head)
    if b"max-age" in wishes and age_s > _seconds(wishes[b"max-age"]):
        return False
    return b"min-fresh" not in wishes or left_s >= _seconds(wishes[b"min-fresh"])


def not_modified(head: RequestHead, etag: bytes, modified: bytes) -> bool:
    """Whether who asks has it already (RFC 9110 §13.2.2): by its tag, else by its date."""
    known = values(head, b"if-none-match")
    if known:
        own = _TAG.fullmatch(etag)
        return known.strip(b" \t") == b"*" or (own is not None and own[1] in _TAG.findall(known))
    since_s, modified_s = moment_s(values(head, b"if-modified-since")), moment_s(modified)
    return since_s is not None and modified_s is not None and modified_s <= since_s


def kept_lines(reply: ReplyHead, only_304: bool = False) -> bytes:
    """The fields that are said again, each ended; `only_304`: those of an answer that is not modified."""
    return b"".join(
        b"%b: %b\r\n" % (name, value)
        for name, value in reply.fields
        if name.lower() not in _NOT_KEPT and (not only_304 or name.lower() in _WITH_304)
    )


def moment_s(text: bytes) -> float | None:
    """Seconds since the epoch of an HTTP date; `None` where it is none."""
    try:
        found = parsedate_to_datetime(text.decode("ascii"))
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _seconds(text: bytes) -> int:
    """Delta-seconds (RFC 9111 §1.2.2); 0 for what is no number."""
    return min(int(text), MOST_S) if text.isdigit() and len(text) < 20 else MOST_S if text.isdigit() else 0


def same(head: RequestHead, varies: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether `head` asks for the same variant."""
    return all(values(head, name) == value for name, value in varies)
