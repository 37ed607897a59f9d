"""
One request of an HTTP/2 connection, and the exchange behind it. Shell.

Flow control is end to end: what a site has not taken is not acknowledged to the client, and what the client gives no
window for is not read from the site.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from hybrid_proxy import pages
from hybrid_proxy.deadlines import NEVER
from hybrid_proxy.door import Door
from hybrid_proxy.exchange import Exchange
from hybrid_proxy.h2head import Field, page_fields, reply_fields
from hybrid_proxy.head import RequestHead
from hybrid_proxy.house import House
from hybrid_proxy.pages import Page
from hybrid_proxy.relay import Splice
from hybrid_proxy.reply import ReplyHead
from hybrid_proxy.route import Destination, Route
from hybrid_proxy.upstream import Upstream


class Sender(Protocol):
    """The connection, as a stream needs it."""

    house: House
    door: Door

    def send_head(self, stream: Stream, fields: list[Field], ended: bool) -> None:
        """Send a HEADERS frame."""

    def send_body(self, stream: Stream) -> None:
        """Send what `stream` has pending, as far as there is room."""

    def took(self, stream: Stream, count: int) -> None:
        """So many bytes that the client sent are out of the way."""

    def reset(self, stream: Stream) -> None:
        """The response cannot be completed."""

    def over(self, stream: Stream) -> None:
        """All is said; a body still to come is not wanted."""


class StreamExchange(Exchange):
    """An exchange whose responses go out as frames."""

    __slots__ = ("_stream",)

    def __init__(self, house: House, stream: Stream, head: RequestHead, came_from: bytes) -> None:
        super().__init__(house, stream, head, came_from)  # type: ignore[arg-type]  # its transport is an outlet
        self._stream = stream

    def interim(self, reply: ReplyHead) -> None:
        """See `hybrid_proxy.upstream.Asker`."""
        if reply.status not in (100, 101):
            self._stream.send_head(reply_fields(reply), False)

    def _begin_reply(self, reply: ReplyHead, length: int | None, piece: bytes, done: bool) -> None:
        fields = reply_fields(reply, self._outgoing.head.adds)
        ended = done and not piece
        self._stream.send_head(fields, ended)
        if not ended:
            self._write(b"", piece, done)

    def _write(self, head: bytes, piece: bytes, done: bool) -> None:
        self._sent_bytes += len(piece)
        self._stream.send(piece, done)


class Outlet:
    """What an exchange takes for its client's transport: it registers as producer there, and nothing else."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """See `IConsumer`."""
        self._stream.produced_by(producer)

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self._stream.produced_by(None)


