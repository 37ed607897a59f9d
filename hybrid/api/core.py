"""
One call, start to end: find its route, check it, have the right node answer it, tell every error as a problem. Shell.

Knows nothing of HTTP: `hybrid.api.web` brings calls of clients, `hybrid.api.passing` those of other nodes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from twisted.logger import Logger

from hybrid.api import idempotency, problems
from hybrid.api.access import narrowed
from hybrid.api.calls import Answer, Call, arguments_of, json_answer, problem_answer
from hybrid.api.destinations import destinations, moved_on
from hybrid.api.names import nearest, shown
from hybrid.api.parts import Parts
from hybrid.api.passing import Passing
from hybrid.api.problems import Refusal, problem
from hybrid.api.router import Found, NotAllowed, NotFound, Router
from hybrid.api.routes import Route
from hybrid.api.table import ROUTES
from hybrid.errors import BadRequest, HybridError
from hybrid.model import NodeId
from hybrid.ports import Peers

MAX_KEY = 255


def new_router() -> Router[Route]:
    """All routes of the table."""
    router: Router[Route] = Router()
    for route in ROUTES:
        router.add(route.method, route.template, route)
    return router


class Core:
    """Answers calls."""

    log = Logger()

    def __init__(self, parts: Parts, peers: Peers, random: Callable[[int], bytes]) -> None:
        self._parts = parts
        self._router = new_router()
        self._keys: idempotency.Keys[Answer] = idempotency.Keys()
        self._passing = Passing(peers, self.answer, parts.monotonic_s, random)

    async def answer(self, call: Call) -> Answer:
        """The answer to a call whose actor is known. Never raises: every error is a problem."""

        known = call

        async def found() -> Answer:
            nonlocal known
            route, known = self.find(call)
            return await self._once(route, known)

        answer = await self._told(call, found())
        if call.method not in ("GET", "HEAD") and not call.passed_on:
            self._parts.audit.answered(known, answer)
        return answer

    def is_public(self, call: Call) -> bool:
        """Whether anybody may call it, without a token."""
        found = self._router.match(call.method, call.path)
        return isinstance(found, Found) and found.target.public

    async def _told(self, call: Call, answering: Awaitable[Answer]) -> Answer:
        """What `answering` returns, or the problem that tells why it could not."""
        try:
            return await answering
        except Refusal as refusal:
            return problem_answer(refusal.problem, refusal.headers)
        except HybridError as error:
            return problem_answer(problems.of_error(error))
        except Exception:
            self.log.failure("{method} {path} failed", method=call.method, path=call.path, request=call.request_id)
            return problem_answer(problems.internal(call.request_id or "the request"))

    def find(self, call: Call) -> tuple[Route, Call]:
        """
        The route of `call`, and `call` with its parameters and arguments.

        Raises:
            Refusal: 404 no such path, 405 not with this method, 403 the actor may only read.
            NoSuchSite: There is none for this actor.
            BadRequest: The query is not valid.
        """
        match self._router.match(call.method, call.path):
            case NotFound():
                raise Refusal(no_such_path(call.path))
            case NotAllowed(allowed):
                title = f"{shown(call.method)} is not possible on {shown(call.path)}"
                refused = problem(405, "method-not-allowed", title, "", "possible: " + ", ".join(allowed))
                raise Refusal(refused, {"allow": ", ".join(allowed)})
            case found:
                route = found.target
        if route.method != "GET" and not call.actor.may_write:
            hint = "use a token with the rights `admin`"
            raise Refusal(problem(403, "read-only", "this token may only read", f"it is {call.actor.name}'s", hint))
        arguments = arguments_of(call.query, route.known_arguments)
        known = replace(call, params=found.params, arguments=arguments)
        return route, narrowed(route.for_tenants, known, self._parts.view)

    async def _once(self, route: Route, call: Call) -> Answer:
        """The answer; to a repeated `Idempotency-Key`, the one it got before."""
        if route.method != "POST" or not call.key:
            return await self._from_best(route, call)
        if len(call.key) > MAX_KEY or not call.key.isprintable() or not call.key.isascii():
            raise BadRequest("the Idempotency-Key is not valid", f"at most {MAX_KEY} printable ASCII characters")
        unique = "\n".join((call.actor.name, call.path, call.key))
        match self._keys.seen(unique, call.body, self._parts.monotonic_s()):
            case idempotency.Again(answer):
                return answer.with_headers(idempotency_replayed="true")
            case idempotency.UnderWay():
                hint = "wait for the first one to be answered"
                raise Refusal(problem(409, "in-progress", "this Idempotency-Key is being answered", "", hint))
            case idempotency.Reused():
                hint = "use a new key for a new request"
                raise Refusal(problem(422, "key-reused", "this Idempotency-Key came with another body", "", hint))
            case idempotency.Fresh():
                pass
        return await self._first_time(route, replace(call, key=unique), call.key, unique)

    async def _first_time(self, route: Route, call: Call, key: str, unique: str) -> Answer:
        """Answer, and remember the answer unless nothing was done."""
        answer: Answer | None = None
        try:
            begun = self._parts.operations.by_key(unique)
            if begun is not None:
                answer = json_answer(begun, 202, {"location": f"/v1/operations/{begun.id}"})
            else:
                answer = await self._from_best(route, call, key)
            return answer
        finally:
            if answer is not None and answer.status < 300:
                self._keys.remember(unique, answer)
            else:
                self._keys.forget(unique)

    async def _from_best(self, route: Route, call: Call, key: str = "") -> Answer:
        """Have the nodes that can answer try in turn; the first that has what it is about answers."""
        candidates = destinations(self._parts, route, call)
        for node in candidates[:-1]:
            answer = await self._told(call, self._from(node, route, call, key))
            if not problems.may_be_elsewhere(answer.status, answer.body):
                return answer
        return await self._from(candidates[-1], route, call, key)

    async def _from(self, node: NodeId, route: Route, call: Call, key: str) -> Answer:
        """The answer of one node."""
        view = self._parts.view
        if node == view.me:
            return await route.endpoint(self._parts, call)
        if call.passed_on:
            raise moved_on(self._parts, call)
        wait_s = call.argument_int("wait", 0, 0, 60) if "wait" in route.known_arguments else 0
        return await self._passing.pass_on(view, node, replace(call, key=key), route.deadline_s + wait_s)


def no_such_path(path: str) -> problems.Problem:
    """404 for a path that no route has."""
    near = nearest(path, [route.template for route in ROUTES])
    return problem(
        404, "no-such-path", f"there is nothing at {shown(path)}", "", near or "GET /v1/openapi.json lists all"
    )
