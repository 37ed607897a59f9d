"""How many requests each source may make of a site, where the site's user set a bound. Pure."""

from __future__ import annotations

from hybrid.model import SiteId
from hybrid_proxy.limits import network_of

MOST_SOURCES = 65536
BURST_S = 5.0
"""Requests of so long may come at once."""


class Rates:
    """Token buckets per site and source (/24, /56 for IPv6); those that were not used for longest are forgotten."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[SiteId, str], tuple[float, float]] = {}

    def allow(self, site: SiteId, source: str, per_s: float, now_s: float) -> bool:
        """Whether one more request is within `per_s` on average; if so it is counted."""
        key = site, network_of(source) if ":" in source else source
        most = max(1.0, per_s * BURST_S)
        left, at_s = self._buckets.pop(key, (most, now_s))
        left = min(most, left + (now_s - at_s) * per_s)
        allowed = left >= 1.0
        self._buckets[key] = (left - 1.0 if allowed else left), now_s
        if len(self._buckets) > MOST_SOURCES:
            del self._buckets[next(iter(self._buckets))]
        return allowed
