"""The endpoint that tells how to log in to what runs in a site, such as a database. Shell."""

from __future__ import annotations

import msgspec

from hybrid.api import applications, schema
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.endpoints.sites import site_of
from hybrid.api.jsonbody import decode
from hybrid.api.parts import Parts
from hybrid.api.routes import Route


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """How to log in; empty where there is nothing to log in to."""

    values: dict[str, str]
    """Such as `user`, `password`, `database`."""


async def read_credentials(parts: Parts, call: Call) -> Answer:
    """A POST, so that who may only read cannot."""
    decode(call.body, schema.Empty)
    found = await applications.credentials(parts, site_of(parts, call).spec.id)
    return json_answer(Credentials(values=found)).with_headers(cache_control="no-store")


ROUTES = (
    Route(
        method="POST",
        template="/v1/sites/{site}/credentials",
        endpoint=read_credentials,
        summary="How to log in to what runs in a site, such as its database's password; kept in its data only",
        body=schema.Empty,
        answer=Credentials,
        at="owner",
        deadline_s=75.0,
    ),
)
