"""Finding what a call is about in the view: sites and nodes by name or id, and the node that can answer. Pure."""

from __future__ import annotations

from hybrid.api.names import checked_name, nearest, node_of, short_node, shown, site_reference
from hybrid.api.problems import Refusal, problem
from hybrid.cluster.proving import provers
from hybrid.errors import BadRequest, Conflict, NoSuchSite
from hybrid.model import NodeId, SiteId
from hybrid.view import NodeView, SiteView, View


def site(view: View, reference: str) -> SiteView:
    """
    The site of that name or id.

    Raises:
        BadRequest: No site could be called so.
        NoSuchSite: There is none; names the nearest.
        Conflict: Two sites have the name (made on both sides of a partition); names their ids.
    """
    site_reference(reference)
    by_id = view.sites.get(SiteId(reference))
    if by_id is not None:
        return by_id
    named = [found for found in view.sites.values() if found.spec.name == reference]
    if not named:
        near = nearest(reference, [found.spec.name for found in view.sites.values()])
        raise NoSuchSite(f"there is no site {shown(reference)}", "", near or "`hybrid site list` shows them")
    if len(named) > 1:
        ids = ", ".join(sorted(found.spec.id for found in named))
        raise Conflict(f"{len(named)} sites are called {reference}", "both sides of a partition made one", f"use {ids}")
    return named[0]


def node(view: View, reference: str) -> NodeView:
    """The node of that name or id. Raises `Refusal` (404, with the nearest name) or `BadRequest`."""
    checked_name(reference, "node")
    by_id = view.nodes.get(NodeId(reference))
    found = by_id or next((seen for seen in view.nodes.values() if seen.name == reference), None)
    if found is None:
        near = nearest(reference, [seen.name for seen in view.nodes.values()])
        hint = near or "`hybrid node list` shows them"
        raise Refusal(problem(404, "no-such-node", f"there is no node {shown(reference)}", "", hint))
    return found


def owner(view: View, reference: str) -> NodeId:
    """The node that may change the site. Raises `Refusal` (503) while there is none, and as `site`."""
    found = site(view, reference)
    if found.owner is not None:
        return found.owner
    claimant = found.claim.node if found.claim else None
    if claimant is not None and claimant in view.nodes and view.nodes[claimant].live and claimant in found.holders:
        return claimant
    why = found.trouble or f"it is {found.state}, and no live node owns it at the moment"
    raise Refusal(
        problem(
            503,
            "no-owner",
            f"site {found.spec.name} cannot be changed now",
            why,
            "another node takes it over by itself where one holds it; try again",
            retry_after_s=5,
        )
    )


def holder(view: View, reference: str) -> NodeId:
    """A live node with the site's history: this one if it can, else the owner, else the best replica."""
    holders = site(view, reference).holders
    if not holders:
        return owner(view, reference)
    return view.me if view.me in holders else holders[0]


def prover(view: View, reference: str) -> NodeId:
    """The holder whose turn it is to start its copy of the site. Raises `Conflict` where nobody else holds it."""
    found = site(view, reference)
    able = provers(found, view)
    if not able:
        why = "no other server that is up, with storage that answers, holds a copy"
        raise Conflict(f"site {found.spec.name} cannot be proven now", why, f"hybrid site show {found.spec.name}")
    return able[0]


def operation_node(view: View, operation_id: str) -> NodeId:
    """
    The node that runs (or ran) an operation.

    Raises:
        BadRequest: That is no operation's id.
        Refusal: 404, no node of the cluster made it; 503, the one that did is down.
    """
    short = node_of(operation_id)
    if short is None:
        raise BadRequest(f"{shown(operation_id)} is not an operation's id", "ids are op-<node>-<random>", "")
    found = next((seen for seen in view.nodes.values() if short_node(seen.id) == short), None)
    if found is None:
        raise no_such_operation(operation_id)
    if not found.live and found.id != view.me:
        raise Refusal(
            problem(
                503,
                "node-down",
                f"the node of operation {operation_id} is down",
                f"{found.name} runs it and does not answer; whoever takes its sites over puts them right",
                "look at the site itself; the operation tells how it ended once the node is back",
                operation=operation_id,
                retry_after_s=10,
            )
        )
    return found.id


def no_such_operation(operation_id: str) -> Refusal:
    """404."""
    hint = "`hybrid op list` shows the newest"
    return Refusal(problem(404, "no-such-operation", f"there is no operation {shown(operation_id)}", "", hint))
