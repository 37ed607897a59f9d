"""
As much of PowerDNS's HTTP API as DNS tools use (octodns, lexicon, external-dns, lego), at `/api` of every node. Shell.

The token of the API is the `X-API-Key`. Fields that are of no use here are not looked at, since clients send many.
Zones are `Native`; what the platform keeps is shown, and refuses changes with 422 and the reason. A change to what is
there already is none.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Request

from hybrid.api import jsonbody
from hybrid.api.problems import Refusal, of_error
from hybrid.api.tokens import Tokens
from hybrid.dns_deeds import DnsZones, Edit, RecordSeen, ZoneSeen
from hybrid.errors import BadRecord, BadRequest, HybridError, NoSuchZone

SERVER = "/api/v1/servers/localhost"
Json = dict[str, Any]
T = TypeVar("T", bound=msgspec.Struct)


class _Record(msgspec.Struct, frozen=True):
    content: str
    disabled: bool = False


class _RRset(msgspec.Struct, frozen=True):
    name: str
    type: str
    changetype: str = "REPLACE"
    ttl: int | None = None
    records: tuple[_Record, ...] = ()

    def edit(self) -> Edit:
        """The same as it is done here."""
        texts = tuple(record.content for record in self.records if not record.disabled)
        match self.changetype.upper():
            case "REPLACE":
                return Edit(name=self.name, type=self.type, ttl_s=self.ttl, records=texts)
            case "DELETE":
                return Edit(name=self.name, type=self.type)
            case "EXTEND":
                return Edit(name=self.name, type=self.type, ttl_s=self.ttl, records=texts, do="add")
            case "PRUNE":
                return Edit(name=self.name, type=self.type, records=texts, do="remove")
        raise BadRecord(f"{self.changetype[:40]!r} is no changetype", "", "REPLACE, DELETE, EXTEND, PRUNE")


class _Patch(msgspec.Struct, frozen=True):
    rrsets: tuple[_RRset, ...] = ()


class _NewZone(msgspec.Struct, frozen=True):
    name: str
    rrsets: tuple[_RRset, ...] = ()


class PowerDns(Resource):
    """Everything below `/api`."""

    isLeaf = True
    log = Logger()

    def __init__(self, zones: DnsZones, tokens: Tokens) -> None:
        super().__init__()
        self._zones, self._tokens = zones, tokens

    def render(self, request: Request) -> bytes:
        """Answer at once: nothing waits for anything."""
        status, value = self._answered(request)
        request.setResponseCode(status)
        request.setHeader(b"server", b"hybrid")
        if value is None:
            return b""
        if isinstance(value, str):
            request.setHeader(b"content-type", b"text/plain; charset=utf-8")
            return value.encode()
        request.setHeader(b"content-type", b"application/json")
        return json.dumps(value).encode()

    def _answered(self, request: Request) -> tuple[int, object]:
        method = request.method.decode("latin-1")
        try:
            key = (request.requestHeaders.getRawHeaders(b"x-api-key") or [b""])[-1].decode("latin-1")
            actor = self._tokens.actor(f"Bearer {key}" if key else "")
            if method not in ("GET", "HEAD") and not actor.may_write:
                return 403, {"error": "this token may only read"}
            path, _, query = request.uri.decode("latin-1").partition("?")
            content = request.content
            body = content.read() if content is not None else b""
            return self._routed(method, [unquote(part) for part in path.strip("/").split("/")], query, body)
        except Refusal as refusal:
            return refusal.problem.status, {"error": refusal.problem.title}
        except BadRequest as error:
            return 400, {"error": str(error)}
        except HybridError as error:
            return of_error(error).status, {"error": str(error)}
        except Exception:
            self.log.failure("{method} {uri} failed", method=method, uri=request.uri.decode("latin-1"))
            return 500, {"error": "something went wrong inside Hybrid"}

    def _routed(self, method: str, path: list[str], query: str, body: bytes) -> tuple[int, object]:
        match ["GET" if method == "HEAD" else method, *path]:
            case ["GET", "api"]:
                return 200, [{"url": "/api/v1", "version": 1}]
            case ["GET", "api", "v1", "servers"]:
                return 200, [_SERVER]
            case ["GET", "api", "v1", "servers", "localhost"]:
                return 200, _SERVER
            case ["GET", "api", "v1", "servers", "localhost", "config"]:
                return 200, []
            case [_, "api", "v1", "servers", "localhost", "zones", *rest]:
                return self._zone(method, rest, query, body)
        return 404, {"error": "Not Found"}

    def _zone(self, method: str, rest: list[str], query: str, body: bytes) -> tuple[int, object]:
        if not rest or rest == [""]:
            return self._all(method, query, body)
        zone, *more = rest
        seen = self._zones.zone(zone)
        match [method, *more]:
            case ["GET"]:
                return 200, _shown(seen, None if "rrsets=false" in query else self._zones.records(zone))
            case ["PATCH"]:
                self._edit(seen.name, _decoded(body, _Patch).rrsets)
                return 204, None
            case ["PUT"]:
                return 204, None
            case ["DELETE"]:
                self._zones.remove(zone)
                return 204, None
            case ["PUT", "notify"]:
                return 200, {"result": "Notification queued"}
            case ["PUT", "rectify"]:
                return 200, {"result": "Rectified"}
            case ["GET", "export"]:
                return 200, self._zones.export(zone)
        return 405, {"error": "Method Not Allowed"}

    def _all(self, method: str, query: str, body: bytes) -> tuple[int, object]:
        if method == "POST":
            new = _decoded(body, _NewZone)
            seen = self._zones.create(new.name)
            self._edit(seen.name, new.rrsets)
            return 201, _shown(self._zones.zone(seen.name), self._zones.records(seen.name))
        if method != "GET":
            return 405, {"error": "Method Not Allowed"}
        wanted = [unquote(part[5:]) for part in query.split("&") if part.startswith("zone=")]
        if not wanted:
            return 200, [_shown(seen, None) for seen in self._zones.zones()]
        try:
            return 200, [_shown(self._zones.zone(name), None) for name in wanted]
        except NoSuchZone:
            return 200, []

    def _edit(self, zone: str, rrsets: tuple[_RRset, ...]) -> None:
        """Do what is not done already."""
        there = {(one.name, one.type): set(one.records) for one in self._zones.records(zone) if one.managed}
        edits = [
            edit
            for edit in (rrset.edit() for rrset in rrsets)
            if edit.do != "replace" or there.get((edit.name.lower().rstrip("."), edit.type)) != set(edit.records)
        ]
        if edits:
            self._zones.edit(zone, edits)


_SERVER: Json = {
    "type": "Server",
    "id": "localhost",
    "daemon_type": "authoritative",
    "version": "4.9.0",
    "url": SERVER,
    "config_url": f"{SERVER}/config{{/config_setting}}",
    "zones_url": f"{SERVER}/zones{{/zone}}",
}


def _shown(zone: ZoneSeen, records: list[RecordSeen] | None) -> Json:
    shown: Json = {
        "id": f"{zone.name}.",
        "name": f"{zone.name}.",
        "type": "Zone",
        "kind": "Native",
        "url": f"{SERVER}/zones/{zone.name}.",
        "serial": zone.serial,
        "edited_serial": zone.serial,
        "notified_serial": 0,
        "masters": [],
        "account": "",
        "dnssec": False,
    }
    if records is not None:
        shown["rrsets"] = [
            {
                "name": f"{one.name}.",
                "type": one.type,
                "ttl": one.ttl_s,
                "records": [{"content": text, "disabled": False} for text in one.records],
                "comments": [],
            }
            for one in records
        ]
    return shown


def _decoded(body: bytes, kind: type[T]) -> T:
    """What a client sent; fields that are of no use here are not looked at."""
    try:
        return msgspec.convert(jsonbody.parse(body), kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadRecord("the body is not valid", str(error)) from error
