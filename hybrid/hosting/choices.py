"""
What only a person can decide, and how the answer becomes a fact: picks between two histories (rule R5). Shell.

An answer is a value in the cluster's shared map; whoever it concerns acts on it by itself.
"""

from __future__ import annotations

from collections.abc import Callable

from hybrid.cluster import picks
from hybrid.errors import Conflict, NoSuchSite
from hybrid.model import NodeId, SiteId
from hybrid.view import SiteView, View


class Choices:
    """Takes a person's answers, on any node."""

    def __init__(
        self,
        view: Callable[[], View],
        shared: Callable[[str], str | None],
        share: Callable[[str, str | None], None],
        wall_s: Callable[[], float],
    ) -> None:
        """`shared(key)` and `share(key, value)` read and write the cluster's shared map."""
        self._view, self._shared, self._share, self._wall_s = view, shared, share, wall_s

    def pick(self, site: SiteId, node: NodeId, by: str) -> picks.Pick:
        """
        Have the history of `node` go on; that of the others is kept as stashes. The same again changes nothing.

        Raises:
            NoSuchSite: This node does not know it.
            Conflict: Nobody waits for a pick, or `node` has no history to pick.
        """
        seen = self._view().sites.get(site)
        if seen is None:
            raise NoSuchSite(f"there is no site {site}")
        before = picks.decode(self._shared(picks.KEY + site))
        if not seen.awaiting:
            if before is not None and before.claim.node == node and seen.owner == node:
                return before
            raise Conflict(f"no choice is wanted for {seen.spec.name}", "it has one history", "hybrid decisions")
        pick = self._new(seen, node, by)
        if before is not None and (before.claim, before.over) == (pick.claim, pick.over):
            return before
        self._share(*picks.encode(pick))
        return pick

    def _new(self, seen: SiteView, node: NodeId, by: str) -> picks.Pick:
        mine = [claim for claim in seen.awaiting if claim.node == node]
        if not mine:
            raise Conflict(f"{node} has no history of {seen.spec.name} to pick", "", "hybrid decisions shows who has")
        over = tuple(claim for claim in seen.awaiting if claim != mine[-1])
        return picks.Pick(site=seen.spec.id, claim=mine[-1], over=over, by=by, at_s=int(self._wall_s()))
