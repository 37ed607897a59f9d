"""The first owner of a new site: the one asked for, else the best. Pure."""

from __future__ import annotations

from hybrid.api import lookup
from hybrid.cluster import placement
from hybrid.deeds import CreateSite
from hybrid.errors import Conflict
from hybrid.model import NodeId
from hybrid.view import View


def first_owner(view: View, request: CreateSite) -> NodeId:
    """
    The node in `request`, else the one `hybrid.cluster.placement` finds best.

    Raises:
        Refusal: 404, there is no node of that name or id.
        Conflict: It is down, or no node can take a site now.
    """
    if request.node is not None:
        asked = lookup.node(view, request.node)
        if not asked.live:
            raise Conflict(f"node {asked.name} is down", "", "leave the node out to have the best one chosen")
        return asked.id
    if not any(seen.live and seen.storage_ok for seen in view.nodes.values()):
        raise Conflict("no node can take a site now", "none is up with working storage", "`hybrid status` tells more")
    return placement.first_owner(view)
