"""The API over HTTP: a request becomes a call, its answer a response. Shell."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from hybrid.api import cookies
from hybrid.api.calls import Actor, Answer, Call, problem_answer
from hybrid.api.core import Core, no_such_path
from hybrid.api.events import Events
from hybrid.api.jsonbody import MAX_BYTES
from hybrid.api.names import short_node
from hybrid.api.problems import Refusal, of_error, problem
from hybrid.api.requests import BoundedRequest, answer_later
from hybrid.api.sending import Sending
from hybrid.api.stream import EventStream, start_of
from hybrid.api.tokens import Tokens
from hybrid.errors import BadRequest, HybridError, TooLarge
from hybrid.model import NodeId

MAX_STREAMS = 200
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ANYONE = Actor("anyone", may_write=False)


class ApiResource(Resource):
    """Everything below `/v1`."""

    isLeaf = True
    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        node: NodeId,
        core: Core,
        tokens: Tokens,
        events: Events,
        random: Callable[[int], bytes],
    ) -> None:
        super().__init__()
        self._clock, self._node, self._core, self._tokens = clock, node, core, tokens
        self._events, self._random = events, random
        self._streams: set[EventStream] = set()

    def render(self, request: Request) -> int:
        """Answer in time."""
        return answer_later(request, self._respond, self.log)

    def close_streams(self) -> None:
        """End all event streams, so that their clients go to another node."""
        for stream in list(self._streams):
            stream.close()

    async def _respond(self, request: BoundedRequest, gone: list[Failure | None]) -> None:
        """Answer one request, unless its client has gone when the answer is there."""
        began_s = self._clock.seconds()
        call = self._call(request)
        try:
            call = self._checked(request, call)
            if call.path == "/v1/events" and "text/event-stream" in _header(request, b"accept"):
                self._stream(request, call)
                return
            answer = await self._core.answer(call)
        except Refusal as refusal:
            answer = problem_answer(refusal.problem, refusal.headers)
        except HybridError as error:
            answer = problem_answer(of_error(error))
        self.log.debug(
            "{method} {path} {status}",
            method=call.method,
            path=call.path,
            status=answer.status,
            actor=call.actor.name,
            request=call.request_id,
            seconds=self._clock.seconds() - began_s,
        )
        answer = answer.with_headers(x_request_id=call.request_id)
        if answer.stream is not None and (gone or call.method == "HEAD"):
            await answer.stream.abort()
            answer = replace(answer, stream=None)
        if answer.stream is not None:
            _begin(request, answer)
            await Sending(self._clock, request, answer.stream).send()
        elif not gone:
            _write(request, answer)

    def _call(self, request: BoundedRequest) -> Call:
        """The call in a request, nobody's yet."""
        path, _, query = request.uri.decode("latin-1").partition("?")
        given = _header(request, b"x-request-id")
        return Call(
            method=request.method.decode("latin-1"),
            path=path,
            query=query,
            body=request.body,
            actor=_ANYONE,
            key=_header(request, b"idempotency-key"),
            request_id=given if _REQUEST_ID.fullmatch(given) else "req-" + self._random(6).hex(),
        )

    def _checked(self, request: BoundedRequest, call: Call) -> Call:
        """The call with its actor. Raises `Refusal` (401), `TooLarge`, `BadRequest`."""
        if request.too_large:
            raise TooLarge("the body is too large", f"at most {MAX_BYTES} bytes are read")
        if self._core.is_public(call):
            return call
        if len(request.requestHeaders.getRawHeaders(b"authorization") or []) > 1:
            raise BadRequest("more than one Authorization header was sent")
        return call.by(self._tokens.actor(_authorization(request, call.method)))

    def _stream(self, request: BoundedRequest, call: Call) -> None:
        """Have the client follow the events. Raises `Refusal` (503) when there are too many already."""
        _, call = self._core.find(call)
        if len(self._streams) >= MAX_STREAMS:
            hint = "ask another node, or ask for JSON"
            raise Refusal(problem(503, "too-many-streams", "too many follow the events", "", hint, retry_after_s=30))
        node = short_node(self._node)
        since = call.argument_int("since", 0, 0, 2**62) if "since" in call.arguments else None
        start = start_of(self._events, node, _header(request, b"last-event-id"), since)
        stream = EventStream(self._clock, request, self._events, node, start, self._streams.discard)
        self._streams.add(stream)
        stream.begin()


class NothingHere(Resource):
    """Every path that is nobody's."""

    isLeaf = True

    def render(self, request: Request) -> int:
        """404, as a problem."""
        _write(request, problem_answer(no_such_path(request.path.decode("latin-1"))))
        return NOT_DONE_YET


class Root(Resource):
    """`/`: the API at `/v1`, and `pages` at every other path, once there are any."""

    def __init__(self, api: ApiResource) -> None:
        super().__init__()
        self.putChild(b"v1", api)
        self.pages: Resource = NothingHere()

    def getChild(self, path: bytes, request: Request) -> Resource:
        """A page's path, or nobody's."""
        return self.pages


def _authorization(request: Request, method: str) -> str:
    """Of a program, or of a signed-in browser, whose cookie comes along with whatever asks and so may only read."""
    sent = _header(request, b"authorization")
    token = "" if sent or method not in ("GET", "HEAD") else cookies.token_in(_header(request, b"cookie"))
    return f"Bearer {token}" if token else sent


def _header(request: Request, name: bytes) -> str:
    """A header's value, whatever bytes it has; `""` when it was not sent."""
    return (request.requestHeaders.getRawHeaders(name) or [b""])[-1].decode("latin-1")


def _write(request: Request, answer: Answer) -> None:
    """Send an answer."""
    _begin(request, answer)
    if answer.status != 204:
        request.setHeader(b"content-length", b"%d" % len(answer.body))
        request.write(answer.body)
    request.finish()


def _begin(request: Request, answer: Answer) -> None:
    """Everything but the body."""
    request.setResponseCode(answer.status)
    for name, value in answer.headers.items():
        request.setHeader(name.encode("ascii"), value.encode("latin-1", "replace"))
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"server", b"hybrid")