@implementer(IPushProducer)
class Stream:
    """See `hybrid_proxy.exchange.Client`."""

    def __init__(self, sender: Sender, number: int, head: RequestHead, ended: bool) -> None:
        self._sender, self.number, self._head = sender, number, head
        self.transport = Outlet(self)
        self.due_s = NEVER
        self.pending = bytearray()
        """Of the response's body: not sent yet."""
        self.ending = False
        """No more of it comes."""
        self.closed = False
        self.unasked = ended
        """The client's side has ended."""
        self._exchange: Exchange | None = None
        self._producer: IPushProducer | None = None
        self._producer_paused = False
        self._untaken = 0
        self._paused = False
        self._pacing = False
        self._window_bytes = 0
        self._stalled_s = 0.0

    def begin(self, came_from: bytes) -> None:
        """Have it answered."""
        self._sender.house.deadlines.watch(self)
        exchange = self._exchange = StreamExchange(self._sender.house, self, self._head, came_from)
        exchange.begin()

    # ------------------------------------------------------------------------------------------------- the client

    def received(self, piece: bytes, count: int) -> None:
        """A DATA frame: `count` bytes of the window, padding included."""
        self._window_bytes += len(piece)
        exchange = self._exchange
        if piece and exchange is not None:
            self._untaken += count
            exchange.body(piece)
            if not self._paused:
                self._take()
        else:
            self._sender.took(self, count)

    def asked(self) -> None:
        """The client's side has ended."""
        self.unasked, self._pacing = True, False
        if self._exchange is not None and self._head.has_body:
            self._exchange.body_ended()

    def gone(self) -> None:
        """The client takes it back, or is gone."""
        self._close()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()

    # --------------------------------------------------------------------------------------------------- deadlines

    def overdue(self) -> None:
        """See `hybrid_proxy.deadlines.Watched`."""
        self.due_s = NEVER
        if self._exchange is None:
            self._sender.reset(self)
        elif self._pacing:
            self._check_pace(self._exchange)
        else:
            self._exchange.overdue()

    def due_in(self, seconds: float) -> None:
        """See `hybrid_proxy.exchange.Client`; while the client takes nothing, the time it has for that goes on."""
        if self._producer_paused:
            return
        self._pacing = False
        self.due_s = self._sender.house.deadlines.now_s + seconds

    def take_body(self) -> None:
        """See `hybrid_proxy.exchange.Client`."""
        self._stalled_s = 0.0
        self.resumeProducing()
        self._next_window()

    def _next_window(self) -> None:
        self.due_in(self._sender.house.limits.pace_s)
        self._window_bytes, self._pacing = 0, True

    def _check_pace(self, exchange: Exchange) -> None:
        """As `hybrid_proxy.front.Front` does."""
        limits = self._sender.house.limits
        if self._paused:
            self._stalled_s += limits.pace_s
            if self._stalled_s >= limits.reply_s:
                exchange.overdue()
                return
        elif self._window_bytes < limits.pace_s * limits.pace_bytes_per_s:
            exchange.cancel()
            self.answer(pages.SLOW)
            return
        self._next_window()

    # ------------------------------------------------------------------------------------------- the request's body

    def pauseProducing(self) -> None:
        """See `IPushProducer`: the site has enough, so the client gets no window."""
        self._paused = True

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused, self._stalled_s = False, 0.0
        self._take()

    def stopProducing(self) -> None:
        """See `IPushProducer`: the upstream is gone, which its protocol tells the exchange."""

    def _take(self) -> None:
        count, self._untaken = self._untaken, 0
        if count:
            self._sender.took(self, count)

    # ------------------------------------------------------------------------------------------------- the response

    def route(self, head: RequestHead) -> Route | Page:
        """See `hybrid_proxy.exchange.Client`."""
        return self._sender.door.route(head)

    def open(self, destination: Destination) -> Deferred[Upstream]:
        """See `hybrid_proxy.exchange.Client`."""
        door = self._sender.door
        return self._sender.house.pool.open(destination, door.source, door.source_port)

    def send_head(self, fields: list[Field], ended: bool) -> None:
        """Send the head of a response, or an interim one."""
        self.ending = ended
        self._sender.send_head(self, fields, ended)

    def send(self, piece: bytes, done: bool) -> None:
        """Send more of the body, perhaps none; `done` with the last."""
        self.pending += piece
        self.ending = done
        self._sender.send_body(self)
        self.mind_producer()

    def answer(self, page: Page) -> None:
        """See `hybrid_proxy.exchange.Client`."""
        self._exchange = None
        fields, body = page_fields(page, self._head.method != b"HEAD")
        self.send_head(fields, not body)
        if body:
            self.send(body, True)
        self.ended(True)

    def ended(self, keep_alive: bool) -> None:
        """See `hybrid_proxy.exchange.Client`."""
        self._exchange = None
        if self.closed:
            return
        if self.pending:
            self.due_in(self._sender.house.limits.stuck_s)
        else:
            self.drained()

    def drained(self) -> None:
        """All that was pending is sent."""
        if self._exchange is None and self.ending:
            self._close()
            self._sender.over(self)

    def cut(self) -> None:
        """See `hybrid_proxy.exchange.Client`."""
        self._exchange = None
        self._sender.reset(self)

    def tunnel(self, splice: Splice) -> None:
        """See `hybrid_proxy.exchange.Client`: no upgrade is offered within HTTP/2."""
        raise AssertionError("no upgrade was asked for")

    def produced_by(self, producer: IPushProducer | None) -> None:
        """Who makes the response's body."""
        self._producer, self._producer_paused = producer, False
        self.mind_producer()

    def mind_producer(self) -> None:
        """Let no more be made while something is pending; go on when all is sent."""
        producer, full = self._producer, bool(self.pending)
        if producer is not None and full != self._producer_paused:
            if full:
                producer.pauseProducing()
            self._producer_paused = full
            if not full:
                producer.resumeProducing()

    def _close(self) -> None:
        self.closed = True
        self.pending.clear()
        self._sender.house.deadlines.forget(self)
