"""
Plain TCP ports: a connection is passed to the owner of the site that has the port, here or through its node. Shell.

Between two nodes the bytes are framed (see `hybrid_proxy.relay`); the owner first answers with an HTTP head, 101 or
`NotOwner`, so that one form of refusal serves both kinds of traffic.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid.model import SiteId
from hybrid_proxy import pages
from hybrid_proxy.deadlines import NEVER
from hybrid_proxy.house import House
from hybrid_proxy.pages import Page
from hybrid_proxy.pool import Connect, greeting
from hybrid_proxy.relay import IStream, Side, Splice
from hybrid_proxy.reply import BadReply, parse_reply
from hybrid_proxy.route import Destination, Here, NotOwner, Route, There, Wait

JOINED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: hybrid-tcp\r\n\r\n"


@implementer(IHalfCloseableProtocol)
class Caller(Protocol):
    """
    Who connected to a public TCP port, or another front door on behalf of one.

    Args:
        house: Shared.
        dial: Opens the connection to the site.
        route: Where it goes, asked again after each wait.
        source: Address and port of the client.
        framed: It is another front door: tell it first how it went, and frame what is sent.
        home: The callers of a public port, where they are counted.
    """

    log = Logger()
    transport: IStream

    def __init__(
        self,
        house: House,
        dial: Connect,
        route: Callable[[], Route],
        source: tuple[str, int],
        framed: bool = False,
        home: set[Caller] | None = None,
    ) -> None:
        self._house, self._dial, self._route, self._framed = house, dial, route, framed
        self.source, self._home = source, home
        self.site = SiteId("")
        self.destination: Destination | None = None
        self.due_s = NEVER
        self._connecting: Deferred[IProtocol] | None = None
        self._callee: Callee | None = None
        self._splice: Splice | None = None
        self._scout = False
        self._gone = False
        self._moved_bytes = -1

    # -------------------------------------------------------------------------------------------- finding the site

    def connectionMade(self) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self.transport.setTcpNoDelay(True)
        self._house.deadlines.watch(self)
        if self._home is not None:
            self._home.add(self)
        self._greet()

    def _greet(self) -> None:
        """Begin the talk; which site it is, is known."""
        self._look_for_site()

    def _look_for_site(self) -> None:
        """Read nothing more until the site is there."""
        self.transport.pauseProducing()
        self.due_s = self._house.deadlines.now_s + self._house.limits.hold_s
        self._begin()

    def resume(self, scout: bool) -> None:
        """See `hybrid_proxy.room.Waiter`."""
        self._scout = scout
        self._begin()

    def _begin(self) -> None:
        route = self._route()
        if isinstance(route, Here | There):
            self.site, self.destination = route.site, route
            if self._is_doubted() and not self._scout:
                self._wait()
            else:
                self._call(route)
        elif isinstance(route, Wait):
            self.site = route.site
            self._wait()
        elif isinstance(route, NotOwner):
            self._refuse(pages.not_owner(route.claim))
        else:
            self._refuse(pages.not_served(route))

    def _is_doubted(self) -> bool:
        """Whether the site's owner did not answer of late."""
        return self.site in self._house.room.doubts

    def _call(self, destination: Destination) -> None:
        callee = self._callee = Callee(self, destination)
        self._connecting = self._dial(destination, _Once(callee))
        self._connecting.addCallbacks(self._connected, self._unreachable)

    def _connected(self, callee: IProtocol) -> None:
        self._connecting = None

    def _unreachable(self, failure: Failure) -> None:
        if self._connecting is not None:
            self._connecting = None
            self.try_later()

    def _stop_connecting(self) -> None:
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()

    def try_later(self) -> None:
        """The site did not answer, or is elsewhere."""
        self._callee = None
        if self._gone:
            return
        self._house.room.doubt(self.site)
        self._wait()

    def _wait(self) -> None:
        self._scout = False
        if not self._house.room.hold(self):
            self._refuse(pages.CROWDED)

    def _refuse(self, page: Page) -> None:
        if self._framed:
            self.transport.write(page.bytes(close=True))
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()

    # ------------------------------------------------------------------------------------------------- connected

    def join(self, callee: Callee, framed: bool, early: bytes) -> None:
        """The site is there: relay. `early` is what it sent already."""
        if self._gone:
            callee.transport.abortConnection()
            return
        self._answers()
        if self._framed:
            self.transport.write(JOINED)
        near, far = Side(self.transport, self._framed), Side(callee.transport, framed)
        splice = self._splice = callee.splice = self._new_splice(near, far)
        splice.begin()
        self.due_s = self._house.deadlines.now_s + self._house.limits.tunnel_idle_s
        self._joined()
        if early:
            splice.from_far(early)
        self.transport.resumeProducing()

    def _answers(self) -> None:
        """The site's owner does, and the site with it."""
        self._house.room.trust(self.site)

    def _new_splice(self, near: Side, far: Side) -> Splice:
        return Splice(near, far, self._count)

    def _joined(self) -> None:
        """The site is there: the first words to it, if there are any."""

    @property
    def connected_to_site(self) -> bool:
        """Whether bytes are relayed."""
        return self._splice is not None

    def dataReceived(self, data: bytes) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        if self._splice is not None:
            self._splice.from_near(data)

    def overdue(self) -> None:
        """See `hybrid_proxy.deadlines.Watched`: nobody answered in time, or nothing moved for very long."""
        splice = self._splice
        if splice is not None and splice.moved_bytes != self._moved_bytes:
            self._moved_bytes = splice.moved_bytes
            self.due_s = self._house.deadlines.now_s + self._house.limits.tunnel_idle_s
        else:
            self.due_s = NEVER
            self.cut()

    def cut(self) -> None:
        """End it at once."""
        self.transport.abortConnection()

    def _count(self) -> None:
        if self._splice is not None and isinstance(self.destination, Here):
            self._house.traffic.served(self.site, self._splice.moved_bytes)

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""
        if self._splice is not None:
            self._splice.near_ended()
        else:
            self.transport.abortConnection()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self._gone = True
        self._house.deadlines.forget(self)
        self._house.room.leave(self)
        if self._home is not None:
            self._home.discard(self)
            self._house.sources.leave(self.source[0])
        self._stop_connecting()
        if self._splice is not None:
            self._splice.near_lost()
        elif self._callee is not None and self._callee.connected:
            self._callee.transport.abortConnection()


