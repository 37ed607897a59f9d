"""A table of method and path template, matched segment by segment on the still encoded path. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """What is at that method and path, and the decoded values of the template's `{names}`."""

    target: T
    params: dict[str, str]


@dataclass(frozen=True, slots=True)
class NotFound:
    """No template matches the path."""


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """The path exists, with other methods."""

    allowed: tuple[str, ...]


@dataclass(slots=True)
class _Branch(Generic[T]):
    """What follows one segment: fixed words first, else one parameter; and what ends here, by method."""

    words: dict[str, _Branch[T]] = field(default_factory=dict)
    parameter: tuple[str, _Branch[T]] | None = None
    ends: dict[str, T] = field(default_factory=dict)


class Router(Generic[T]):
    """Templates like `/v1/sites/{site}/move`. A `/` hidden as `%2F` never splits a segment."""

    def __init__(self) -> None:
        self._root: _Branch[T] = _Branch()

    def add(self, method: str, template: str, target: T) -> None:
        """Lead `method template` to `target`. Raises `ValueError` when that is taken."""
        branch = self._root
        for segment in _segments(template):
            if segment.startswith("{"):
                if branch.parameter is None:
                    branch.parameter = (segment[1:-1], _Branch())
                branch = branch.parameter[1]
            else:
                branch = branch.words.setdefault(segment, _Branch())
        if method in branch.ends:
            raise ValueError(f"{method} {template} is in the table already")
        branch.ends[method] = target

    def match(self, method: str, path: str) -> Found[T] | NotFound | NotAllowed:
        """What answers `method path` (percent-encoded, without its query). HEAD is answered by GET's target."""
        params: dict[str, str] = {}
        branch = self._root
        for segment in _segments(path):
            if segment in branch.words:
                branch = branch.words[segment]
            elif branch.parameter is not None and segment:
                name, branch = branch.parameter
                params[name] = decoded(segment)
            else:
                return NotFound()
        if not branch.ends:
            return NotFound()
        target = branch.ends.get("GET" if method == "HEAD" else method)
        return NotAllowed(tuple(sorted(branch.ends))) if target is None else Found(target, params)


def decoded(segment: str) -> str:
    """`segment` with its percent escapes undone; bytes that are not UTF-8 become U+FFFD, which no name allows."""
    return unquote_to_bytes(segment).decode("utf-8", "replace")


def _segments(path: str) -> Iterator[str]:
    """The parts between slashes, without the leading one."""
    return iter(path.removeprefix("/").split("/"))
