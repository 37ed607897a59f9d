"""
How long a site has looked as it does, how long this node listens first, and rests after failures. Pure.

All that the elections of a node remember between two looks (rules R0 and R2).
"""

from __future__ import annotations

from hybrid.cluster.decisions import Look
from hybrid.model import SiteId
from hybrid.settings import Timing

LONGEST_REST_S = 300.0
"""A node that failed to open a site again and again tries at least this often."""


class Patience:
    """The waits of one node, for all sites. Seconds are monotonic."""

    def __init__(self, timing: Timing, started_s: float) -> None:
        """`started_s`: when this process started. It listens from its first look on."""
        self._timing, self._started_s = timing, started_s
        self._listening_s: float | None = None
        self._since: dict[SiteId, tuple[str, float, float]] = {}
        """Reason to wait, since when, and when that was last looked at."""
        self._failures: dict[SiteId, tuple[int, float]] = {}

    def looked(self, now_s: float) -> None:
        """A site is being looked at: from the first time on this node listens."""
        if self._listening_s is None:
            self._listening_s = max(now_s, self._started_s)

    def quarantined(self, look: Look) -> bool:
        """Rule R0: a node that just started has not heard everybody yet, unless there is nobody else."""
        if look.alone and not self._timing.alone:
            return False
        return self._listening_s is None or look.now_s < self._listening_s + self._timing.boot_s

    def waited_s(self, look: Look, reason: str) -> float:
        """How long the site has looked so. Time in which nobody looked (the process was stopped) does not count."""
        known = self._since.get(look.site)
        if known is None or known[0] != reason or look.now_s - known[2] > self._timing.fail_s / 2:
            known = (reason, look.now_s, look.now_s)
        self._since[look.site] = (reason, known[1], look.now_s)
        return look.now_s - known[1]

    def over(self, site: SiteId) -> None:
        """There is nothing to wait for: a wait that comes begins anew."""
        self._since.pop(site, None)

    def failed(self, site: SiteId, now_s: float) -> None:
        """This node could not open `site`: rest, twice as long each time."""
        count = self._failures.get(site, (0, 0.0))[0] + 1
        rest_s = min(LONGEST_REST_S, self._timing.settle_s * 2**count)
        self._failures[site] = (count, now_s + rest_s)

    def rests(self, site: SiteId, now_s: float) -> bool:
        """Whether this node failed to open `site` a moment ago."""
        return now_s < self._failures.get(site, (0, 0.0))[1]

    def succeeded(self, site: SiteId) -> None:
        """`site` is open here: old failures mean nothing any more."""
        self._failures.pop(site, None)
