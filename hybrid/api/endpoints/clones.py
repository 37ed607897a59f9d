"""Endpoints about clones of sites: make one, have it share nothing any more. Shell."""

from __future__ import annotations

import re

from hybrid.api import schema
from hybrid.api.calls import Answer, Call
from hybrid.api.clones import NewClone
from hybrid.api.endpoints.history import moment_of
from hybrid.api.endpoints.sites import begin, site_of
from hybrid.api.jsonbody import decode
from hybrid.api.names import new_site_name, shown
from hybrid.api.parts import Parts
from hybrid.api.routes import Route
from hybrid.deeds import CloneSite, Progress
from hybrid.errors import BadRequest, Conflict

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


async def clone_site(parts: Parts, call: Call) -> Answer:
    """Make a site that begins as this one is, or was."""
    site = site_of(parts, call)
    wanted = decode(call.body, NewClone)
    new_site_name(wanted.name)
    odd = next((name for name in wanted.environment if not _VARIABLE.fullmatch(name)), None)
    if odd is not None:
        raise BadRequest(f"{shown(odd)} cannot be the name of a variable", "", "use A-Z a-z 0-9 and _")
    if any(other.spec.name == wanted.name for other in parts.view.sites.values()):
        raise Conflict(f"there is a site called {wanted.name} already", "", "choose another name")
    request = CloneSite(
        name=wanted.name,
        domains=wanted.domains,
        at=moment_of(parts, site, wanted.at).guid if wanted.at is not None else None,
        copies=wanted.copies,
        environment=wanted.environment,
    )

    async def work(progress: Progress) -> dict[str, object]:
        spec = await parts.hosting.clone(site.spec.id, request, progress)
        return {"site_id": spec.id, "name": spec.name, "domains": list(spec.domains)}

    return begin(parts, call, "clone", None, wanted.name, work)


async def detach_site(parts: Parts, call: Call) -> Answer:
    """Have a clone share nothing any more with the site it was made from."""
    decode(call.body, schema.Empty)
    site = site_of(parts, call)

    async def work(progress: Progress) -> dict[str, object]:
        await parts.hosting.detach(site.spec.id, progress)
        return {}

    return begin(parts, call, "detach", site, site.spec.name, work)


ROUTES = (
    Route(
        method="POST",
        template="/v1/sites/{site}/clone",
        endpoint=clone_site,
        summary="Make a site that begins as this one is, or was, and shares with it what neither changes",
        body=NewClone,
        answer=schema.Operation,
        status=202,
        at="owner",
    ),
    Route(
        method="POST",
        template="/v1/sites/{site}/detach",
        endpoint=detach_site,
        summary="Have a clone share nothing any more with the site it was made from; it is served meanwhile",
        body=schema.Empty,
        answer=schema.Operation,
        status=202,
        at="owner",
    ),
)
