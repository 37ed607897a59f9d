"""Endpoints about consistency groups: sites whose moments belong together. Shell."""

from __future__ import annotations

from hybrid.api import lookup, moments, pastrender, pastschema, schema
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.endpoints.pages import page
from hybrid.api.groups import GroupAnswer, GroupTo, NewGroup, shown
from hybrid.api.jsonbody import decode
from hybrid.api.operations import Work
from hybrid.api.parts import Parts
from hybrid.api.routes import Route
from hybrid.deeds import Progress
from hybrid.view import SiteView

GROUP = "/v1/groups/{group}"


async def list_groups(parts: Parts, call: Call) -> Answer:
    """All of them, by name."""
    view = parts.view
    return page(parts, GroupAnswer, [shown(view, group) for group in parts.groups.all()])


async def create_group(parts: Parts, call: Call) -> Answer:
    """Make one."""
    wanted, view = decode(call.body, NewGroup), parts.view
    sites = [lookup.site(view, reference).spec.id for reference in wanted.sites]
    return json_answer(shown(view, parts.groups.create(wanted.name, sites, wanted.every_s)), 201)


async def delete_group(parts: Parts, call: Call) -> Answer:
    """Let its sites go their own ways; they stay as they are."""
    parts.groups.delete(call.params["group"])
    return Answer(204, b"", {})


async def list_group_moments(parts: Parts, call: Call) -> Answer:
    """Instants that all its sites can go back to, newest first."""
    now_s, lead, found = parts.wall_s(), _lead(parts, call), parts.groups.moments(call.params["group"])
    return page(parts, pastschema.SnapshotAnswer, [pastrender.snapshot(lead, one, now_s) for one in reversed(found)])


async def snapshot_group(parts: Parts, call: Call) -> Answer:
    """One of all in one instant."""
    decode(call.body, schema.Empty)
    taken = await parts.groups.snapshot(call.params["group"])
    return json_answer(pastrender.snapshot(_lead(parts, call), taken, parts.wall_s()), 201)


async def roll_back_group(parts: Parts, call: Call) -> Answer:
    """Make all as they were, or none."""
    name, text = call.params["group"], decode(call.body, GroupTo).to
    to = moments.find(tuple(parts.groups.moments(name)), moments.parse(text), parts.wall_s())

    async def work(progress: Progress) -> dict[str, object]:
        stashes = await parts.groups.rollback(name, to.name, progress)
        return {"snapshot": to.name, "stashes": [stash.id for stash in stashes]}

    return _begun(parts, call, "rollback", work)


async def undo_group(parts: Parts, call: Call) -> Answer:
    """Undo the newest roll-back (or undo) of all."""
    decode(call.body, schema.Empty)
    name = call.params["group"]

    async def work(progress: Progress) -> dict[str, object]:
        return {"stashes": [stash.id for stash in await parts.groups.undo(name, progress)]}

    return _begun(parts, call, "undo", work)


def _lead(parts: Parts, call: Call) -> SiteView:
    """The first site of the group."""
    return lookup.site(parts.view, parts.groups.find(call.params["group"]).sites[0])


def _begun(parts: Parts, call: Call, kind: str, work: Work) -> Answer:
    begun = parts.operations.start(kind, f"group {call.params['group']}", None, call.actor.name, work, call.key)
    return json_answer(begun, 202, {"location": f"/v1/operations/{begun.id}"})


ROUTES = (
    Route(
        method="GET",
        template="/v1/groups",
        endpoint=list_groups,
        summary="Groups of sites whose moments belong together",
        answer=schema.Page[GroupAnswer],
    ),
    Route(
        method="POST",
        template="/v1/groups",
        endpoint=create_group,
        summary="Have sites snapshotted in one instant, and kept on one node for that",
        body=NewGroup,
        answer=GroupAnswer,
        status=201,
    ),
    Route(
        method="DELETE",
        template=GROUP,
        endpoint=delete_group,
        summary="Let the sites of a group go their own ways",
        answer=None,
        status=204,
    ),
    Route(
        method="GET",
        template=f"{GROUP}/snapshots",
        endpoint=list_group_moments,
        summary="Instants that all sites of a group can go back to, newest first",
        answer=schema.Page[pastschema.SnapshotAnswer],
        at="group",
    ),
    Route(
        method="POST",
        template=f"{GROUP}/snapshots",
        endpoint=snapshot_group,
        summary="Snapshot all sites of a group in one instant",
        body=schema.Empty,
        answer=pastschema.SnapshotAnswer,
        status=201,
        at="group",
        deadline_s=60.0,
    ),
    Route(
        method="POST",
        template=f"{GROUP}/rollback",
        endpoint=roll_back_group,
        summary="Make all sites of a group as they were at one instant, or none; what came after is kept",
        body=GroupTo,
        answer=schema.Operation,
        status=202,
        at="group",
    ),
    Route(
        method="POST",
        template=f"{GROUP}/undo",
        endpoint=undo_group,
        summary="Undo the newest rollback (or undo) of a group",
        body=schema.Empty,
        answer=schema.Operation,
        status=202,
        at="group",
    ),
)
