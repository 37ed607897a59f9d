"""Endpoints about what holds for sites of which nothing else is said; and their routes. Shell."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.jsonbody import decode
from hybrid.api.parts import Parts
from hybrid.api.routes import Route
from hybrid.api.schema import Body, Retention
from hybrid.defaults import KEY, Defaults
from hybrid.defaults import decode as read
from hybrid.defaults import encode as write
from hybrid.errors import BadRequest
from hybrid.grid import parse


class NewDefaults(Body, frozen=True):
    """Defaults to change; what is left out stays."""

    retention: Retention | UnsetType = UNSET
    bursting: bool | UnsetType = UNSET


async def show_defaults(parts: Parts, call: Call) -> Answer:
    """Those that hold now."""
    return json_answer(read(parts.shared.get(KEY)))


async def change_defaults(parts: Parts, call: Call) -> Answer:
    """Change them for the whole cluster."""
    changes = decode(call.body, NewDefaults)
    given: dict[str, object] = {}
    if changes.retention is not UNSET:
        given["retention"] = str(parse(changes.retention))
    if changes.bursting is not UNSET:
        given["bursting"] = changes.bursting
    if not given:
        raise BadRequest("nothing to change", "the body names no field", 'for example {"retention": "all for 1h"}')
    new = msgspec.structs.replace(read(parts.shared.get(KEY)), **given)
    parts.shared.put(KEY, write(new))
    return json_answer(new)


ROUTES = (
    Route(
        method="GET",
        template="/v1/defaults",
        endpoint=show_defaults,
        summary="What holds for sites of which nothing else is said",
        answer=Defaults,
    ),
    Route(
        method="PATCH",
        template="/v1/defaults",
        endpoint=change_defaults,
        summary="Change what holds for sites of which nothing else is said",
        body=NewDefaults,
        answer=Defaults,
    ),
)
