"""Which nodes can answer a call, best first. Pure."""

from __future__ import annotations

from typing import assert_never

from hybrid.api import lookup
from hybrid.api.calls import Call
from hybrid.api.endpoints.sites import new_site
from hybrid.api.parts import Parts
from hybrid.api.problems import Refusal, problem
from hybrid.api.routes import Route
from hybrid.model import NodeId
from hybrid.view import NodeView, View


def destinations(parts: Parts, route: Route, call: Call) -> list[NodeId]:
    """
    Nodes to try in turn until one does not answer 404; never empty.

    Raises:
        HybridError, Refusal: What the call is about does not exist, or nobody can answer it now.
    """
    view, at = parts.view, route.at
    match at:
        case "here":
            return [view.me]
        case "owner":
            return [lookup.owner(view, call.params["site"])]
        case "holder":
            return [lookup.holder(view, call.params["site"])]
        case "moment":
            return [view.me] if call.passed_on else _nodes_with_moment(view, call.params["site"])
        case "prover":
            return [view.me if call.passed_on else lookup.prover(view, call.params["site"])]
        case "group":
            return [lookup.owner(view, parts.groups.find(call.params["group"]).sites[0])]
        case "operation":
            return [lookup.operation_node(view, call.params["operation"])]
        case "place":
            return [view.me if call.passed_on else parts.placement(view, new_site(call.body))]
        case "named":
            return [_named(view, call)]
        case "node":
            return [_up(view, lookup.node(view, call.params["node"]))]
        case _:
            assert_never(at)


def moved_on(parts: Parts, call: Call) -> Refusal:
    """A passed-on call came to the wrong node: its owner changed under way. It is never passed on twice."""
    name = parts.view.nodes[parts.view.me].name if parts.view.me in parts.view.nodes else parts.view.me
    return Refusal(
        problem(
            503,
            "owner-changed",
            "the owner of the site changed while the call was on its way",
            f"{name} does not own it (any more)",
            "try again",
            retry_after_s=1,
        )
    )


def _named(view: View, call: Call) -> NodeId:
    """The node in `?node=`, if it is up."""
    reference = call.arguments.get("node")
    if reference is None:
        return view.me
    return _up(view, lookup.node(view, reference))


def _up(view: View, seen: NodeView) -> NodeId:
    """A node, if it is up."""
    if not seen.live and seen.id != view.me:
        raise Refusal(problem(503, "node-down", f"node {seen.name} is down", "", "", retry_after_s=10))
    return seen.id


def _nodes_with_moment(view: View, reference: str) -> list[NodeId]:
    """Live nodes, those likelier to hold a moment first: the owner, this one, the holders, for stashes all others."""
    site = lookup.site(view, reference)
    live = [seen.id for seen in view.nodes.values() if seen.live]
    likely = [*([site.owner] if site.owner else []), *([view.me] if view.me in site.holders else []), *site.holders]
    others = sorted(live) if site.stashes else []
    return list(dict.fromkeys([*(node for node in likely if node in live), *others])) or [view.me]
