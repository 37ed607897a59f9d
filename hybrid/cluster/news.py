"""What each link has still to carry: names of registers, in the order in which they changed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from hybrid.model import NodeId, SiteId

AT_ONCE = 2000
"""Registers of sites in one message; the rest waits for the next message. Keeps frames far below the limit."""
SHARED_AT_ONCE = 200
"""The same for shared values, which may be larger (zones, certificates)."""

Name = TypeVar("Name")


@dataclass(slots=True)
class Pending:
    """Names, oldest change first (dicts as ordered sets)."""

    sites: dict[tuple[NodeId, SiteId], None] = field(default_factory=dict)
    copies: dict[tuple[NodeId, SiteId], None] = field(default_factory=dict)
    nodes: dict[NodeId, None] = field(default_factory=dict)
    shared: dict[str, None] = field(default_factory=dict)


Everything = Callable[[], Pending]


class News:
    """For each peer what changed since it was last told; a name at most once, however often it changed."""

    def __init__(self) -> None:
        self._pending: dict[NodeId, Pending] = {}

    def site(self, node: NodeId, site: SiteId, told_by: NodeId | None = None) -> None:
        """`node`'s word about `site` changed; `told_by` said so and need not hear it."""
        for peer, pending in self._pending.items():
            if peer != told_by:
                pending.sites[node, site] = None

    def copy(self, node: NodeId, site: SiteId, audience: Iterable[NodeId], told_by: NodeId | None = None) -> None:
        """`node`'s copy of `site` changed, which concerns `audience`."""
        for peer in audience:
            if peer != told_by and peer in self._pending:
                self._pending[peer].copies[node, site] = None

    def node(self, node: NodeId, told_by: NodeId | None = None) -> None:
        """`node`'s word about itself changed."""
        for peer, pending in self._pending.items():
            if peer != told_by:
                pending.nodes[node] = None

    def shared(self, key: str, told_by: NodeId | None = None) -> None:
        """A shared value changed."""
        for peer, pending in self._pending.items():
            if peer != told_by:
                pending.shared[key] = None

    def take(self, peer: NodeId, everything: Everything) -> Pending:
        """What to tell `peer` now; taken as told. `everything` names all there is, for a peer never told."""
        pending = self._pending.get(peer)
        if pending is None:
            pending = everything()
        sites, sites_left = _split(pending.sites, AT_ONCE)
        copies, copies_left = _split(pending.copies, AT_ONCE)
        shared, shared_left = _split(pending.shared, SHARED_AT_ONCE)
        self._pending[peer] = Pending(sites=sites_left, copies=copies_left, shared=shared_left)
        return Pending(sites, copies, pending.nodes, shared)

    def forget(self, peer: NodeId) -> None:
        """All is news to `peer` again."""
        self._pending.pop(peer, None)


def _split(names: dict[Name, None], count: int) -> tuple[dict[Name, None], dict[Name, None]]:
    """The first `count` of `names`, and the others."""
    if len(names) <= count:
        return names, {}
    return dict.fromkeys(islice(names, count)), dict.fromkeys(islice(names, count, None))
