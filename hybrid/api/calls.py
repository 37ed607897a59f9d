"""A call and its answer, free of HTTP: the same for clients and for calls passed on by another node. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

import msgspec

from hybrid.api.names import nearest, shown
from hybrid.api.problems import CONTENT_TYPE, Problem
from hybrid.errors import BadRequest
from hybrid.ports import ByteSource


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks."""

    name: str
    may_write: bool = True
    site: str = ""
    """Id of the one site that exists for them."""
    account: str = ""
    """Name of the account whose sites alone exist for them; neither this nor `site`: they see everything."""

    @property
    def is_bound(self) -> bool:
        """Whether only some sites exist for them. See `hybrid.api.access`."""
        return bool(self.site or self.account)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to the API."""

    method: str
    path: str
    """Still percent-encoded, without the query."""
    query: str = ""
    """Still encoded."""
    body: bytes = b""
    actor: Actor
    key: str = ""
    """`Idempotency-Key`."""
    request_id: str = ""
    passed_on: bool = False
    """It comes from another node: answer it here or refuse, never pass it on again."""
    params: dict[str, str] = field(default_factory=dict)
    """The `{names}` of the path's template, decoded."""
    arguments: dict[str, str] = field(default_factory=dict)
    """The query, decoded and checked against what the route knows."""

    def by(self, actor: Actor) -> Call:
        """The same, asked by `actor`."""
        return replace(self, actor=actor)

    def argument_int(self, name: str, default: int, lowest: int, highest: int) -> int:
        """A whole number in the query. Raises `BadRequest` when it is none, or out of bounds."""
        text = self.arguments.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 20 and lowest <= int(text) <= highest):
            raise BadRequest(f"?{name}={shown(text)} is not valid", f"a whole number from {lowest} to {highest}")
        return int(text)

    def argument(self, name: str) -> str:
        """A text in the query that must be there. Raises `BadRequest` when it is not."""
        text = self.arguments.get(name, "")
        if not text:
            raise BadRequest(f"the query lacks {name}=", f"{self.method} {shown(self.path)} needs it")
        return text


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    """With a `content-type` where there is a body. Names in lower case."""
    stream: ByteSource | None = None
    """In place of `body`: what is too large, or not known yet. Who has the answer reads it to its end or aborts it."""

    def with_headers(self, **more: str) -> Answer:
        """The same with more headers (`_` in a name stands for `-`)."""
        return replace(self, headers=self.headers | {name.replace("_", "-"): value for name, value in more.items()})


def json_answer(value: msgspec.Struct, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """`value` as JSON."""
    return Answer(status, msgspec.json.encode(value), {"content-type": "application/json", **(headers or {})})


def problem_answer(problem: Problem, headers: dict[str, str] | None = None) -> Answer:
    """`problem` as RFC 9457 has it, with `Retry-After` where another try is worth it."""
    more = dict(headers or {})
    if problem.retry_after_s is not None:
        more["retry-after"] = str(problem.retry_after_s)
    return Answer(problem.status, msgspec.json.encode(problem), {"content-type": CONTENT_TYPE, **more})


def arguments_of(query: str, known: frozenset[str]) -> dict[str, str]:
    """
    The query as a dict.

    Raises:
        BadRequest: A name that is not `known` (with the nearest that is), or one given twice.
    """
    found: dict[str, str] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=20, errors="strict")
    except ValueError as error:
        raise BadRequest("the query cannot be read", str(error)) from error
    for name, value in pairs:
        if name not in known:
            hint = nearest(name, known) or ("known here: " + ", ".join(sorted(known)) if known else "")
            raise BadRequest(f"the query parameter {shown(name)} is not known here", "", hint)
        if name in found:
            raise BadRequest(f"the query parameter {shown(name)} is given twice")
        if "\0" in value:
            raise BadRequest(f"the query parameter {shown(name)} contains a NUL")
        found[name] = value
    return found
