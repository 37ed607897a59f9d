"""How a connection came in decides where its requests may go and whose word on their origin counts. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from hybrid_proxy.head import RequestHead
from hybrid_proxy.message import origin, passed_on, provenance
from hybrid_proxy.pages import LOOP, Page
from hybrid_proxy.policy import Policy
from hybrid_proxy.proxyv2 import Passport
from hybrid_proxy.route import Route, Routes


class Door(Protocol):
    """What a connection's requests are asked of."""

    source: str
    """The client's address."""
    source_port: int
    prepared: dict[bytes, Any] | None
    """Authorities to `hybrid_proxy.brief.Prepared`; `None`: all go the whole way."""

    def route(self, head: RequestHead) -> Route | Page:
        """Where the request goes, or what it is answered at once."""

    def came_from(self, head: RequestHead) -> bytes:
        """Field lines on the request's origin, for whom it is sent to. Raises `Page` when it must not be sent on."""


def request_ids(prefix: bytes) -> Iterator[bytes]:
    """`<prefix>-1`, `<prefix>-2`, … in hexadecimal."""
    return (b"%b-%x" % (prefix, number) for number in itertools.count(1))


class PublicDoor:
    """A client of the open internet: routed by Host, its word on its origin is dropped."""

    __slots__ = ("_ids", "_latest", "_origin", "_passes", "_policy", "prepared", "route", "source", "source_port")
    scheme = b"http"
    shown_for = ""
    """The host whose certificate was shown; empty without TLS."""

    def __init__(self, policy: Policy, source: str, source_port: int, ids: Iterator[bytes], passes: int) -> None:
        self._policy, self._ids, self._passes = policy, ids, passes
        self.source, self.source_port = source, source_port
        self._latest, self._origin = (b"", 0), b""
        self.prepared: dict[bytes, Any] | None = None
        """See `Door`."""
        self.route: Callable[[RequestHead], Route | Page] = policy.route
        """See `Door`."""

    def came_from(self, head: RequestHead) -> bytes:
        """See `Door`."""
        if self._policy.routes.bounded:
            self._policy.check_rate(head, self.source)
        if head.forwarding:
            return provenance(head, self.source, self.scheme, next(self._ids), self._passes)
        return self.next_origin(head.authority, head.minor)

    def next_origin(self, authority: bytes, minor: int) -> bytes:
        """The lines for a request to `authority` by HTTP/1.`minor` that says nothing of its origin itself."""
        asked = authority, minor
        if asked != self._latest:
            self._latest, self._origin = asked, origin(authority, self.source, self.scheme, b"1.%d hybrid" % minor)
        return b"%b%b\r\n" % (self._origin, next(self._ids))


class SecureDoor(PublicDoor):
    """A client that asked by TLS for a host, and was shown that one's certificate."""

    __slots__ = ("shown_for",)
    scheme = b"https"

    def __init__(
        self, policy: Policy, source: str, source_port: int, ids: Iterator[bytes], passes: int, shown_for: str
    ) -> None:
        super().__init__(policy, source, source_port, ids, passes)
        self.shown_for = shown_for
        self.route = self._route

    def _route(self, head: RequestHead) -> Route | Page:
        return self._policy.route_secure(head, self.shown_for)


class MembersDoor:
    """Another front door of the cluster: the site is the one it names, and its word is passed on."""

    __slots__ = ("_passport", "_routes", "prepared", "source", "source_port")

    def __init__(self, routes: Routes, passport: Passport) -> None:
        self._routes, self._passport = routes, passport
        self.source, self.source_port = passport.source, passport.source_port
        self.prepared: dict[bytes, Any] | None = None

    def route(self, head: RequestHead) -> Route:
        """See `Door`."""
        return self._routes.admit(self._passport.site, self._passport.claim)

    def came_from(self, head: RequestHead) -> bytes:
        """See `Door`."""
        if self._passport.hops != 1:
            raise LOOP
        return passed_on(head)
