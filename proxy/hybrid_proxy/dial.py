"""Opens connections to containers of this node (plain) and to front doors of other nodes (mutual TLS). Shell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
)
from twisted.internet.protocol import ClientFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid.model import NodeId
from hybrid_proxy.limits import Limits
from hybrid_proxy.route import Destination, Here

Refuses = Callable[[Sequence[NodeId]], str]
"""See `hybrid.cluster.tls.Refuses`."""


class Identity(Protocol):
    """What the front doors need of `hybrid.cluster.identity.Identity`."""

    def server_options(self, *, refuses: Refuses) -> IOpenSSLServerConnectionCreator:
        """For links other members open, unless `refuses` has something against one."""

    def client_options(self, node: NodeId) -> IOpenSSLClientConnectionCreator:
        """For a link to `node` and nobody else."""


class Reactor(IReactorTCP, IReactorUNIX, IReactorTime):
    """What is needed of the reactor."""


class _Attempt(ClientFactory):
    """One connection as an endpoint makes it, but with nothing around its protocol, which hears much."""

    noisy = False

    def __init__(self, clock: IReactorTime, factory: IProtocolFactory) -> None:
        self._clock, self._factory = clock, factory
        self._connector: IConnector | None = None
        self._protocol: IProtocol | None = None
        self.made: Deferred[IProtocol] = Deferred(self._give_up)

    def startedConnecting(self, connector: IConnector) -> None:
        """See `ClientFactory`."""
        self._connector = connector

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """See `IProtocolFactory`."""
        self._protocol = self._factory.buildProtocol(addr)  # type: ignore[arg-type]  # nobody looks at it
        self._clock.callLater(0, self._tell)  # by then it has its transport
        return self._protocol

    def _tell(self) -> None:
        if self._protocol is not None and not self.made.called:
            self.made.callback(self._protocol)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """See `ClientFactory`."""
        if not self.made.called:
            self.made.errback(reason)

    def clientConnectionLost(self, connector: IConnector, reason: Failure) -> None:
        """See `ClientFactory`: before anybody was told that it is there."""
        self.clientConnectionFailed(connector, reason)

    def _give_up(self, made: Deferred[IProtocol]) -> None:
        assert self._connector is not None
        self._connector.disconnect()


@implementer(IOpenSSLServerConnectionCreator)
class InteriorTLS:
    """What the interior port shows; `renew` changes it while the port is open."""

    def __init__(self, identity: Identity, refuses: Refuses) -> None:
        self._refuses = refuses
        self.renew(identity)

    def renew(self, identity: Identity) -> None:
        """See `Dialler.renew`."""
        self._creator = identity.server_options(refuses=self._refuses)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802 (Twisted's name)
        """See `IOpenSSLServerConnectionCreator`."""
        return self._creator.serverConnectionForTLS(protocol)


class Dialler:
    """
    Connects.

    Args:
        reactor: Where sockets come from.
        identity: Whom other nodes take us for.
        limits: `connect_s`.
    """

    def __init__(self, reactor: Reactor, identity: Identity, limits: Limits) -> None:
        self._reactor, self._identity, self._limits = reactor, identity, limits
        self._options: dict[NodeId, IOpenSSLClientConnectionCreator] = {}

    def renew(self, identity: Identity) -> None:
        """Show `identity`'s certificate on every connection from now on."""
        self._identity = identity
        self._options.clear()

    def connect(self, destination: Destination, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `hybrid_proxy.pool.Connect`."""
        timeout = round(self._limits.connect_s)
        if isinstance(destination, Here):
            attempt = _Attempt(self._reactor, factory)
            if destination.port:
                self._reactor.connectTCP(destination.address, destination.port, attempt, timeout)
            else:
                self._reactor.connectUNIX(destination.address, attempt, timeout)
            return attempt.made
        plain = TCP4ClientEndpoint(self._reactor, destination.address, destination.interior_port, timeout)
        return wrapClientTLS(self._client_options(destination.node), plain).connect(factory)

    def _client_options(self, node: NodeId) -> IOpenSSLClientConnectionCreator:
        options = self._options.get(node)
        if options is None:
            options = self._options[node] = self._identity.client_options(node)
        return options
