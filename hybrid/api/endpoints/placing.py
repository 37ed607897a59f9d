"""Endpoints about where sites are and why; and their routes. Shell."""

from __future__ import annotations

from hybrid.api import lookup, placing, schema
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.endpoints.sites import begin, site_of
from hybrid.api.jsonbody import decode
from hybrid.api.parts import Parts
from hybrid.api.routes import SITE, Route
from hybrid.deeds import Progress
from hybrid.errors import Conflict


async def show_why(parts: Parts, call: Call) -> Answer:
    """Why a site is where it is, as its owner knows it."""
    site = site_of(parts, call)
    return json_answer(placing.why(parts.view, site, parts.placing.why(site.spec.id), parts.wall_s()))


async def show_drain(parts: Parts, call: Call) -> Answer:
    """What draining this node would mean."""
    return json_answer(placing.drain(parts.view, parts.placing.plan(), parts.wall_s()))


async def drain_node(parts: Parts, call: Call) -> Answer:
    """Have this node own nothing; the core has passed the call to the node it is about."""
    decode(call.body, schema.Empty)
    name = lookup.node(parts.view, call.params["node"]).name
    planned = placing.drain(parts.view, parts.placing.plan(), parts.wall_s())
    if planned.stuck:
        why = "; ".join(f"{one.site}: {one.why}" for one in planned.stuck[:5])
        raise Conflict(f"{name} cannot be drained", why, f"`hybrid node drain {name} --plan` shows all of it")

    async def work(progress: Progress) -> dict[str, object]:
        return {"moved": await parts.placing.drain(call.actor.name, progress)}

    return begin(parts, call, "drain", None, name, work)


async def resume_node(parts: Parts, call: Call) -> Answer:
    """Let a node own sites again; calls a drain off that is under way."""
    decode(call.body, schema.Empty)
    parts.placing.resume(lookup.node(parts.view, call.params["node"]).id)
    return Answer(204)


ROUTES = (
    Route(
        method="GET",
        template="/v1/nodes/{node}/drain",
        endpoint=show_drain,
        summary="What draining a node would mean: where its sites would go, and how long it may take",
        answer=placing.DrainAnswer,
        at="node",
    ),
    Route(
        method="POST",
        template="/v1/nodes/{node}/drain",
        endpoint=drain_node,
        summary="Move all sites away from a node, and have it own none until it is resumed; it goes on holding copies",
        body=schema.Empty,
        answer=schema.Operation,
        status=202,
        at="node",
    ),
    Route(
        method="POST",
        template="/v1/nodes/{node}/resume",
        endpoint=resume_node,
        summary="Let a drained node own sites again; calls a drain off that is under way",
        body=schema.Empty,
        answer=None,
        status=204,
    ),
    Route(
        method="GET",
        template=f"{SITE}/why",
        endpoint=show_why,
        summary="Why a site is where it is: its last moves, its load, and what speaks against other nodes",
        answer=placing.WhyAnswer,
        at="owner",
    ),
)
