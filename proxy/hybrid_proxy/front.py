"""
A client's HTTP connection: requests one after the other, answered in order, every step with a deadline. Shell.

Pipelined requests wait, unread beyond a bound, until the response before them is complete.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid_proxy import pages
from hybrid_proxy.body import BadBody, BodyReader, ChunkedReader, LengthReader
from hybrid_proxy.cores import ClientCore
from hybrid_proxy.deadlines import NEVER
from hybrid_proxy.door import Door
from hybrid_proxy.exchange import Exchange
from hybrid_proxy.head import MAX_HEAD, Refused, RequestHead, parse_request
from hybrid_proxy.house import House
from hybrid_proxy.message import check_websocket, is_websocket
from hybrid_proxy.pages import Page
from hybrid_proxy.relay import IStream, Splice, half_close
from hybrid_proxy.route import Destination, Route
from hybrid_proxy.upstream import Upstream


@implementer(IHalfCloseableProtocol, IPushProducer)
class Front(ClientCore, Protocol):
    """
    The connection. To an upstream's transport it is the producer of the request's body.

    Args:
        house: What it shares with the others.
        door: How it came in.
    """

    log = Logger()
    transport: IStream
    _late: Callable[[], None] | None = None
    """What is done when it is overdue; `None`: it is cut off."""
    _look_at = 0
    """No look at an incomplete head before this length, or the end of a line."""
    _parsing = False
    _head: RequestHead | None = None
    _body: BodyReader | None = None
    _splice: Splice | None = None
    _window_bytes = 0
    _stalled_s = 0.0

    def __init__(self, house: House, door: Door) -> None:
        self._house, self._door = house, door
        self._buffer, self.due_s = b"", NEVER
        self.route: Callable[[RequestHead], Route | Page] = door.route
        """See `hybrid_proxy.exchange.Client`."""

    # ------------------------------------------------------------------------------------------------- deadlines

    def overdue(self) -> None:
        """See `hybrid_proxy.deadlines.Watched`."""
        self.due_s = NEVER
        if self._exchange is not None and self._exchange.brief:
            self._exchange.overdue()
        elif self._late is not None:
            self._late()
        else:
            self._cut_off()

    def _by(self, seconds: float, late: Callable[[], None] | None = None) -> None:
        self.due_s = self._house.deadlines.now_s + seconds
        self._late = late

    def due_in(self, seconds: float) -> None:
        """See `hybrid_proxy.exchange.Client`."""
        if self._exchange is not None:
            self.due_s = self._house.deadlines.now_s + seconds
            self._late = self._exchange.overdue

    def _cut_off(self) -> None:
        self.transport.abortConnection()

    def _head_late(self) -> None:
        self._refuse(pages.SLOW)

    # ------------------------------------------------------------------------------------------------------ reading

    def connectionMade(self) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self.transport.setTcpNoDelay(True)
        self._house.deadlines.watch(self)
        self._by(self._house.limits.idle_s)

    def _receive_first(self, data: bytes) -> None:
        """The beginning of a request, or all of it, that does not go the short way."""
        self._buffer = data
        self._take_requests()
        if self._buffer and self._receive is None:
            self._by(self._house.limits.head_s, self._head_late)

    def _receive_more(self, data: bytes) -> None:
        """More of a request's head."""
        self._buffer += data
        if len(self._buffer) >= self._look_at or b"\n" in data:
            self._take_requests()

    def _take_requests(self) -> None:
        """Take them from the buffer while the one before is over: a loop, since answers may be instant."""
        if self._parsing:
            return
        self._parsing = True
        try:
            while self._buffer and self._exchange is None and self._next_request():
                pass
        finally:
            self._parsing = False

    def _next_request(self) -> bool:
        """Whether a whole head was there."""
        try:
            head = parse_request(self._buffer)
            if head is None:
                self._look_at = 2 * len(self._buffer)  # a head fed byte by byte is not read anew for each byte
                return False
            self._look_at = 0
            self._buffer = self._buffer[head.end :]
            came_from = self._door.came_from(head)
            if head.upgrade and is_websocket(head):
                check_websocket(head)
        except Refused as error:
            if error.status:
                self._refuse(pages.refused(error))
            else:
                self._end_quietly()
            return False
        except Page as page:
            self._refuse(page)
            return False
        self._head = head
        exchange = self._exchange = Exchange(self._house, self, head, came_from)
        if exchange.fully_sent:
            self._receive = self._receive_early
        else:
            self._begin_body(head)
        if self._exchange is exchange:
            exchange.begin()
            self._house.prepare(self._door, head, exchange.destination)
        return True

    def _begin_body(self, head: RequestHead) -> None:
        self._body = ChunkedReader() if head.chunked else LengthReader(head.length or 0)
        self._receive = self._receive_body
        rest, self._buffer = self._buffer, b""
        if rest:
            self._receive_body(rest)

    def _receive_body(self, data: bytes) -> None:
        exchange, body = self._exchange, self._body
        if exchange is None or body is None:
            return
        self._window_bytes += len(data)
        try:
            piece = body.feed(data)
        except BadBody:
            self._give_up(exchange, pages.BAD_BODY)
            return
        if piece:
            exchange.body(piece)
        if body.done:
            self._body = None
            self._receive = self._receive_early
            exchange.body_ended()
            if body.rest:
                self._receive_early(body.rest)

    def _receive_early(self, data: bytes) -> None:
        """What comes before the response to the request at hand is complete."""
        self._buffer += data
        if len(self._buffer) > MAX_HEAD:
            self.pauseProducing()

    # ------------------------------------------------------------------------------------------- for the exchange

    def carry_on(self, exchange: Exchange, head: RequestHead) -> None:
        """A brief exchange has become `exchange`, with what was due still due."""
        self._exchange, self._head = exchange, head
        self._receive, self._late = self._receive_early, exchange.overdue

    def open(self, destination: Destination) -> Deferred[Upstream]:
        """See `hybrid_proxy.exchange.Client`."""
        return self._house.pool.open(destination, self._door.source, self._door.source_port)

    def take_body(self) -> None:
        """See `hybrid_proxy.exchange.Client`."""
        self._stalled_s = 0.0
        self.resumeProducing()
        self._next_window()

    def _next_window(self) -> None:
        self._window_bytes = 0
        self._by(self._house.limits.pace_s, self._check_pace)

    def _check_pace(self) -> None:
        """A client is slow only while it is read from; a site that takes nothing for too long is late."""
        limits, exchange = self._house.limits, self._exchange
        if exchange is None:
            return
        if self._paused:
            self._stalled_s += limits.pace_s
            if self._stalled_s >= limits.reply_s:
                exchange.overdue()
                return
        elif self._window_bytes < limits.pace_s * limits.pace_bytes_per_s:
            self._give_up(exchange, pages.SLOW)
            return
        self._next_window()

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        if self._paused:
            self._paused = False
            self._stalled_s = 0.0
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """See `IPushProducer`: the upstream is gone, which its protocol tells the exchange."""

    def answer(self, page: Page) -> None:
        """See `hybrid_proxy.exchange.Client`."""
        head, whole = self._head, self._body is None
        assert head is not None
        keep_alive = head.keep_alive and whole and not self._house.draining
        self.transport.write(page.bytes(not keep_alive, head.method != b"HEAD"))
        self.ended(keep_alive)

    def ended(self, keep_alive: bool) -> None:
        """See `hybrid_proxy.exchange.Client`."""
        self._exchange, self._head = None, None
        if not keep_alive or (self._half_closed and not self._buffer):
            self._close()
            return
        self._receive = None
        if self._paused:
            self.resumeProducing()
        if self._buffer:
            self._by(self._house.limits.head_s, self._head_late)
            self._look_at = 0
            self._take_requests()
        else:
            self.due_s = self._house.deadlines.now_s + self._house.limits.idle_s
            self._late = None

    def cut(self) -> None:
        """See `hybrid_proxy.exchange.Client`."""
        self._exchange = None
        self._end_quietly()

    def tunnel(self, splice: Splice) -> None:
        """See `hybrid_proxy.exchange.Client`."""
        self._exchange, self._receive = None, splice.from_near
        self._splice = splice
        self._watch_tunnel(-1)
        early, self._buffer = self._buffer, b""
        if early:
            splice.from_near(early)

    def _watch_tunnel(self, moved_bytes: int) -> None:
        """Cut the tunnel when nothing moved since the last look."""
        splice = self._splice
        if splice is None or splice.moved_bytes == moved_bytes:
            self._cut_off()
            return
        now_bytes = splice.moved_bytes
        self._by(self._house.limits.tunnel_idle_s, lambda: self._watch_tunnel(now_bytes))

    # ----------------------------------------------------------------------------------------------------- the end

    def _refuse(self, page: Page) -> None:
        """Answer what is not a request to serve; nothing after it can be trusted."""
        self._house.traffic.pages[page.status] += 1
        self._exchange = None
        self.transport.write(page.bytes(close=True))
        self._close(linger=True)

    def _give_up(self, exchange: Exchange, page: Page) -> None:
        """The request turned out not to be served."""
        exchange.cancel()
        if exchange.begun:
            self.cut()
        else:
            self._refuse(page)

    def _end_quietly(self) -> None:
        self._receive = _receive_nothing
        self._buffer = b""
        self.transport.abortConnection()

    def _close(self, linger: bool = False) -> None:
        """
        Close when all is sent.

        A client that is still sending would get a reset, and perhaps never see the answer: read on for a moment then.
        """
        self._receive = _receive_nothing
        self._exchange, self._buffer = None, b""
        self._by(self._house.limits.stuck_s)
        if (linger or self._body is not None) and not self._half_closed:
            self.resumeProducing()
            half_close(self.transport)
            self._by(self._house.limits.linger_s)
        else:
            self.transport.loseConnection()

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._exchange is not None

    def drain(self) -> None:
        """Close if idle; else the response under way is the last."""
        if self._exchange is None and self._splice is None and not self._buffer:
            self._close()

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`: a client may end its side and still wait for the response."""
        self._half_closed = True
        if self._splice is not None:
            self._splice.near_ended()
        elif self._exchange is None:
            self._close()
        elif self._body is not None:
            self._exchange.cancel()
            self.cut()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self._house.deadlines.forget(self)
        self.due_s, self._late = NEVER, None
        self._receive = _receive_nothing
        if self._splice is not None:
            self._splice.gone()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()


def _receive_nothing(data: bytes) -> None:
    """The connection is closing."""
