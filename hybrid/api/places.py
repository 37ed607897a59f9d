"""Default placement of a new site, where the caller did not name a node. Pure."""

from __future__ import annotations

from hybrid.api import lookup
from hybrid.model import NodeId
from hybrid.ports import Conflict, CreateSite
from hybrid.view import NodeView, View


def first_owner(view: View, request: CreateSite) -> NodeId:
    """
    The node asked for, else the one with the fewest sites; among equals the emptiest pool, this node first.

    Raises:
        Conflict: The node asked for is down, or no node can take a site.
    """
    if request.node is not None:
        asked = lookup.node(view, request.node)
        if not asked.live:
            raise Conflict(f"node {asked.name} is down", "", "leave the node out to have the best one chosen")
        return asked.id
    able = [seen for seen in view.nodes.values() if seen.live and seen.storage_ok]
    if not able:
        raise Conflict("no node can take a site now", "none is up with working storage", "`hybrid status` tells more")
    owned: dict[NodeId, int] = {}
    for site in view.sites.values():
        if site.owner is not None:
            owned[site.owner] = owned.get(site.owner, 0) + 1

    def order(seen: NodeView) -> tuple[int, int, bool, str]:
        return owned.get(seen.id, 0), -seen.free_bytes, seen.id != view.me, seen.id

    return min(able, key=order).id
