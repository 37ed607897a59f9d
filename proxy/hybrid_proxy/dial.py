"""Opens connections to containers of this node (plain) and to front doors of other nodes (mutual TLS). Shell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTCP,
    IStreamClientEndpoint,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
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

    def __init__(self, reactor: IReactorTCP, identity: Identity, limits: Limits) -> None:
        self._reactor, self._identity, self._limits = reactor, identity, limits
        self._options: dict[NodeId, IOpenSSLClientConnectionCreator] = {}

    def renew(self, identity: Identity) -> None:
        """Show `identity`'s certificate on every connection from now on."""
        self._identity = identity
        self._options.clear()

    def connect(self, destination: Destination, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `hybrid_proxy.pool.Connect`."""
        return self.endpoint(destination).connect(factory)

    def endpoint(self, destination: Destination) -> IStreamClientEndpoint:
        """Where `destination` is."""
        timeout = round(self._limits.connect_s)
        if isinstance(destination, Here):
            return TCP4ClientEndpoint(self._reactor, destination.address, destination.port, timeout)
        plain = TCP4ClientEndpoint(self._reactor, destination.address, destination.interior_port, timeout)
        return wrapClientTLS(self._client_options(destination.node), plain)

    def _client_options(self, node: NodeId) -> IOpenSSLClientConnectionCreator:
        options = self._options.get(node)
        if options is None:
            options = self._options[node] = self._identity.client_options(node)
        return options
