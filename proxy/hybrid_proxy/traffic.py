"""Counts what the front doors did, per site and by kind of answer. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Set

from hybrid.model import Served, SiteId
from hybrid.sitetraffic import LATENCY_S


class Traffic:
    """
    Requests and bytes.

    Sites are counted on their owner only, so that a request that came in through another node counts once.
    """

    def __init__(self) -> None:
        self._sites: dict[SiteId, _Counts] = {}
        self.answers: Counter[int] = Counter()
        """Responses by hundreds of their status, since the start."""
        self.pages: Counter[int] = Counter()
        """Answers of our own by status, since the start."""
        self.connections = 0
        """Open now."""

    def served(self, site: SiteId, sent_bytes: int, status: int = 0, seconds: float = -1.0) -> None:
        """One request (or connection) of a site here has ended; `seconds` counts with a status of 200 or more."""
        counts = self._sites.get(site)
        if counts is None:
            counts = self._sites[site] = _Counts()
        counts.requests += 1
        counts.bytes += sent_bytes
        if status >= 200:
            counts.latency[bisect_left(LATENCY_S, seconds)] += 1
            if status >= 500:
                counts.errors += 1

    def refused(self, site: SiteId) -> None:
        """A request for a site got a page of our own."""
        self._sites.setdefault(site, _Counts()).refused += 1

    def waited(self, site: SiteId, seconds: float) -> None:
        """A request for a site waited for its owner, or for room."""
        counts = self._sites.setdefault(site, _Counts())
        counts.waited += 1
        counts.waited_s += seconds

    def sites(self) -> Set[SiteId]:
        """Those that something was counted of since `taken`."""
        return self._sites.keys()

    def taken(self) -> Iterator[Served]:
        """What was served since the last call."""
        sites, self._sites = self._sites, {}
        return (counts.told(site) for site, counts in sites.items())


class _Counts:
    """Of one site since the last report."""

    __slots__ = ("bytes", "errors", "latency", "refused", "requests", "waited", "waited_s")

    def __init__(self) -> None:
        self.requests = self.bytes = self.errors = self.refused = self.waited = 0
        self.waited_s = 0.0
        self.latency = [0] * (len(LATENCY_S) + 1)

    def told(self, site: SiteId) -> Served:
        latency = tuple(self.latency) if any(self.latency) else ()
        return Served(
            site, self.requests, self.bytes, self.errors, latency, self.refused, self.waited, round(self.waited_s, 3)
        )
