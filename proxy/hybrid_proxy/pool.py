"""Connections to sites, kept for the next request: one shelf per destination, never shared between sites. Shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from hybrid.model import SiteId
from hybrid_proxy.deadlines import Deadlines
from hybrid_proxy.limits import Limits
from hybrid_proxy.proxyv2 import Passport, header_bytes
from hybrid_proxy.route import Destination, Here, Routes, There
from hybrid_proxy.upstream import Upstream

if TYPE_CHECKING:
    from hybrid_proxy.brief import Prepared

Connect = Callable[[Destination, IProtocolFactory], Deferred[IProtocol]]
"""Opens a connection to a destination with a protocol of the factory, within the connect deadline."""


def greeting(destination: Destination, source: str, source_port: int) -> bytes:
    """What opens a connection to `destination` on behalf of a client: nothing for a container of this node."""
    if isinstance(destination, Here):
        return b""
    site, claim, public_port = destination.site, destination.claim, destination.public_port
    return header_bytes(Passport(source, source_port, site, claim, public_port, service=destination.service))


class Shelf:
    """See `hybrid_proxy.upstream.Shelf`."""

    def __init__(self, destination: Destination, pool: Pool) -> None:
        self.destination = destination
        self._pool = pool
        self.waiting: list[Upstream] = []
        """Idle connections, longest idle first."""
        self.busy: dict[Upstream, None] = {}
        """Those with a request, in the order in which they got it."""
        self.tunnels: dict[Upstream, None] = {}
        """They may be many and last for days, so they do not count as in use."""
        self.connecting = 0
        self.retired = False

    def idle(self, upstream: Upstream) -> None:
        """See `hybrid_proxy.upstream.Shelf`."""
        pool, waiting = self._pool, self.waiting
        limits = pool.limits
        self.busy.pop(upstream, None)
        if self.retired:
            pool.turn_away(self, upstream)
            return
        few = len(waiting) < limits.idle_upstreams_per_site
        now_s = upstream.idle_since_s = pool.deadlines.now_s
        upstream.due_s = now_s + (limits.upstream_idle_s if few else limits.fresh_s)
        waiting.append(upstream)
        if len(self.busy) + self.connecting == limits.busy_per_site - 1:
            pool.free(self)

    def gone(self, upstream: Upstream) -> None:
        """See `hybrid_proxy.upstream.Shelf`."""
        self._pool.drop(self, upstream)

    def tunnelled(self, upstream: Upstream) -> None:
        """See `hybrid_proxy.upstream.Shelf`."""
        self.tunnels[upstream] = None
        self._pool.done(self, upstream)

    @property
    def in_use(self) -> int:
        """Connections that carry a request, or will."""
        return len(self.busy) + self.connecting


class OneProtocol(Factory):
    """Builds the one protocol it was given."""

    noisy = False

    def __init__(self, protocol: Upstream) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> Upstream:
        """See `IProtocolFactory`."""
        return self._protocol


class Pool:
    """
    The shelves.

    Args:
        deadlines: Ends idle connections.
        limits: How many, how long.
        connect: Opens one.
        freed: Told when a site that was at its limit can take one more request.
    """

    def __init__(self, deadlines: Deadlines, limits: Limits, connect: Connect, freed: Callable[[SiteId], None]) -> None:
        self.deadlines, self.limits, self._connect, self._freed = deadlines, limits, connect, freed
        self._shelves: dict[SiteId, Shelf] = {}
        self._retired: dict[Shelf, None] = {}
        self.prepared: tuple[dict[bytes, Prepared], dict[bytes, Prepared]] = {}, {}
        """See `hybrid_proxy.brief`: by authority, without and with TLS."""

    def take(self, destination: Destination, repeatable: bool) -> Upstream | None:
        """An idle connection; for what cannot be sent twice, only one that was in use a moment ago."""
        shelf = self._shelves.get(destination.site)
        if shelf is None or shelf.destination is not destination:
            shelf = self.shelf(destination)
        if not shelf.waiting:
            return None
        upstream = shelf.waiting[-1]
        if not repeatable and self.deadlines.now_s - upstream.idle_since_s > self.limits.fresh_s:
            return None
        del shelf.waiting[-1]
        shelf.busy[upstream] = None
        return upstream

    def full(self, destination: Destination) -> bool:
        """Whether the destination has all the requests it is given at a time."""
        return self.shelf(destination).in_use >= self.limits.busy_per_site

    def open(self, destination: Destination, source: str, source_port: int) -> Deferred[Upstream]:
        """A new connection on behalf of a client; errbacks within the connect deadline. May be cancelled."""
        shelf = self.shelf(destination)
        shelf.connecting += 1
        upstream = Upstream(shelf, greeting(destination, source, source_port))
        opening = self._connect(destination, OneProtocol(upstream))

        def opened(made: object) -> Upstream:
            shelf.connecting -= 1
            shelf.busy[upstream] = None
            self.deadlines.watch(upstream)
            return upstream

        def failed(why: Failure) -> Failure:
            shelf.connecting -= 1
            self.free(shelf)
            return why

        return opening.addCallbacks(opened, failed)

    def turn_away(self, shelf: Shelf, upstream: Upstream) -> None:
        """Close an idle connection: its destination is none any more."""
        self.free(shelf)
        upstream.abandon()

    def drop(self, shelf: Shelf, upstream: Upstream) -> None:
        """Forget a connection that ends."""
        self.deadlines.forget(upstream)
        if upstream in shelf.waiting:
            shelf.waiting.remove(upstream)
        if upstream in shelf.tunnels:
            shelf.tunnels.pop(upstream, None)
            self.free(shelf)
        self.done(shelf, upstream)

    def done(self, shelf: Shelf, upstream: Upstream) -> None:
        """A connection carries no request any more."""
        if upstream in shelf.busy:
            shelf.busy.pop(upstream, None)
            self.free(shelf)

    def follow(self, routes: Routes) -> None:
        """
        Close what leads nowhere now.

        Requests under way go on where they may still be answered: on a live node that hands the site over. They end
        where nobody answers: on a dead node, or in a container of ours whose site has a new place.
        """
        self.forget_prepared()
        for site, shelf in list(self._shelves.items()):
            if routes.route_site(site) is not shelf.destination and routes.route_site(site) != shelf.destination:
                self._retire(shelf)
        for shelf in list(self._retired):
            if _leads_nowhere(shelf.destination, routes):
                for upstream in [*shelf.busy, *shelf.tunnels]:
                    upstream.transport.abortConnection()

    def in_use(self) -> set[SiteId]:
        """Sites of which a request is under way, or a conversation."""
        shelves = (*self._shelves.values(), *self._retired)
        return {shelf.destination.site for shelf in shelves if shelf.in_use or shelf.tunnels}

    def forget_prepared(self) -> None:
        """What requests come to may have changed."""
        for table in self.prepared:
            table.clear()

    def close(self) -> None:
        """Close all idle connections."""
        for shelf in list(self._shelves.values()):
            self._retire(shelf)

    def shelf(self, destination: Destination) -> Shelf:
        """Where connections to `destination` are."""
        shelf = self._shelves.get(destination.site)
        if shelf is not None:
            if shelf.destination is destination or shelf.destination == destination:
                return shelf
            self._retire(shelf)
        shelf = self._shelves[destination.site] = Shelf(destination, self)
        return shelf

    def _retire(self, shelf: Shelf) -> None:
        shelf.retired = True
        del self._shelves[shelf.destination.site]
        for upstream in list(shelf.waiting):
            upstream.abandon()
        if shelf.in_use or shelf.tunnels:
            self._retired[shelf] = None

    def free(self, shelf: Shelf) -> None:
        """One request less at this destination."""
        if not shelf.retired:
            if shelf.in_use == self.limits.busy_per_site - 1:
                self._freed(shelf.destination.site)
        elif not shelf.in_use and not shelf.tunnels:
            self._retired.pop(shelf, None)


def _leads_nowhere(destination: Destination, routes: Routes) -> bool:
    if isinstance(destination, There):
        return not routes.live(destination.node)
    now = routes.route_site(destination.site)
    return isinstance(now, There) or (isinstance(now, Here) and now.address != destination.address)
