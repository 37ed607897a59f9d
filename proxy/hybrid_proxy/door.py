"""How a connection came in decides where its requests may go and whose word on their origin counts. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Protocol

from hybrid_proxy.head import RequestHead
from hybrid_proxy.message import passed_on, provenance
from hybrid_proxy.pages import LOOP
from hybrid_proxy.proxyv2 import Passport
from hybrid_proxy.route import Route, Routes


class Door(Protocol):
    """What a connection's requests are asked of."""

    source: str
    """The client's address."""
    source_port: int

    def route(self, head: RequestHead) -> Route:
        """Where the request goes."""

    def came_from(self, head: RequestHead) -> bytes:
        """Field lines on the request's origin, for whom it is sent to. Raises `Page` when it must not be sent on."""


def request_ids(prefix: bytes) -> Iterator[bytes]:
    """`<prefix>-1`, `<prefix>-2`, … in hexadecimal."""
    return (b"%b-%x" % (prefix, number) for number in itertools.count(1))


class PublicDoor:
    """A client of the open internet: routed by Host, its word on its origin is dropped."""

    __slots__ = ("_ids", "_passes", "_routes", "source", "source_port")

    def __init__(self, routes: Routes, source: str, source_port: int, ids: Iterator[bytes], passes: int) -> None:
        self._routes, self._ids, self._passes = routes, ids, passes
        self.source, self.source_port = source, source_port

    def route(self, head: RequestHead) -> Route:
        """See `Door`."""
        return self._routes.route(head.host or "")

    def came_from(self, head: RequestHead) -> bytes:
        """See `Door`."""
        return provenance(head, self.source, next(self._ids), self._passes)


class MembersDoor:
    """Another front door of the cluster: the site is the one it names, and its word is passed on."""

    __slots__ = ("_passport", "_routes", "source", "source_port")

    def __init__(self, routes: Routes, passport: Passport) -> None:
        self._routes, self._passport = routes, passport
        self.source, self.source_port = passport.source, passport.source_port

    def route(self, head: RequestHead) -> Route:
        """See `Door`."""
        return self._routes.admit(self._passport.site, self._passport.claim)

    def came_from(self, head: RequestHead) -> bytes:
        """See `Door`."""
        if self._passport.hops != 1:
            raise LOOP
        return passed_on(head)
