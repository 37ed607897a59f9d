"""Endpoints about sites as they are now: create, show, change, move, delete, commands, logs. Shell."""

from __future__ import annotations

from typing import get_args

import msgspec
from msgspec import UNSET

from hybrid.api import applications, lookup, render, schema
from hybrid.api.access import seen_by
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.customers import of_account
from hybrid.api.endpoints.pages import page
from hybrid.api.jsonbody import decode
from hybrid.api.moments import rfc3339
from hybrid.api.names import image_reference, nearest, new_site_name, node_name, shown
from hybrid.api.operations import Work
from hybrid.api.parts import Parts
from hybrid.deeds import CreateSite, Progress
from hybrid.errors import BadRequest, Conflict
from hybrid.model import SiteSpec
from hybrid.view import SiteState, SiteView

STATES = get_args(SiteState)


async def list_sites(parts: Parts, call: Call) -> Answer:
    """All sites, by name; filtered by `state` and `node`."""
    view, now_s = parts.view, parts.wall_s()
    state = call.arguments.get("state")
    if state is not None and state not in STATES:
        raise BadRequest(f"?state={shown(state)} is not a state", "one of " + ", ".join(STATES), nearest(state, STATES))
    owner = lookup.node(view, call.arguments["node"]).id if "node" in call.arguments else None
    found = [site for site in seen_by(call.actor, view) if state in (None, site.state) and owner in (None, site.owner)]
    found.sort(key=lambda site: (site.spec.name, site.spec.id))
    return page(parts, schema.Site, [render.site(view, site, now_s) for site in found])


async def show_site(parts: Parts, call: Call) -> Answer:
    """One site."""
    return json_answer(render.site(parts.view, site_of(parts, call), parts.wall_s()))


async def create_site(parts: Parts, call: Call) -> Answer:
    """Make a site on this node: the core has passed the call to the node that shall have it."""
    request, database = of_account(parts, new_site(call.body)), decode(call.body, schema.NewSite).database
    if any(site.spec.name == request.name for site in parts.view.sites.values()):
        raise Conflict(f"there is a site called {request.name} already", "", "choose another name")

    async def work(progress: Progress) -> dict[str, object]:
        spec = await applications.create(parts, request, database, progress)
        return {"site_id": spec.id, "name": spec.name, "domains": list(spec.domains)}

    return begin(parts, call, "create", None, request.name, work)


async def edit_site(parts: Parts, call: Call) -> Answer:
    """Change fields of a site."""
    changes = decode(call.body, schema.SiteChanges)
    given = {name: value for name in changes.__struct_fields__ if (value := getattr(changes, name)) is not UNSET}
    if not given:
        raise BadRequest("nothing to change", "the body names no field", 'for example {"ttl_s": 60}')
    return await changed(parts, call, given)


async def start_site(parts: Parts, call: Call) -> Answer:
    """Have the site run."""
    decode(call.body, schema.Empty)
    return await changed(parts, call, {"wanted": "running"})


async def stop_site(parts: Parts, call: Call) -> Answer:
    """Have the site stopped; its data stays and stays replicated."""
    decode(call.body, schema.Empty)
    return await changed(parts, call, {"wanted": "stopped"})


async def move_site(parts: Parts, call: Call) -> Answer:
    """Hand the site over to another node."""
    site = site_of(parts, call)
    to = lookup.node(parts.view, decode(call.body, schema.MoveTo).to)
    if to.id == parts.view.me:
        raise Conflict(f"site {site.spec.name} is on {to.name} already")
    if not to.live:
        raise Conflict(f"node {to.name} is down", "", "choose a node that is up: `hybrid node list`")

    async def work(progress: Progress) -> dict[str, object]:
        await parts.hosting.move(site.spec.id, to.id, progress)
        return {"owner": to.name}

    return begin(parts, call, "move", site, site.spec.name, work)


async def delete_site(parts: Parts, call: Call) -> Answer:
    """Stop the site and put its data into the trash."""
    site = site_of(parts, call)

    async def work(progress: Progress) -> dict[str, object]:
        await parts.hosting.delete(site.spec.id, progress)
        return {}

    return begin(parts, call, "delete", site, site.spec.name, work)


async def execute(parts: Parts, call: Call) -> Answer:
    """Run a command in the site's container."""
    site = site_of(parts, call)
    command = decode(call.body, schema.Command)
    if any("\0" in word for word in command.argv):
        raise BadRequest("a word of argv contains a NUL", "no program can be given one")
    executed = await parts.hosting.execute(site.spec.id, command.argv, command.stdin.encode("utf-8", "replace"))
    return json_answer(render.command_result(executed))


async def show_log(parts: Parts, call: Call) -> Answer:
    """The end of the site's console log."""
    site = site_of(parts, call)
    view = parts.view
    text = await parts.hosting.logs(site.spec.id, call.argument_int("lines", 200, 1, 10_000))
    from_node = node_name(view, view.me)
    return json_answer(schema.Log(text=text, as_of=rfc3339(parts.wall_s()), from_node=from_node))


def new_site(body: bytes) -> CreateSite:
    """The request in a body. Raises `BadRequest`."""
    wanted = decode(body, schema.NewSite)
    new_site_name(wanted.name)
    image_reference(wanted.image)
    if wanted.database is not None:
        image_reference(wanted.database)
    fields = {name: value for name, value in msgspec.structs.asdict(wanted).items() if name != "database"}
    return CreateSite(**fields)


def site_of(parts: Parts, call: Call) -> SiteView:
    """The site a call is about."""
    return lookup.site(parts.view, call.params["site"])


def begin(parts: Parts, call: Call, kind: str, site: SiteView | None, subject: str, work: Work) -> Answer:
    """Begin an operation and answer 202 with it."""
    site_id = site.spec.id if site else None
    begun = parts.operations.start(kind, subject, site_id, call.actor.name, work, call.key)
    return json_answer(begun, 202, {"location": f"/v1/operations/{begun.id}"})


async def changed(parts: Parts, call: Call, changes: dict[str, object]) -> Answer:
    """Change the spec, unless an operation is at work on the site; answers with the site as it will be."""
    site = site_of(parts, call)
    parts.operations.refuse_if_busy(site.spec.id, site.spec.name)
    spec: SiteSpec = await parts.hosting.edit(site.spec.id, changes)
    view = parts.view
    now = msgspec.structs.replace(view.sites.get(spec.id, site), spec=spec)
    return json_answer(render.site(view, now, parts.wall_s()))
