"""
The HTTPS door: the first message says for whom a connection is, then TLS is spoken here or passed on as it is. Shell.

From the first byte to the end of the handshake a client has `Limits.handshake_s`, however slowly bytes come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IHandshakeListener,
    INegotiated,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid_proxy.deadlines import NEVER
from hybrid_proxy.front import Front
from hybrid_proxy.h2front import H2Front
from hybrid_proxy.hello import UNRECOGNIZED_NAME, BadHello, Hello, parse_hello
from hybrid_proxy.house import House
from hybrid_proxy.lean.tls import Layer
from hybrid_proxy.pool import Connect
from hybrid_proxy.ports import hangs
from hybrid_proxy.relay import IStream
from hybrid_proxy.route import Route, Unknown
from hybrid_proxy.showing import H2
from hybrid_proxy.tcp import Callee, Caller


class SecureFactory(Factory):
    """
    Receptions for the open internet; a source with too many connections gets no more.

    Args:
        house: Shared.
        dial: Opens connections to sites that end TLS themselves.
        opened: Called with each connection,
        closed: and with the end of each.
    """

    noisy = False

    def __init__(
        self,
        house: House,
        dial: Connect,
        opened: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        self.house, self.dial, self.opened, self.closed = house, dial, opened, closed
        self.fronts: set[Front | H2Front] = set()
        self.callers: set[Caller] = set()

    def buildProtocol(self, addr: IAddress | None) -> SecureReception | None:
        """See `IProtocolFactory`."""
        source, port = getattr(addr, "host", ""), getattr(addr, "port", 0)
        if not self.house.sources.enter(source):
            return None
        return SecureReception(self, source, port)

    def follow(self) -> None:
        """The routes changed: cut what hangs on a dead node."""
        for caller in list(self.callers):
            if hangs(caller, self.house):
                caller.cut()

    def cut(self) -> None:
        """End all connections that are passed on."""
        for caller in list(self.callers):
            caller.cut()


@implementer(IHalfCloseableProtocol)
class SecureReception(Protocol):
    """Reads the client's first message, then lets the protocol it asks for have the connection."""

    transport: IStream

    def __init__(self, home: SecureFactory, source: str, port: int) -> None:
        self._home, self.source, self._port = home, source, port
        self._buffer = b""
        self._inner: Protocol | None = None
        self.due_s = NEVER

    def connectionMade(self) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self._home.opened()
        deadlines = self._home.house.deadlines
        self.due_s = deadlines.now_s + self._home.house.limits.handshake_s
        deadlines.watch(self)

    def overdue(self) -> None:
        """See `hybrid_proxy.deadlines.Watched`."""
        self.transport.abortConnection()

    def settled(self) -> None:
        """What has the connection now has its own deadlines."""
        self.due_s = NEVER
        self._home.house.deadlines.forget(self)

    def dataReceived(self, data: bytes) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._buffer += data
        try:
            hello = parse_hello(self._buffer)
        except BadHello:
            self.transport.abortConnection()
            return
        if hello is not None:
            self._admit(hello)

    def _admit(self, hello: Hello) -> None:
        """Whoever asks for nobody's name is shown nobody's certificate."""
        house, host = self._home.house, hello.host
        site = house.routes.site_of(host) if host is not None else None
        if host is None or site is None:
            self.transport.write(UNRECOGNIZED_NAME)
            self.transport.loseConnection()
            return
        early, self._buffer = self._buffer, b""
        if isinstance(house.routes.route_tls(host), Unknown):
            context = house.certificates.context(host, site)
            inner = Negotiation(self._home, self, host, (self.source, self._port))
            self._inner = Layer(SSL.Connection(context, None), inner)
        else:
            self.settled()
            self._inner = PassedOn(self._home, host, (self.source, self._port), early)
            early = b""
        self._inner.makeConnection(self.transport)
        if self._inner is None:
            return  # lost already
        self.dataReceived = self._inner.dataReceived  # type: ignore[method-assign]  # with nothing in between
        if early:
            self._inner.dataReceived(early)

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`: TLS has an end of its own, without it the connection broke off."""
        if isinstance(self._inner, PassedOn):
            self._inner.readConnectionLost()
        else:
            self.transport.abortConnection()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self.settled()
        inner, self._inner = self._inner, None
        self.__dict__.pop("dataReceived", None)
        if inner is not None:
            inner.connectionLost(reason)
        self._home.house.sources.leave(self.source)
        self._home.closed()


@implementer(IHandshakeListener)
class Negotiation(Protocol):
    """Within TLS: once the handshake is over, the protocol that was agreed on has the connection."""

    transport: IStream

    def __init__(
        self,
        home: SecureFactory,
        reception: SecureReception,
        host: str,
        source: tuple[str, int],
    ) -> None:
        self._home, self._reception = home, reception
        self._host, self._source = host, source
        self._front: Front | H2Front | None = None

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`."""
        self._reception.settled()
        house = self._home.house
        door = house.secure_door(*self._source, self._host)
        agreed = cast(INegotiated, self.transport).negotiatedProtocol
        front = self._front = H2Front(house, door) if agreed == H2 else Front(house, door)
        self._home.fronts.add(front)
        front.makeConnection(self.transport)
        self.dataReceived = front.dataReceived  # type: ignore[method-assign]  # with nothing in between

    def dataReceived(self, data: bytes) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        if self._front is not None:
            self._front.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        front, self._front = self._front, None
        self.__dict__.pop("dataReceived", None)
        if front is not None:
            self._home.fronts.discard(front)
            front.connectionLost(reason)


class PassedOn(Caller):
    """To a site that ends TLS itself; it gets the client's own first message."""

    def __init__(self, home: SecureFactory, host: str, source: tuple[str, int], hello: bytes) -> None:
        def route() -> Route:
            return home.house.routes.route_tls(host)

        super().__init__(home.house, home.dial, route, source)
        self._callers, self._hello = home.callers, hello

    def connectionMade(self) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self._callers.add(self)
        super().connectionMade()

    def join(self, callee: Callee, framed: bool, early: bytes) -> None:
        """See `Caller`."""
        super().join(callee, framed, early)
        hello, self._hello = self._hello, b""
        self.dataReceived(hello)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        super().connectionLost(reason)
        self._callers.discard(self)
