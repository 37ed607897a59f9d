"""
What visitors asked of sites, as the front doors of this node told it: counts, times, the ends of access logs. Pure.

Counted since this process began; of access logs the newest `LOG_BYTES` per site are kept, `ALL_LOGS_BYTES` in all.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import msgspec

from hybrid.model import Fact, Served, SiteId
from hybrid.sitetraffic import LATENCY_S, Logged

RECENT_S = 60.0
LOG_BYTES = 1024 * 1024
ALL_LOGS_BYTES = 64 * 1024 * 1024


class TrafficAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A site's visitors at one node."""

    site: str
    """Its name."""
    node: str
    requests: int
    """Answered by the site, on this node."""
    bytes: int
    """To clients."""
    errors: int
    """Answers of the site with a status of 500 or more."""
    refused: int
    """Requests that came in here and got a page of the front door's own."""
    waited: int
    """Requests that came in here and waited for an owner, or for room."""
    waited_s: float
    requests_per_s: float
    """In the last minute, as is the next."""
    bytes_per_s: float
    p50_s: float | None
    """Half of the answers took no longer, to the next class of `latency`; `null`: there were none."""
    p95_s: float | None
    p99_s: float | None
    latency: dict[str, int]
    """Answers by class: those that took at most so many seconds, and more than the class before; `more`: longer."""


class AccessLogAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a site's access log."""

    lines: tuple[str, ...]
    """Oldest first."""
    dropped: int
    """Lines there were no room for since this node's process began."""
    from_node: str


@dataclass(slots=True)
class _Site:
    requests: int = 0
    bytes: int = 0
    errors: int = 0
    refused: int = 0
    waited: int = 0
    waited_s: float = 0.0
    latency: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_S) + 1))
    recent: deque[tuple[float, int, int]] = field(default_factory=deque)


@dataclass(slots=True)
class _Log:
    lines: deque[str] = field(default_factory=deque)
    bytes: int = 0
    dropped: int = 0


class TrafficBook:
    """What was reported."""

    def __init__(self) -> None:
        self._sites: dict[SiteId, _Site] = {}
        self._logs: dict[SiteId, _Log] = {}
        self._logged_bytes = 0

    def report(self, fact: Fact, now_s: float) -> None:
        """A fact, at a monotonic time; those that are not about visitors are not looked at."""
        if isinstance(fact, Served):
            self._served(fact, now_s)
        elif isinstance(fact, Logged):
            self._logged(fact)

    def _served(self, fact: Served, now_s: float) -> None:
        site = self._sites.setdefault(fact.site, _Site())
        site.requests += fact.requests
        site.bytes += fact.bytes
        site.errors += fact.errors
        site.refused += fact.refused
        site.waited += fact.waited
        site.waited_s += fact.waited_s
        for number, count in enumerate(fact.latency[: len(site.latency)]):
            site.latency[number] += count
        site.recent.append((now_s, fact.requests, fact.bytes))
        self._forget_old(site, now_s)

    def _logged(self, fact: Logged) -> None:
        log = self._logs.pop(SiteId(fact.site), None) or _Log()
        self._logs[SiteId(fact.site)] = log  # the one written to last is the last
        log.dropped += fact.dropped
        for line in fact.lines:
            log.lines.append(line)
            self._grow(log, len(line))
        while log.bytes > LOG_BYTES:
            self._grow(log, -len(log.lines.popleft()))
        while self._logged_bytes > ALL_LOGS_BYTES:
            self._logged_bytes -= self._logs.pop(next(iter(self._logs))).bytes

    def _grow(self, log: _Log, count: int) -> None:
        log.bytes += count
        self._logged_bytes += count

    @staticmethod
    def _forget_old(site: _Site, now_s: float) -> None:
        while site.recent and site.recent[0][0] < now_s - RECENT_S:
            site.recent.popleft()

    def sites(self) -> list[SiteId]:
        """Those with visitors, by id."""
        return sorted(self._sites)

    def of(self, site: SiteId, name: str, node: str, now_s: float) -> TrafficAnswer:
        """One site called `name`, at the node called `node`."""
        seen = self._sites.get(site) or _Site()
        self._forget_old(seen, now_s)
        labels = [*(f"{bound:g}" for bound in LATENCY_S), "more"]
        return TrafficAnswer(
            site=name,
            node=node,
            requests=seen.requests,
            bytes=seen.bytes,
            errors=seen.errors,
            refused=seen.refused,
            waited=seen.waited,
            waited_s=round(seen.waited_s, 3),
            requests_per_s=round(sum(requests for _, requests, _ in seen.recent) / RECENT_S, 3),
            bytes_per_s=round(sum(count for _, _, count in seen.recent) / RECENT_S, 1),
            p50_s=quantile(seen.latency, 0.5),
            p95_s=quantile(seen.latency, 0.95),
            p99_s=quantile(seen.latency, 0.99),
            latency=dict(zip(labels, seen.latency, strict=True)),
        )

    def log(self, site: SiteId, count: int) -> tuple[tuple[str, ...], int]:
        """The newest `count` lines, oldest first, and how many there was no room for."""
        log = self._logs.get(site) or _Log()
        return tuple(log.lines)[-count:], log.dropped


def quantile(latency: list[int], part: float) -> float | None:
    """The upper bound of the class within which `part` of the answers are; the last bound for those that took more."""
    total, so_far = sum(latency), 0
    for number, count in enumerate(latency):
        so_far += count
        if total and so_far >= part * total:
            return LATENCY_S[min(number, len(LATENCY_S) - 1)]
    return None
