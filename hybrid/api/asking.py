"""Calls that this node makes of the API itself, wherever they are answered: for what takes several. Shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from hybrid.api.calls import Actor, Answer, Call
from hybrid.api.problems import Problem
from hybrid.api.schema import Operation
from hybrid.errors import Conflict

T = TypeVar("T")


class Refused(Conflict):
    """A call was answered with a problem, or its operation failed."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.title, problem.detail, problem.hint)
        self.problem = problem


class Asking:
    """Calls by one actor, with that actor's rights."""

    def __init__(
        self, ask: Callable[[Call], Awaitable[Answer]], monotonic_s: Callable[[], float], actor: Actor
    ) -> None:
        self._ask, self._monotonic_s, self._actor = ask, monotonic_s, actor

    async def call(self, method: str, path: str, body: object = None, query: str = "", key: str = "") -> Answer:
        """The answer. Raises `Refused`."""
        data = b"" if body is None else msgspec.json.encode(body)
        call = Call(method=method, path=path, query=query, body=data, actor=self._actor, key=key)
        answer = await self._ask(call)
        if answer.status >= 400:
            raise Refused(msgspec.json.decode(answer.body, type=Problem))
        return answer

    async def read(self, path: str, kind: type[T], query: str = "") -> T:
        """What is at `path`. Raises `Refused`."""
        return msgspec.json.decode((await self.call("GET", path, query=query)).body, type=kind)

    async def waited(self, answer: Answer, within_s: float) -> Operation:
        """
        The operation that `answer` begun, once it ended, or after `within_s` as it then is.

        Raises:
            Refused: It failed.
        """
        operation = msgspec.json.decode(answer.body, type=Operation)
        until_s = self._monotonic_s() + within_s
        while operation.state == "running" and (left_s := until_s - self._monotonic_s()) > 0:
            path = f"/v1/operations/{operation.id}"
            operation = await self.read(path, Operation, f"wait={max(1, min(30, int(left_s)))}")
        if operation.error is not None:
            raise Refused(operation.error)
        return operation
