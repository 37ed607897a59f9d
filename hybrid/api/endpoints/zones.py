"""Endpoints about DNS zones and records; and their routes. Shell."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.endpoints.pages import page
from hybrid.api.jsonbody import decode
from hybrid.api.parts import Parts
from hybrid.api.routes import Query, Route
from hybrid.api.schema import Body, Page
from hybrid.dns_deeds import Edit, Imported, KeySeen, NewKey, RecordSeen, ZoneChanges, ZoneSeen

ZONE = "/v1/dns/zones/{zone}"
Name = Annotated[str, Meta(min_length=1, max_length=255)]


class NewZone(Body, frozen=True):
    """A zone to make."""

    name: Name


class Edits(Body, frozen=True):
    """Changes of RRsets, all or none."""

    edits: Annotated[tuple[Edit, ...], Meta(min_length=1, max_length=1000)]


class Edited(msgspec.Struct, frozen=True):
    """How many RRsets are others than before."""

    changed: int


class ZoneText(Body, frozen=True):
    """A zone file."""

    text: str


class ZoneTextAnswer(msgspec.Struct, frozen=True):
    """A zone file."""

    text: str


async def list_zones(parts: Parts, call: Call) -> Answer:
    """All zones, by name."""
    return page(parts, ZoneSeen, parts.dns.zones())


async def show_zone(parts: Parts, call: Call) -> Answer:
    """One zone."""
    return json_answer(parts.dns.zone(call.params["zone"]))


async def create_zone(parts: Parts, call: Call) -> Answer:
    """Make a zone."""
    return json_answer(parts.dns.create(decode(call.body, NewZone).name), 201)


async def change_zone(parts: Parts, call: Call) -> Answer:
    """Change who else serves a zone."""
    return json_answer(parts.dns.change(call.params["zone"], decode(call.body, ZoneChanges)))


async def remove_zone(parts: Parts, call: Call) -> Answer:
    """Remove a zone and the records in it."""
    parts.dns.remove(call.params["zone"])
    return Answer(204)


async def list_records(parts: Parts, call: Call) -> Answer:
    """What is answered in a zone."""
    name, kind = call.arguments.get("name"), call.arguments.get("type")
    found = [
        one
        for one in parts.dns.records(call.params["zone"])
        if (name is None or one.name == name.lower().rstrip(".")) and (kind is None or one.type == kind.upper())
    ]
    return page(parts, RecordSeen, found)


async def edit_records(parts: Parts, call: Call) -> Answer:
    """Change RRsets."""
    return json_answer(Edited(parts.dns.edit(call.params["zone"], decode(call.body, Edits).edits)))


async def export_zone(parts: Parts, call: Call) -> Answer:
    """A zone as a zone file."""
    return json_answer(ZoneTextAnswer(parts.dns.export(call.params["zone"])))


async def import_zone(parts: Parts, call: Call) -> Answer:
    """Take the records of a zone file."""
    return json_answer(parts.dns.load(call.params["zone"], decode(call.body, ZoneText).text))


class KeyAdded(KeySeen, frozen=True, kw_only=True):
    """A new key, and once its secret."""

    secret: str


async def list_keys(parts: Parts, call: Call) -> Answer:
    """All keys, without their secrets."""
    return page(parts, KeySeen, parts.dns.keys.all())


async def add_key(parts: Parts, call: Call) -> Answer:
    """Make a key."""
    seen, secret = parts.dns.keys.add(decode(call.body, NewKey))
    return json_answer(KeyAdded(**msgspec.structs.asdict(seen), secret=secret), 201)


async def remove_key(parts: Parts, call: Call) -> Answer:
    """Remove a key."""
    parts.dns.keys.remove(call.params["key"])
    return Answer(204)


ROUTES = (
    Route(
        method="GET",
        template="/v1/dns/keys",
        endpoint=list_keys,
        summary="Keys with which programs sign DNS updates and zone transfers (TSIG)",
        answer=Page[KeySeen],
    ),
    Route(
        method="POST",
        template="/v1/dns/keys",
        endpoint=add_key,
        summary="Make a key for DNS updates and zone transfers; its secret is shown once",
        body=NewKey,
        answer=KeyAdded,
        status=201,
    ),
    Route(
        method="DELETE",
        template="/v1/dns/keys/{key}",
        endpoint=remove_key,
        summary="Remove a key for DNS updates and zone transfers",
        answer=None,
        status=204,
    ),
    Route(
        method="GET",
        template="/v1/dns/zones",
        endpoint=list_zones,
        summary="DNS zones: the cluster's, people's, and those of sites' domains",
        answer=Page[ZoneSeen],
    ),
    Route(
        method="POST",
        template="/v1/dns/zones",
        endpoint=create_zone,
        summary="Make a DNS zone",
        body=NewZone,
        answer=ZoneSeen,
        status=201,
    ),
    Route(method="GET", template=ZONE, endpoint=show_zone, summary="One DNS zone", answer=ZoneSeen),
    Route(
        method="PATCH",
        template=ZONE,
        endpoint=change_zone,
        summary="Change who copies a DNS zone and is told of its changes",
        body=ZoneChanges,
        answer=ZoneSeen,
    ),
    Route(
        method="DELETE",
        template=ZONE,
        endpoint=remove_zone,
        summary="Remove a DNS zone and the records in it",
        answer=None,
        status=204,
    ),
    Route(
        method="GET",
        template=f"{ZONE}/records",
        endpoint=list_records,
        summary="What is answered in a zone; `managed` records are kept by the platform",
        query=(Query("name", "only those of this name"), Query("type", "only those of this type")),
        answer=Page[RecordSeen],
    ),
    Route(
        method="PATCH",
        template=f"{ZONE}/records",
        endpoint=edit_records,
        summary="Change RRsets of a zone, all or none; 422 where the platform keeps one, or it cannot be",
        body=Edits,
        answer=Edited,
    ),
    Route(
        method="GET",
        template=f"{ZONE}/file",
        endpoint=export_zone,
        summary="A zone as a zone file",
        answer=ZoneTextAnswer,
    ),
    Route(
        method="POST",
        template=f"{ZONE}/file",
        endpoint=import_zone,
        summary="Take the records of a zone file, in place of those of the same name and type",
        body=ZoneText,
        answer=Imported,
    ),
)
