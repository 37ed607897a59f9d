"""A front door without sockets: a clock, a view to change, and the other ends of all connections in hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorUDP, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid.model import Claim, NodeId, Port, SiteId, SiteSpec, Version
from hybrid.view import NodeView, SiteState, SiteView, View
from hybrid_proxy import brief
from hybrid_proxy.doors import InteriorFactory
from hybrid_proxy.front import Front
from hybrid_proxy.house import House
from hybrid_proxy.limits import Limits
from hybrid_proxy.passage import passage_of
from hybrid_proxy.relay import IStream
from hybrid_proxy.route import Destination

ME, OTHER, THIRD = NodeId("n-me"), NodeId("n-other"), NodeId("n-third")
SHOP = SiteId("s-shop")
SESSIONS = "/run/hybrid/sessions.sock"


@implementer(ITCPTransport)
class Wire(StringTransport):
    """A transport whose other end is the test: takes what is written, and tells how it was closed."""

    def __init__(self, protocol: Protocol) -> None:
        super().__init__()
        self._it = protocol
        self.half_closed = False
        self.aborted = False
        self.closed = False

    def taken(self) -> bytes:
        """What was written since the last call."""
        data = self.value()
        self.clear()
        return cast(bytes, data)

    def send(self, data: bytes) -> None:
        """The other end sends."""
        self._it.dataReceived(data)

    def loseWriteConnection(self) -> None:  # noqa: N802  (Twisted's name)
        """See `ITCPTransport`."""
        self.half_closed = True

    def loseConnection(self) -> None:
        """See `ITransport`."""
        super().loseConnection()
        self._lost(ConnectionDone())

    def abortConnection(self) -> None:  # noqa: N802  (Twisted's name)
        """See `ITCPTransport`."""
        super().abortConnection()
        self.aborted = True
        self._lost(ConnectionLost())

    def resumeProducing(self) -> None:
        """See `IPushProducer`; as on real transports, no effect once closed."""
        if not self.closed:
            super().resumeProducing()

    def hang_up(self, clean: bool = False) -> None:
        """The other end is gone."""
        self._lost(ConnectionDone() if clean else ConnectionLost())

    def _lost(self, why: Exception) -> None:
        if not self.closed:
            self.closed = True
            if self.producer is not None:
                self.producer.stopProducing()
            self._it.connectionLost(Failure(why))

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802  (Twisted's name)
        """See `ITCPTransport`."""

    def getTcpNoDelay(self) -> bool:  # noqa: N802  (Twisted's name)
        """See `ITCPTransport`."""
        return True

    def getHost(self) -> IPv4Address:  # noqa: N802  (Twisted's name)
        """See `ITransport`."""
        return IPv4Address("TCP", "192.0.2.7", 80)

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: N802  (Twisted's name)
        """See `ITCPTransport`."""

    def getTcpKeepAlive(self) -> bool:  # noqa: N802  (Twisted's name)
        """See `ITCPTransport`."""
        return False


def plug(protocol: Protocol) -> Wire:
    """Connect `protocol` to a new wire."""
    wire = Wire(protocol)
    protocol.makeConnection(cast(IStream, wire))
    return wire


class Call:
    """A connection the front doors are opening."""

    def __init__(self, destination: Destination, factory: IProtocolFactory) -> None:
        self.destination = destination
        self._factory = factory
        self.cancelled = False
        self.opening: Deferred[IProtocol] = Deferred(self._cancel)

    def _cancel(self, opening: object) -> None:
        self.cancelled = True

    def accept(self) -> Wire:
        """The site takes it; gives the site's end."""
        protocol = self._factory.buildProtocol(None)  # type: ignore[arg-type]  # no address is needed
        wire = plug(cast(Protocol, protocol))
        self.opening.callback(cast(IProtocol, protocol))
        return wire

    def refuse(self) -> None:
        """Nobody listens there."""
        self.opening.errback(ConnectionRefused("refused"))


class ConnectionRefused(Exception):
    """Stands for any failure to connect."""


class World:
    """One node's front doors and everything around them."""

    def __init__(self, limits: Limits, ask: Callable[[Front, bytes], bool] = brief.ask) -> None:
        self.clock = Clock()
        self.calls: list[Call] = []
        self.house = House(self.clock, limits, self.connect, ask=ask)
        self.house.deadlines.start()
        self._interior = InteriorFactory(
            self.house, passage_of(self.house, self.connect, cast(IReactorUDP, None), SESSIONS)
        )
        self.nodes = {node: node_view(node) for node in (ME, OTHER, THIRD)}
        self.sites: dict[SiteId, SiteView] = {}

    def connect(self, destination: Destination, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `hybrid_proxy.pool.Connect`."""
        self.calls.append(Call(destination, factory))
        return self.calls[-1].opening

    def follow(self, *sites: SiteView) -> None:
        """The view now has these sites, beside those it had."""
        self.sites.update({site.spec.id: site for site in sites})
        view = View(me=ME, serial=1, zones=("test",), nodes=dict(self.nodes), sites=dict(self.sites))
        changed = self.house.routes.follow(view)
        self.house.pool.follow(self.house.routes)
        self.house.room.release(changed)

    def dies(self, node: NodeId) -> None:
        """`node` is taken for dead (told with the next view)."""
        self.nodes[node] = node_view(node, live=False)

    def site(
        self,
        state: SiteState = "serving",
        owner: NodeId | None = ME,
        epoch: int = 1,
        site: SiteId = SHOP,
        domains: tuple[str, ...] = ("shop.test",),
        ports: tuple[Port, ...] = (Port("http", 80),),
        upstream: str = "10.88.0.5",
        keys: tuple[str, ...] = (),
    ) -> SiteView:
        """A site of the view, by default served here."""
        spec = SiteSpec(
            id=site,
            version=Version(1, 1),
            name="x",
            domains=domains,
            image="x@1",
            number=1,
            ports=ports,
            ssh_keys=keys,
        )
        claim = Claim(epoch, owner) if owner else None
        here = upstream if owner == ME and state == "serving" else None
        return SiteView(spec=spec, state=state, owner=owner, claim=claim, upstream=here)

    def client(self, source: str = "198.51.100.9") -> Wire:
        """Connect a client of the open internet."""
        return plug(Front(self.house, self.house.public_door(source, 40000)))

    def plug(self, factory: Factory, source: str = "198.51.100.9") -> Wire:
        """Connect a client to `factory`."""
        protocol = factory.buildProtocol(IPv4Address("TCP", source, 40001))
        return plug(cast(Protocol, protocol))

    def member(self, header: bytes = b"") -> Wire:
        """Connect another front door, which sends `header` first."""
        wire = self.plug(self._interior)
        if header:
            wire.send(header)
        return wire

    def call(self) -> Call:
        """The one connection being opened since the last call."""
        (call,) = self.calls
        self.calls.clear()
        return call

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        self.clock.pump([0.25] * round(seconds / 0.25))


def node_view(node: NodeId, live: bool = True) -> NodeView:
    """A node of the view."""
    return NodeView(
        id=node, name=node, dc="a", address="192.0.2.7", cluster_port=1, interior_port=7947, api_port=3, live=live
    )


@pytest.fixture
def limits() -> Limits:
    """Those of production; tests may override the fixture."""
    return Limits()


@pytest.fixture
def world(limits: Limits) -> World:
    """Front doors of a node that serves `shop.test` itself."""
    world = World(limits)
    world.follow(world.site())
    return world
