"""A site's access log: one line for each request it answered, as its user wants it. Pure."""

from __future__ import annotations

import re
import time as _calendar
from collections.abc import Iterator
from functools import lru_cache

import msgspec

from hybrid.model import SiteId
from hybrid.sitetraffic import Logged
from hybrid_proxy.head import RequestHead

MOST_LINES = 2000
"""Of one site between two reports; more are counted only."""
MOST_IN_ALL = 50_000
MOST_FIELD = 1024
_SOURCE = re.compile(rb"(?i)(?:^|\n)x-forwarded-for: ([^\r,]*)")
_ID = re.compile(rb"(?i)(?:^|\n)x-request-id: ([^\r]*)")
_ODD = re.compile(rb"[^ !#-\[\]-~]")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A line in the JSON format."""

    time: str
    remote: str
    host: str
    method: str
    target: str
    status: int
    bytes: int
    seconds: float
    referer: str
    user_agent: str
    request_id: str


class Journal:
    """The lines that were not reported yet."""

    def __init__(self) -> None:
        self._lines: dict[SiteId, list[str]] = {}
        self._dropped: dict[SiteId, int] = {}
        self._count = 0

    def add(self, site: SiteId, line: str) -> None:
        """One more line."""
        lines = self._lines.setdefault(site, [])
        if len(lines) < MOST_LINES and self._count < MOST_IN_ALL:
            lines.append(line)
            self._count += 1
        else:
            self._dropped[site] = self._dropped.get(site, 0) + 1

    def taken(self) -> Iterator[Logged]:
        """What came since the last call."""
        lines, self._lines, self._count = self._lines, {}, 0
        dropped, self._dropped = self._dropped, {}
        return (Logged(site, tuple(found), dropped.get(site, 0)) for site, found in lines.items())


def line(form: str, at_s: float, head: RequestHead, came_from: bytes, status: int, sent: int, seconds: float) -> str:
    """
    A line of the access log.

    Args:
        form: `combined` (as Apache httpd and nginx have it) or `json`.
        at_s: Wall time.
        head: The request.
        came_from: Field lines on its origin, see `hybrid_proxy.message`.
        status: Of the response.
        sent: Bytes to the client.
        seconds: From its head to the end of the response.
    """
    source = _found(_SOURCE, came_from)
    referer, agent = head.field(b"referer") or b"", head.field(b"user-agent") or b""
    if form == "json":
        entry = Entry(
            time=_rfc3339(int(at_s)),
            remote=source,
            host=head.host or "",
            method=head.method.decode("latin-1"),
            target=_text(head.target),
            status=status,
            bytes=sent,
            seconds=round(seconds, 4),
            referer=_text(referer),
            user_agent=_text(agent),
            request_id=_found(_ID, came_from),
        )
        return msgspec.json.encode(entry).decode()
    asked = f"{head.method.decode('latin-1')} {_escaped(head.target)} HTTP/1.{head.minor}"
    told = f'"{_escaped(referer) or "-"}" "{_escaped(agent) or "-"}"'
    return f'{source or "-"} - - [{_common(int(at_s))}] "{asked}" {status} {sent} {told}'


def _found(what: re.Pattern[bytes], lines: bytes) -> str:
    match = what.search(lines)
    return match[1].decode("latin-1") if match else ""


def _text(value: bytes) -> str:
    return value[:MOST_FIELD].decode("utf-8", "replace")


def _escaped(value: bytes) -> str:
    """Nothing that could end the quotes, or command a terminal."""
    return _ODD.sub(lambda match: b"\\x%02x" % match[0][0], value[:MOST_FIELD]).decode("ascii")


@lru_cache(maxsize=4)
def _common(at_s: int) -> str:
    return _calendar.strftime("%d/%b/%Y:%H:%M:%S +0000", _calendar.gmtime(at_s))


@lru_cache(maxsize=4)
def _rfc3339(at_s: int) -> str:
    return _calendar.strftime("%Y-%m-%dT%H:%M:%SZ", _calendar.gmtime(at_s))
