"""
Decides, from the view, which sites are owned here and who should hold copies of them. Pure.

The view changes many times a second, mostly in what does not matter here: what was concluded from a site's view stands
until that or the set of usable nodes changes, and is gone through as a whole now and then.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from hybrid.leaves import unlike
from hybrid.model import Claim, NodeId, SiteId, SiteSpec
from hybrid.view import NodeView, SiteView, View
from hybrid_replicator.ports import Targets

AGAIN_S = 30.0
"""Targets may also depend on what the view does not show: they are asked for again after so long."""


class Duty(msgspec.Struct, frozen=True):
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
        self._sites: Mapping[SiteId, SiteView] = {}
        self._known: dict[SiteId, tuple[SiteView, Duty]] = {}
        self._seen: Mapping[NodeId, NodeView] = {}
        self._nodes: dict[NodeId, tuple[bool, bool, str]] = {}
        self._asked_s = float("-inf")

    def follow(self, view: View, now_s: float) -> dict[SiteId, tuple[Duty, bool]]:
        """
        What this node has to do.

        Returns:
            Per site owned here its duty, and whether it is serving, so that its data may change.
        """
        changed, gone = unlike(view.sites, self._sites)
        self._sites = view.sites
        for site in (*gone, *changed):
            self._known.pop(site, None)
        nodes = self._nodes
        if view.nodes is not self._seen:
            self._seen = view.nodes
            nodes = {node.id: (node.live, node.storage_ok, node.dc) for node in view.nodes.values()}
        if nodes != self._nodes or now_s - self._asked_s >= AGAIN_S:
            self._nodes, self._asked_s = nodes, now_s
            changed = {site: seen for site, (seen, _) in self._known.items()} | changed
        for site, seen in changed.items():
            if seen.owner == self._me and seen.claim is not None:
                self._known[site] = seen, self._duty(seen, seen.claim)
        return {site: (duty, seen.state == "serving") for site, (seen, duty) in self._known.items()}

    def _duty(self, seen: SiteView, claim: Claim) -> Duty:
        targets = self._targets(seen)
        return Duty(seen.spec, claim, targets, frozenset(targets).difference(seen.holders, seen.away))
