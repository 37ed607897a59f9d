"""Endpoints that give the cluster's configuration away whole, and take one in. Shell."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.jsonbody import decode
from hybrid.api.parts import Parts
from hybrid.api.routes import Route
from hybrid.api.schema import Body
from hybrid.configuration import Configuration, current, kept_values

MAX_VALUES = 100_000


class ConfigurationIn(Body, frozen=True):
    """An exported configuration, and what to do where this cluster says otherwise."""

    values: Annotated[dict[str, str], Meta(max_length=MAX_VALUES)]
    overwrite: bool = False


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the values of a configuration that was taken in."""

    added: tuple[str, ...]
    replaced: tuple[str, ...]
    differing: tuple[str, ...]
    """This cluster says otherwise, and goes on doing so."""
    same: int


async def export(parts: Parts, call: Call) -> Answer:
    """All of it, secrets too."""
    return json_answer(current(parts.about, parts.view, parts.shared.prefix("")))


async def take_in(parts: Parts, call: Call) -> Answer:
    """Add what is not here; replace what is different only if asked to."""
    body = decode(call.body, ConfigurationIn)
    shared, values = parts.shared.prefix(""), kept_values(body.values)
    added = tuple(key for key in values if key not in shared)
    differing = tuple(key for key, value in values.items() if shared.get(key, value) != value)
    replaced = differing if body.overwrite else ()
    for key in (*added, *replaced):
        parts.shared.put(key, values[key])
    left = () if body.overwrite else differing
    same = len(values) - len(added) - len(differing)
    return json_answer(Imported(added=added, replaced=replaced, differing=left, same=same))


ROUTES = (
    Route(
        method="POST",
        template="/v1/cluster/configuration/export",
        endpoint=export,
        summary="The whole configuration of the cluster but its sites, with its secrets",
        answer=Configuration,
    ),
    Route(
        method="POST",
        template="/v1/cluster/configuration/import",
        endpoint=take_in,
        summary="Take in an exported configuration: what is not here is added, what is different is left or replaced",
        body=ConfigurationIn,
        answer=Imported,
    ),
)
