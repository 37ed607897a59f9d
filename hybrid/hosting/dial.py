"""Whether something accepts connections. Shell."""

from __future__ import annotations

from typing import cast

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IReactorTCP, ITCPTransport
from twisted.internet.protocol import Factory, Protocol

PATIENCE_S = 1


class Dial:
    """Connects and hangs up. See `hybrid.hosting.terms.Accepts`."""

    def __init__(self, reactor: IReactorTCP) -> None:
        self._reactor = reactor

    async def __call__(self, address: str, port: int) -> bool:
        """Whether `address:port` accepts a connection."""
        endpoint = TCP4ClientEndpoint(self._reactor, address, port, timeout=PATIENCE_S)
        try:
            connected = await endpoint.connect(Factory.forProtocol(Protocol))
        except Exception:
            return False
        cast(ITCPTransport, cast(Protocol, connected).transport).abortConnection()
        return True
