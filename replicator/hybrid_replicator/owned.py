"""
Decides, from the view, which sites are owned here and who should hold copies of them. Pure.

The view changes many times a second, mostly in what does not matter here: what was concluded from a site's view stands
until that or the set of usable nodes changes, and is gone through as a whole now and then.
"""

from __future__ import annotations

from dataclasses import dataclass

from hybrid.model import Claim, NodeId, SiteId, SiteSpec
from hybrid.view import SiteView, View
from hybrid_replicator.ports import Targets

AGAIN_S = 30.0
"""Targets may also depend on what the view does not show: they are asked for again after so long."""


@dataclass(frozen=True, slots=True)
class Duty:
    """A site owned here: under which claim, and which peers should hold it."""

    spec: SiteSpec
    claim: Claim
    targets: tuple[NodeId, ...]
    new: frozenset[NodeId] = frozenset()
    """Targets that hold nothing of it yet: they get a whole copy."""


class Owned:
    """The sites owned here."""

    def __init__(self, me: NodeId, targets: Targets) -> None:
        self._me, self._targets = me, targets
        self._known: dict[SiteId, tuple[SiteView, Duty]] = {}
        self._nodes: dict[NodeId, tuple[bool, bool, str]] = {}
        self._asked_s = float("-inf")

    def follow(self, view: View, now_s: float) -> dict[SiteId, tuple[Duty, bool]]:
        """
        What this node has to do.

        Returns:
            Per site owned here its duty, and whether it is serving, so that its data may change.
        """
        nodes = {node.id: (node.live, node.storage_ok, node.dc) for node in view.nodes.values()}
        if nodes != self._nodes or now_s - self._asked_s >= AGAIN_S:
            self._nodes, self._asked_s = nodes, now_s
            self._known.clear()
        self._known = {
            site: self._entry(seen, seen.claim)
            for site, seen in view.sites.items()
            if seen.owner == self._me and seen.claim is not None
        }
        return {site: (duty, seen.state == "serving") for site, (seen, duty) in self._known.items()}

    def _entry(self, seen: SiteView, claim: Claim) -> tuple[SiteView, Duty]:
        known = self._known.get(seen.spec.id)
        if known is not None and (known[0] is seen or known[0] == seen):
            return known
        targets = self._targets(seen)
        new = frozenset(targets).difference(seen.holders, seen.away)
        return seen, Duty(seen.spec, claim, targets, new)
