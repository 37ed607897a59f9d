"""
Two transports joined: what one reads the other writes, with back-pressure and half-close. Shell.

TLS as Twisted has it knows no half-close, so raw TCP between two nodes is framed (the chunked coding): the last chunk
says "no more from this side" and the other direction goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.interfaces import IConsumer, IPushProducer, ISSLTransport, ITCPTransport
from zope.interface import implementer

from hybrid_proxy.body import LAST_CHUNK, BadBody, ChunkedReader, chunk
from hybrid_proxy.lean.stream import Stream


class IStream(ITCPTransport, IConsumer, IPushProducer):
    """What every stream transport of Twisted is, TCP or TLS, under one name."""


@implementer(IPushProducer)
class Side:
    """One end of a splice; to the other end it is the producer."""

    __slots__ = ("_fed", "_reader", "lost", "transport", "unread", "unwritten")

    def __init__(self, transport: IStream, framed: bool = False) -> None:
        self.transport = transport
        self._reader = ChunkedReader() if framed else None
        self._fed = False
        self.unread = True
        """More may come from it."""
        self.unwritten = True
        """More may go to it."""
        self.lost = False
        """Its connection is no more: Twisted's transports with TLS bear no call then."""

    def feed_from(self, source: Side) -> None:
        """What `source` reads is written here."""
        self._fed = True
        self.transport.registerProducer(source, True)

    def unfeed(self) -> None:
        """Undo `feed_from`."""
        if self._fed:
            self._fed = False
            if not self.lost:
                self.transport.unregisterProducer()

    @property
    def is_stream(self) -> bool:
        """Whether its transport can give what it reads to another one of its kind at once."""
        return type(cast(object, self.transport)) is Stream

    def relay_to(self, sink: Side | None) -> None:
        """Have all that is read here written there, with nobody in between; `None`: no longer."""
        if isinstance(self.transport, Stream):
            self.transport.sink = cast(Stream, sink.transport) if sink is not None else None

    @property
    def relayed_bytes(self) -> int:
        """How many were, so far."""
        return self.transport.relayed_bytes if isinstance(self.transport, Stream) else 0

    @property
    def framed(self) -> bool:
        """Whether bytes are not what they are on its transport."""
        return self._reader is not None

    def decode(self, data: bytes) -> bytes:
        """What `data` read from it means. Raises `BadBody`."""
        return data if self._reader is None else self._reader.feed(data)

    @property
    def said_end(self) -> bool:
        """Whether the framing said that no more comes."""
        return self._reader is not None and self._reader.done

    def write(self, data: bytes) -> None:
        """Send `data`."""
        self.transport.write(data if self._reader is None else chunk(data))

    def end(self) -> None:
        """Nothing more is sent."""
        self.unwritten = False
        self.unfeed()
        if self._reader is not None:
            self.transport.write(LAST_CHUNK)
        else:
            half_close(self.transport)

    def close(self) -> None:
        """Close when what was written is sent."""
        self.unfeed()
        if not self.lost:
            self.transport.resumeProducing()
            self.transport.loseConnection()

    def pauseProducing(self) -> None:
        """The other end has enough for now."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The other end has sent what it had."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The other end is gone; `Splice.gone` follows."""


def half_close(transport: IStream) -> None:
    """Say that no more comes, and go on reading; where the transport cannot, close it."""
    if ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport):
        transport.loseWriteConnection()
    else:
        transport.loseConnection()


class Splice:
    """
    Joins two ends until both directions have ended, or one end is gone.

    Args:
        near: The client's end.
        far: The site's end.
        ended: Called once, when it is over and both transports were told to close.
    """

    looks_in = False
    """Whether it wants to see what passes, in `_pass`."""

    def __init__(self, near: Side, far: Side, ended: Callable[[], None]) -> None:
        self._near, self._far, self._ended = near, far, ended
        self._over = False
        self._plain = not (self.looks_in or near.framed or far.framed)
        self.passed_bytes = 0
        """Through this object; see `moved_bytes`."""

    @property
    def moved_bytes(self) -> int:
        """In both directions, so far."""
        return self.passed_bytes + self._near.relayed_bytes + self._far.relayed_bytes

    def begin(self) -> None:
        """Let each end produce for the other."""
        self._far.feed_from(self._near)
        self._near.feed_from(self._far)
        if self._plain and type(self) is Splice and self._near.is_stream and self._far.is_stream:
            self._near.relay_to(self._far)
            self._far.relay_to(self._near)

    def from_near(self, data: bytes) -> None:
        """The client sent `data`."""
        far = self._far
        if self._plain and far.unwritten:
            self.passed_bytes += len(data)
            far.transport.write(data)
        else:
            self._move(data, self._near, far)

    def from_far(self, data: bytes) -> None:
        """The site sent `data`."""
        near = self._near
        if self._plain and near.unwritten:
            self.passed_bytes += len(data)
            near.transport.write(data)
        else:
            self._move(data, self._far, near)

    def near_ended(self) -> None:
        """The client sends no more."""
        self._end(self._near, self._far)

    def far_ended(self) -> None:
        """The site sends no more."""
        self._end(self._far, self._near)

    def near_lost(self) -> None:
        """The client is gone."""
        self._near.lost = True
        self.gone()

    def far_gone(self) -> None:
        """The site is lost."""
        self.gone()

    def gone(self) -> None:
        """One end is lost: close the other when what it is owed has been sent."""
        if self._over:
            return
        self._over = True
        for side in (self._near, self._far):
            side.relay_to(None)
        for side in (self._near, self._far):
            side.close()
        self._ended()

    def _move(self, data: bytes, source: Side, sink: Side) -> None:
        try:
            data = source.decode(data)
        except BadBody:
            self.gone()
            return
        if data:
            self._pass(data, source, sink)
        if source.said_end:
            self._end(source, sink)

    def _pass(self, data: bytes, source: Side, sink: Side) -> None:
        if sink.unwritten:
            self.passed_bytes += len(data)
            sink.write(data)

    def _end(self, source: Side, sink: Side) -> None:
        if self._over or not source.unread:
            return
        source.unread = False
        sink.end()
        if not sink.unread:
            self.gone()
