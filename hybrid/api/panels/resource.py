"""The panels' interfaces over HTTP. Shell."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import quote

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request

from hybrid.api.asking import Asking
from hybrid.api.panels.classic import Classic, parameters_of
from hybrid.api.panels.forms import Fields, fields_of, panel_token
from hybrid.api.panels.orders import Orders
from hybrid.api.panels.whm import Json, Whm
from hybrid.api.parts import Parts
from hybrid.api.problems import Refusal
from hybrid.api.requests import BoundedRequest, answer_later
from hybrid.errors import BadRequest

DENIED = {
    "cpanelresult": {"apiversion": "2", "error": "Access denied", "data": {"reason": "Access denied", "result": "0"}}
}


Answer = Callable[[Parts, BoundedRequest, list[str], Fields], Awaitable[Json]]
"""What is answered to a call at the path with those parts; raises `Refusal`, `BadRequest`."""


class PanelResource(Resource):
    """Answers in JSON, as `answer` says; with nothing to who has gone."""

    isLeaf = True
    log = Logger()

    def __init__(self, parts: Parts, answer: Answer) -> None:
        super().__init__()
        self._parts, self._answer = parts, answer

    def render(self, request: Request) -> int:
        """Answer in time."""
        return answer_later(request, self._respond, self.log)

    async def _respond(self, request: BoundedRequest, gone: list[Failure | None]) -> None:
        path, _, query = request.uri.decode("latin-1").partition("?")
        try:
            if request.too_large:
                raise BadRequest("the form is too large")
            fields = fields_of(query, request.body)
            status, value = 200, await self._answer(self._parts, request, path.strip("/").split("/"), fields)
        except Refusal as refusal:
            status, value = refusal.problem.status, DENIED | {"result": "error", "error": refusal.problem.title}
        except BadRequest as error:
            status, value = 400, {"result": "error", "error": str(error)}
        if gone:
            return
        request.setResponseCode(status)
        for name, text in (
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-store"),
            (b"server", b"hybrid"),
        ):
            request.setHeader(name, text)
        request.write(json.dumps(value).encode())
        request.finish()


async def whm(parts: Parts, request: BoundedRequest, path: list[str], fields: Fields) -> Json:
    """`/json-api/<function>`. Raises `Refusal`."""
    sent = request.requestHeaders.getRawHeaders(b"authorization") or [b""]
    user, token = panel_token(sent[-1].decode("latin-1"))
    me = parts.view.nodes[parts.view.me]
    panel = Whm(_orders(parts, token), user, me.name, me.load)
    return await panel.answer(path[1] if len(path) == 2 else "", fields)


async def classic(parts: Parts, request: BoundedRequest, path: list[str], fields: Fields) -> Json:
    """
    `/whmcs/<function>` and `/admin_api/<function>`. Raises `Refusal`, `BadRequest`.

    The key is taken from a form only: queries are written into logs.
    """
    panel = Classic(_orders(parts, fields_of("", request.body).get("apikey", "")))
    return await panel.answer(path[0], path[1] if len(path) == 2 else "", parameters_of(fields))


def _orders(parts: Parts, token: str) -> Orders:
    """Of the panel with that token, and its rights. Raises `Refusal` (401)."""
    actor = parts.tokens.actor(f"Bearer {token}" if token else "")
    return Orders(Asking(parts.ask, parts.monotonic_s, actor))


class ClassicEntrance(Resource):
    """`/website/…`, to which a browser comes with a form of the 2013 module: to the pages, by the ticket in it."""

    isLeaf = True

    def render_POST(self, request: Request) -> bytes:  # Twisted's hook
        """Go where a link would lead."""
        try:
            ticket = fields_of("", cast(BoundedRequest, request).body).get("password", "")
        except BadRequest:
            ticket = ""
        request.setResponseCode(303)
        request.setHeader(b"location", f"/enter?ticket={quote(ticket, safe='')}".encode())
        return b""
