"""The factories of the two HTTP doors: public, and for other nodes. Count connections, refuse too many. Shell."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid_proxy.deadlines import NEVER
from hybrid_proxy.door import MembersDoor
from hybrid_proxy.front import Front
from hybrid_proxy.house import House
from hybrid_proxy.pages import LOOP
from hybrid_proxy.proxyv2 import BadHeader, Passport, parse_header
from hybrid_proxy.relay import IStream

HEADER_S = 5.0
"""For a TLS handshake and the PROXY header."""
MAX_STRANGERS = 256
"""Connections that have not shown yet that they are of a member."""

Passage = Callable[[Passport], Protocol]
"""Makes the protocol of a raw TCP connection that another node passed on."""


class PublicFactory(Factory):
    """Fronts for the open internet; a source with too many connections gets no more."""

    noisy = False

    def __init__(self, house: House, opened: Callable[[], None], closed: Callable[[], None]) -> None:
        self.house = house
        self.opened, self.closed = opened, closed
        self.fronts: set[Front] = set()

    def buildProtocol(self, addr: IAddress | None) -> PublicFront | None:
        """See `IProtocolFactory`."""
        source, port = getattr(addr, "host", ""), getattr(addr, "port", 0)
        if not self.house.sources.enter(source):
            return None
        return PublicFront(self, source, port)


class PublicFront(Front):
    """A `Front` that is counted."""

    def __init__(self, home: PublicFactory, source: str, port: int) -> None:
        super().__init__(home.house, home.house.public_door(source, port))
        self._home, self._source = home, source

    def connectionMade(self) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self._home.fronts.add(self)
        self._home.opened()
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        super().connectionLost(reason)
        self._home.fronts.discard(self)
        self._home.house.sources.leave(self._source)
        self._home.closed()


class InteriorFactory(Factory):
    """Receives what other front doors pass on; to be wrapped in TLS that only members get through."""

    noisy = False

    def __init__(self, house: House, passage: Passage) -> None:
        self.house, self.passage = house, passage
        self.fronts: set[Front] = set()
        self.strangers: set[InteriorReception] = set()

    def buildProtocol(self, addr: IAddress | None) -> InteriorReception:
        """See `IProtocolFactory`."""
        return InteriorReception(self)


@implementer(IHalfCloseableProtocol)
class InteriorReception(Protocol):
    """Reads the PROXY header, then lets the protocol it asks for have the connection."""

    transport: IStream

    def __init__(self, home: InteriorFactory) -> None:
        self._home = home
        self._buffer = b""
        self._inner: Protocol | None = None
        self.due_s = NEVER

    def connectionMade(self) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        if len(self._home.strangers) >= MAX_STRANGERS:
            self.transport.abortConnection()
            return
        self._home.strangers.add(self)
        deadlines = self._home.house.deadlines
        self.due_s = deadlines.now_s + HEADER_S
        deadlines.watch(self)

    def overdue(self) -> None:
        """See `hybrid_proxy.deadlines.Watched`."""
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._buffer += data
        try:
            found = parse_header(self._buffer)
        except BadHeader:
            self.transport.abortConnection()
            return
        if found is not None:
            passport, end = found
            self._admit(passport, self._buffer[end:])

    def _admit(self, passport: Passport, rest: bytes) -> None:
        self._home.house.deadlines.forget(self)
        self._home.strangers.discard(self)
        self._buffer = b""
        if passport.hops != 1:
            self.transport.write(LOOP.bytes(close=True))
            self.transport.loseConnection()
            return
        if passport.public_port or passport.service:
            self._inner = self._home.passage(passport)
        else:
            self._inner = Front(self._home.house, MembersDoor(self._home.house.routes, passport))
            self._home.fronts.add(self._inner)
        self._inner.makeConnection(self.transport)
        if rest:
            self._inner.dataReceived(rest)

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self._home.house.deadlines.forget(self)
        self._home.strangers.discard(self)
        inner, self._inner = self._inner, None
        if isinstance(inner, Front):
            self._home.fronts.discard(inner)
        if inner is not None:
            inner.connectionLost(reason)