@implementer(IHalfCloseableProtocol)
class Callee(Protocol):
    """The connection to the site: its container here, or the front door of the node that owns it."""

    transport: IStream

    def __init__(self, caller: Caller, destination: Destination) -> None:
        self._caller, self._destination = caller, destination
        self._buffer = b""
        self.splice: Splice | None = None

    def connectionMade(self) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        if isinstance(self._destination, Here):
            if self._destination.port:  # a local socket has no such thing
                self.transport.setTcpNoDelay(True)
            self._caller.join(self, False, b"")
        else:
            self.transport.setTcpNoDelay(True)
            self.transport.write(greeting(self._destination, *self._caller.source))

    def dataReceived(self, data: bytes) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        if self.splice is not None:
            self.splice.from_far(data)
            return
        self._buffer += data
        try:
            reply = parse_reply(self._buffer)
        except BadReply:
            self.transport.abortConnection()
            return
        if reply is None:
            return
        if reply.status == 101:
            self._caller.join(self, True, self._buffer[reply.end :])
        else:
            self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""
        if self.splice is not None:
            self.splice.far_ended()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        if self.splice is not None:
            self.splice.gone()
        else:
            self._caller.try_later()


class PortFactory(Factory):
    """Callers of one public port."""

    noisy = False

    def __init__(self, house: House, dial: Connect, public_port: int) -> None:
        self._house, self._dial, self._public_port = house, dial, public_port
        self.callers: set[Caller] = set()

    def buildProtocol(self, addr: IAddress | None) -> Caller | None:
        """See `IProtocolFactory`."""
        source = getattr(addr, "host", ""), getattr(addr, "port", 0)
        if not self._house.sources.enter(source[0]):
            return None
        return Caller(self._house, self._dial, self._route, source, home=self.callers)

    def _route(self) -> Route:
        return self._house.routes.route_port(self._public_port)


class _Once(Factory):
    noisy = False

    def __init__(self, callee: Callee) -> None:
        self._callee = callee

    def buildProtocol(self, addr: object) -> Callee:
        return self._callee
