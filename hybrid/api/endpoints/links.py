"""
Single sign-on: a link that lets its holder see one site for a while. Shell.

A panel asks for it as an operator and sends its customer's browser there. The ticket in it is good for a minute, once,
on any node; for it the browser gets a token of its own, bound to that site, which ends by itself.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.endpoints.sites import site_of
from hybrid.api.jsonbody import decode
from hybrid.api.moments import rfc3339
from hybrid.api.parts import Parts
from hybrid.api.routes import SITE, Route
from hybrid.api.schema import Body

TICKET_S = 60
SESSION_S = 8 * 3600


class NewLink(Body, frozen=True):
    """A link for one person."""

    name: Annotated[str, Meta(max_length=64, pattern="^[^\\x00-\\x1f]*$")] = ""
    """Who it is for, as operations will name them."""


class LinkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Shown once."""

    url: str
    expires_at: str


async def make_link(parts: Parts, call: Call) -> Answer:
    """A link to a site's time machine, for one person."""
    wanted = decode(call.body, NewLink)
    site = site_of(parts, call)
    return json_answer(link_for(parts, wanted.name or "link", site=site.spec.id), 201)


def link_for(parts: Parts, name: str, site: str = "", account: str = "") -> LinkAnswer:
    """A link for `name` to one site, or to all of an account."""
    parts.tokens.tidy()
    ticket = parts.tokens.create(name, "ticket", site, account, TICKET_S).token
    me = parts.view.nodes[parts.view.me]
    url = f"https://{me.address}:{me.api_port}/enter?ticket={ticket}"
    return LinkAnswer(url=url, expires_at=rfc3339(parts.wall_s() + TICKET_S))


ROUTES = (
    Route(
        method="POST",
        template=f"{SITE}/links",
        endpoint=make_link,
        summary="A link to the time machine of a site for one person: good for a minute, once, on any node",
        body=NewLink,
        answer=LinkAnswer,
        status=201,
    ),
)
