"""
The ways of a UDP flow: a socket towards the container, or a stream between the nodes with a socket at its end. Shell.

What a stream does not take is dropped, as networks do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Shape
from typing import cast

from twisted.internet.interfaces import IListeningPort, IPushProducer, IReactorUDP, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid_proxy import pages
from hybrid_proxy.datagrams import Datagrams, framed
from hybrid_proxy.deadlines import NEVER
from hybrid_proxy.house import House
from hybrid_proxy.pool import greeting
from hybrid_proxy.proxyv2 import Passport
from hybrid_proxy.relay import IStream
from hybrid_proxy.reply import BadReply, parse_reply
from hybrid_proxy.route import Destination, Here, NotOwner, Wait
from hybrid_proxy.tcp import JOINED

IDLE_S = 60.0
MAX_DATAGRAM = 65535


class Way(Shape):
    """Where datagrams go."""

    def send(self, datagram: bytes) -> None:
        """Towards the site; may be lost."""

    def close(self) -> None:
        """No more."""


class Traveller(Shape):
    """Whose datagrams they are."""

    def opened(self, way: Way) -> None:
        """Datagrams can go."""

    def back(self, datagram: bytes) -> None:
        """The site answered."""

    def end(self) -> None:
        """There is no way any more."""


class Exit(DatagramProtocol):
    """A socket towards a container; `back` takes what it answers, and only it."""

    noisy = False

    def __init__(self, address: str, port: int, back: Callable[[bytes], None]) -> None:
        self._address, self._port, self._back = address, port, back
        self._listening: IListeningPort | None = None

    def open(self, reactor: IReactorUDP) -> None:
        """Take a port of the system's choice."""
        self._listening = reactor.listenUDP(0, self, "", MAX_DATAGRAM)

    def startProtocol(self) -> None:  # noqa: N802  (Twisted's name)
        """See `DatagramProtocol`."""
        cast(IUDPTransport, self.transport).connect(self._address, self._port)

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        """See `DatagramProtocol`."""
        self._back(datagram)

    def connectionRefused(self) -> None:  # noqa: N802  (Twisted's name)
        """See `DatagramProtocol`: nobody listens there; the client finds out by itself."""

    def send(self, datagram: bytes) -> None:
        """To the container; lost when the system will not have it."""
        try:
            cast(IUDPTransport, self.transport).write(datagram, None)
        except OSError:
            return

    def close(self) -> None:
        """Give the port back."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.stopListening()


@implementer(IPushProducer)
class Stream(Protocol):
    """Sends datagrams while the other side takes them."""

    transport: IStream

    def __init__(self) -> None:
        self._full = False

    def begin(self) -> None:
        """Datagrams may be sent."""
        self.transport.registerProducer(self, True)

    def send(self, datagram: bytes) -> None:
        """To the other node, or nowhere."""
        if not self._full:
            self.transport.write(framed(datagram))

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self._full = True

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self._full = False

    def stopProducing(self) -> None:
        """See `IPushProducer`."""
        self._full = True


class Tunnel(Stream):
    """The stream of a flow to the owner's front door."""

    def __init__(self, destination: Destination, source: tuple[str, int], flow: Traveller) -> None:
        super().__init__()
        self._greeting = greeting(destination, *source)
        self._flow = flow
        self._head = b""
        self._datagrams: Datagrams | None = None

    def connectionMade(self) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self.transport.write(self._greeting)

    def dataReceived(self, data: bytes) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        if self._datagrams is None:
            self._head += data
            try:
                reply = parse_reply(self._head)
            except BadReply:
                reply = None
                self.transport.abortConnection()
            if reply is None:
                return
            if reply.status != 101:
                self.transport.abortConnection()
                return
            data = self._head[reply.end :]
            self._datagrams = Datagrams()
            self.begin()
            self._flow.opened(self)
        for datagram in self._datagrams.feed(data):
            self._flow.back(datagram)

    def close(self) -> None:
        """End the stream."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self._flow.end()


class Entrance(Stream):
    """At the owner: a flow that another front door passes on."""

    def __init__(self, reactor: IReactorUDP, house: House, passport: Passport) -> None:
        super().__init__()
        self._reactor, self._house, self._passport = reactor, house, passport
        self._datagrams = Datagrams()
        self._exit: Exit | None = None
        self.due_s = NEVER
        self.site = passport.site

    def connectionMade(self) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self._house.deadlines.watch(self)
        self._heard()
        self._begin()

    def resume(self, scout: bool) -> None:
        """See `hybrid_proxy.room.Waiter`."""
        self._begin()

    def _begin(self) -> None:
        """Go to the container; while that starts the other front door keeps what comes."""
        passport = self._passport
        route = self._house.routes.admit(passport.site, passport.claim, service=passport.service)
        if isinstance(route, Wait) and self._house.room.hold(self):
            return
        if not isinstance(route, Here):
            page = pages.not_owner(route.claim) if isinstance(route, NotOwner) else pages.UNAVAILABLE
            self.transport.write(page.bytes(close=True))
            self.transport.loseConnection()
            return
        self._exit = Exit(route.address, route.port, self._back)
        self._exit.open(self._reactor)
        self.transport.write(JOINED)
        self.begin()

    def _heard(self) -> None:
        self.due_s = self._house.deadlines.now_s + IDLE_S + 30.0

    def dataReceived(self, data: bytes) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self._heard()
        for datagram in self._datagrams.feed(data):
            if self._exit is not None:
                self._exit.send(datagram)

    def _back(self, datagram: bytes) -> None:
        self._heard()
        self.send(datagram)

    def overdue(self) -> None:
        """See `hybrid_proxy.deadlines.Watched`."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self._house.deadlines.forget(self)
        self._house.room.leave(self)
        if self._exit is not None:
            self._exit.close()
