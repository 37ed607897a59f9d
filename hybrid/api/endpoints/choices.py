"""Endpoints for what only a person can decide: decisions, picks, deleted sites. Shell; any node answers."""

from __future__ import annotations

from hybrid.api import lookup, render, schema
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.endpoints.pages import page
from hybrid.api.endpoints.sites import site_of
from hybrid.api.jsonbody import decode
from hybrid.api.names import shown, site_reference
from hybrid.api.parts import Parts
from hybrid.deeds import Deleted
from hybrid.errors import Conflict, NoSuchSite


async def list_decisions(parts: Parts, call: Call) -> Answer:
    """What waits for a person, most urgent first."""
    return page(parts, schema.Decision, [render.decision(wanted) for wanted in parts.hosting.decisions()])


async def pick_history(parts: Parts, call: Call) -> Answer:
    """Choose whose history goes on."""
    site, view = site_of(parts, call), parts.view
    node = lookup.node(view, decode(call.body, schema.PickOf).node)
    parts.hosting.pick(site.spec.id, node.id, call.actor.name)
    return json_answer(render.site(view, site, parts.wall_s()))


async def list_deleted(parts: Parts, call: Call) -> Answer:
    """Sites that can be brought back, newest deletion first."""
    view = parts.view
    return page(parts, schema.DeletedSite, [render.deleted(view, site) for site in parts.hosting.deleted()])


async def undelete_site(parts: Parts, call: Call) -> Answer:
    """Bring a deleted site back, or keep one that was deleted elsewhere."""
    decode(call.body, schema.Empty)
    found = _deleted(parts, call.params["site"])
    parts.hosting.undelete(found.site, call.actor.name)
    return json_answer(render.deleted(parts.view, found), 202)


def _deleted(parts: Parts, reference: str) -> Deleted:
    """The deleted site of that name or id; of several with one name, say which."""
    site_reference(reference)
    found = [site for site in parts.hosting.deleted() if reference in (site.site, site.name)]
    if not found:
        hint = "`hybrid site deleted` shows them"
        raise NoSuchSite(f"no site {shown(reference)} is in the trash", "it may have been destroyed already", hint)
    if len(found) > 1:
        ids = ", ".join(site.site for site in found)
        raise Conflict(f"{len(found)} sites called {reference} were deleted", "", f"use {ids}")
    return found[0]
