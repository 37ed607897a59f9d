"""What pages read: answers of the API, asked in this process as the visitor. Shell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from hybrid.api.calls import Actor, Answer, Call
from hybrid.api.core import Core
from hybrid.api.problems import Problem, Refusal

T = TypeVar("T")


class Reader:
    """Asks the API what a page needs."""

    def __init__(self, core: Core, actor: Actor) -> None:
        self._core, self._actor = core, actor

    async def get(self, kind: type[T], path: str, /, **query: str | int) -> T:
        """What is at `path`, decoded as `kind`. Raises `Refusal` with the problem that came instead."""
        call = Call(method="GET", path=path, query=urlencode(query), actor=self._actor)
        return msgspec.json.decode(good(await self._core.answer(call)).body, type=kind)

    async def send(self, method: str, path: str, body: Mapping[str, object], key: str) -> Answer:
        """Do something; `key` makes it happen once. Raises `Refusal` with the problem that came instead."""
        data = b"" if method == "DELETE" else msgspec.json.encode(body)
        return good(await self._core.answer(Call(method=method, path=path, body=data, actor=self._actor, key=key)))


def good(answer: Answer) -> Answer:
    """The answer, if it is a success. Raises `Refusal`."""
    if answer.status >= 400:
        raise Refusal(msgspec.json.decode(answer.body, type=Problem), answer.headers)
    return answer


def site_path(site: str, *parts: str) -> str:
    """`/v1/sites/<site>/…`, whatever is in the names."""
    return "/".join(["/v1/sites", quote(site, safe=""), *(quote(part, safe="") for part in parts)])
