"""OpenAPI 3.1 of the API, made from the table of routes and the Structs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from hybrid.api.problems import CONTENT_TYPE, Problem
from hybrid.api.routes import Query, Route

_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"{([a-z]+)}")
_DESCRIBED = {
    "certificate": "The first of its host names, for example `www.example.org`.",
    "group": "name of a group",
    "site": "name or id of a site",
    "node": "name or id of a node",
    "operation": "id of an operation",
    "stash": "id of a stash",
    "preview": "id of a preview",
    "mark": "the name under which a snapshot is kept, or its guid",
    "store": "name of a store far away",
    "zone": "name of a DNS zone",
    "key": "name of a key",
    "token": "id of a token (the part between the underscores)",
    "account": "name of an account",
    "package": "name of a package",
}


def document(routes: tuple[Route, ...], release: str) -> dict[str, object]:
    """The whole document, ready to be encoded."""
    answers = [route.answer for route in routes if route.answer not in (None, bytes, dict)]
    bodies = [route.body for route in routes if route.body is not None]
    kinds: list[object] = list(dict.fromkeys([*answers, *bodies, Problem]))
    schemas, components = msgspec.json.schema_components(kinds, schema_hook=_anything, ref_template=_REF)
    by_kind = dict(zip(map(id, kinds), schemas, strict=True))
    paths: dict[str, dict[str, object]] = {}
    for route in routes:
        schema_of = {id(kind): by_kind[id(kind)] for kind in kinds if kind in (route.answer, route.body)}
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hybrid",
            "version": release,
            "description": "Any node answers any call. Long calls answer 202 with an operation. Errors are RFC 9457.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "hybpat_…"}},
            "responses": {
                "Problem": {
                    "description": "What went wrong, why, and what to try (RFC 9457)",
                    "content": {CONTENT_TYPE: {"schema": by_kind[id(Problem)]}},
                }
            },
        },
    }


def _operation(route: Route, schema_of: Mapping[int, object]) -> dict[str, object]:
    """One method of one path."""
    found: dict[str, object] = {
        "operationId": route.endpoint.__name__,
        "summary": route.summary,
        "parameters": [*_in_path(route.template), *map(_in_query, route.query), *_headers(route)],
        "responses": {
            str(route.status): _response(route, schema_of),
            "4XX": {"$ref": "#/components/responses/Problem"},
            "5XX": {"$ref": "#/components/responses/Problem"},
        },
    }
    if route.body is not None:
        content = {"application/json": {"schema": schema_of[id(route.body)]}}
        found["requestBody"] = {"content": content, "required": bool(_required(route.body))}
    if route.public:
        found["security"] = []
    return found


def _response(route: Route, schema_of: Mapping[int, object]) -> dict[str, object]:
    """The answer when all went well."""
    described: dict[str, object] = {"description": route.summary}
    if route.answer is bytes:
        described["content"] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    elif route.answer is dict:
        described["content"] = {"application/json": {"schema": {"type": "object"}}}
    elif route.answer is not None:
        described["content"] = {"application/json": {"schema": schema_of[id(route.answer)]}}
    if route.status == 202:
        described["headers"] = {"Location": {"description": "of the operation", "schema": {"type": "string"}}}
    return described


def _in_path(template: str) -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _DESCRIBED[name],
            "schema": {"type": "string"},
        }
        for name in _PARAMETER.findall(template)
    ]


def _in_query(parameter: Query) -> dict[str, object]:
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.description,
        "schema": {"type": parameter.kind},
    }


def _headers(route: Route) -> list[dict[str, object]]:
    """`Idempotency-Key`, where it works."""
    if route.method != "POST":
        return []
    text = "the same key again within a day gets the first answer again, and nothing is done twice"
    return [{"name": "Idempotency-Key", "in": "header", "required": False, "description": text, "schema": _KEY}]


_KEY = {"type": "string", "maxLength": 255}


def _anything(kind: type) -> dict[str, object]:
    """The schema of `object`: any JSON value."""
    return {"description": "any JSON value"}


def _required(body: type[msgspec.Struct]) -> list[str]:
    """Fields without a default."""
    return [field.name for field in msgspec.structs.fields(body) if field.required]
