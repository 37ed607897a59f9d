"""Counts what the front doors did, per site and by kind of answer. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hybrid.model import Served, SiteId


class Traffic:
    """
    Requests and bytes.

    Sites are counted on their owner only, so that a request that came in through another node counts once.
    """

    def __init__(self) -> None:
        self._sites: dict[SiteId, list[int]] = {}
        self.answers: Counter[int] = Counter()
        """Responses by hundreds of their status, since the start."""
        self.pages: Counter[int] = Counter()
        """Answers of our own by status, since the start."""
        self.connections = 0
        """Open now."""

    def served(self, site: SiteId, sent_bytes: int) -> None:
        """One request (or connection) of a site that runs here has ended."""
        counts = self._sites.get(site)
        if counts is None:
            self._sites[site] = [1, sent_bytes]
        else:
            counts[0] += 1
            counts[1] += sent_bytes

    def taken(self) -> Iterator[Served]:
        """What was served since the last call."""
        sites, self._sites = self._sites, {}
        return (Served(site, requests, sent) for site, (requests, sent) in sites.items())
