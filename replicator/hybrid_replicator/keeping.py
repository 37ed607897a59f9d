"""
How the history of each site is kept on this node: what the site or the cluster asks for, and less where room is short.

Pure. The fuller the pool, the earlier old history goes (`hybrid.cluster.room`); and a site whose history is over its
budget loses old history until it is below. Neither touches what rule R11 keeps, see `retention`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from hybrid.cluster.room import SHRINKS, Level, level
from hybrid.errors import BadRequest
from hybrid.grid import DEFAULT, Grid, parse
from hybrid.model import HistoryThinned, SiteId
from hybrid.view import SiteView, View

SLACK = 0.75
"""Below this part of its budget a history may become longer again."""
LEAST_SHARE = 2.0**-12


class Keeping:
    """
    Which grid applies to each site here.

    Attributes:
        shrink: By what the ages of every grid are multiplied, for want of room in the pool.
    """

    def __init__(self, default: Callable[[], str]) -> None:
        """`default()` is the text of the cluster's grid; empty: nobody has set one."""
        self._default = default
        self._sites: Mapping[SiteId, SiteView] = {}
        self._shares: dict[SiteId, float] = {}
        """By what the ages are multiplied of sites that were over their budget."""
        self.shrink = SHRINKS[Level.ROOMY]

    def follow(self, view: View) -> None:
        """Take over what sites are to be like, and how full this node's pool is."""
        self._sites, me = view.sites, view.nodes.get(view.me)
        self.shrink = SHRINKS[level(me.size_bytes, me.free_bytes)] if me is not None else 1.0

    def grid(self, site: SiteId) -> Grid:
        """By which its history is kept now."""
        seen = self._sites.get(site)
        asked = read((seen.spec.retention if seen is not None else "") or self._default())
        factor = self.shrink * self._shares.get(site, 1.0)
        return asked if factor == 1.0 else asked.shrunk(factor)

    def budgeted(self, site: SiteId) -> bool:
        """Whether its history has a budget."""
        seen = self._sites.get(site)
        return seen is not None and seen.spec.history_budget_bytes is not None

    def measured(self, site: SiteId, history_bytes: int) -> HistoryThinned | None:
        """
        Its history takes so much: over its budget old history goes twice as early as before, well below half as early.

        Returns:
            What people are to be told, when it is over.
        """
        seen = self._sites.get(site)
        budget = seen.spec.history_budget_bytes if seen is not None else None
        before = self._shares.pop(site, 1.0)
        share = share_of(before, history_bytes, budget)
        if share < 1.0:
            self._shares[site] = share
        return HistoryThinned(site, history_bytes, budget) if budget is not None and share < before else None


def share_of(before: float, history_bytes: int, budget_bytes: int | None) -> float:
    """The next share of its ages that a history is kept for."""
    if budget_bytes is None:
        return 1.0
    if history_bytes > budget_bytes:
        return max(LEAST_SHARE, before / 2)
    return before if history_bytes > SLACK * budget_bytes else min(1.0, before * 2)


@lru_cache(maxsize=1024)
def read(text: str) -> Grid:
    """The grid of that text; the default for none, and for one that only a later release can read."""
    try:
        return parse(text) if text else DEFAULT
    except BadRequest:
        return DEFAULT
