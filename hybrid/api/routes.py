"""What a route is: method, template, endpoint, and the schema of what goes in and out. Pure declarations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from hybrid.api.calls import Answer, Call
from hybrid.api.parts import Parts

SITE = "/v1/sites/{site}"
Endpoint = Callable[[Parts, Call], Awaitable[Answer]]
At = Literal["here", "owner", "holder", "moment", "prover", "group", "operation", "place", "named", "node"]
"""
Which node answers. `here`: any, from its own view. `owner`: the site's owner. `holder`: any with its history. `moment`:
the owner, or whoever else has the snapshot or stash it is about. `prover`: the holder whose turn it is to start its
copy. `group`: the owner of a group's first site. `operation`: the node that runs it. `place`: the first owner of a site
to be made. `named`: the one in `?node=`, else any. `node`: the one in the path.
"""


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter of the query."""

    name: str
    description: str
    kind: Literal["string", "integer"] = "string"
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    template: str
    endpoint: Endpoint
    summary: str
    answer: object
    """The type of the JSON answer; `bytes` for raw content, `dict` for free-form JSON."""
    status: int = 200
    body: type[msgspec.Struct] | None = None
    query: tuple[Query, ...] = ()
    at: At = "here"
    public: bool = False
    """Needs no token."""
    for_tenants: bool = False
    """Also for who is bound to a site, as far as it is about that site. See `hybrid.api.access`."""
    deadline_s: float = 30.0
    """How long another node may take to answer when the call is passed on."""

    @property
    def known_arguments(self) -> frozenset[str]:
        """Names of the query's parameters."""
        return frozenset(parameter.name for parameter in self.query)
