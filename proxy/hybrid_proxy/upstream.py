"""A connection to a site: one request at a time, and never used again when its framing is in doubt. Shell."""

from __future__ import annotations

from typing import Protocol as Interface
from typing import cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid_proxy.body import BadBody, BodyReader, ChunkedReader, EndReader, LengthReader
from hybrid_proxy.cores import SiteCore
from hybrid_proxy.deadlines import NEVER
from hybrid_proxy.relay import IStream, Splice
from hybrid_proxy.reply import BadReply, ReplyHead, parse_reply
from hybrid_proxy.route import Destination


class Asker(Interface):
    """Who sent the request and hears of the response. After `done`, `lost` or `broken` it hears no more."""

    brief: bool
    """It is a `BriefAsker`."""
    method: bytes
    fully_sent: bool
    """Nothing of the request is left to send."""

    @property
    def wants_tunnel(self) -> bool:
        """It asked for WebSocket."""

    def interim(self, reply: ReplyHead) -> None:
        """A 1xx response; the real one follows."""

    def replied(self, upstream: Upstream, reply: ReplyHead, length: int | None, piece: bytes, done: bool) -> None:
        """The response begins: its head, the body's length if told, and what of the body came with it."""

    def received(self, piece: bytes, done: bool) -> None:
        """More of the body, perhaps none; `done` with the last."""

    def switched(self, upstream: Upstream, reply: ReplyHead, data: bytes) -> None:
        """101: from now on a tunnel; `data` are its first bytes."""

    def lost(self, upstream: Upstream) -> None:
        """The connection ended before the response did."""

    def broken(self, why: str) -> None:
        """What came was no response."""


class BriefAsker(Asker, Interface):
    """One that reads a response itself when all of it comes at once, see `hybrid_proxy.brief`."""

    def answer(self, upstream: Upstream, data: bytes) -> bool:
        """Take the response in `data`; `False`: it is none for that, `whole` takes it."""

    def whole(self) -> Asker:
        """Who takes any response, from now on."""


class Shelf(Interface):
    """Where connections to one destination are kept."""

    destination: Destination

    def idle(self, upstream: Upstream) -> None:
        """It may be used again."""

    def gone(self, upstream: Upstream) -> None:
        """It is closed, or must not be used again."""

    def tunnelled(self, upstream: Upstream) -> None:
        """It carries no request any more, but a tunnel."""


@implementer(IHalfCloseableProtocol)
class Upstream(SiteCore, Protocol):
    """The connection. `greeting` goes out before anything else."""

    transport: IStream

    def __init__(self, shelf: Shelf, greeting: bytes = b"") -> None:
        self.shelf = shelf
        self.due_s = NEVER
        self._greeting = greeting
        self._buffer = b""
        self._reply: ReplyHead | None = None
        self._splice: Splice | None = None

    def connectionMade(self) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self.transport.setTcpNoDelay(True)
        if self._greeting:
            self.transport.write(self._greeting)

    def ask(self, asker: Asker, data: bytes) -> None:
        """Send the beginning of a request; its answer goes to `asker`."""
        self._asker = asker
        self.requests += 1
        self.due_s = NEVER
        self.transport.write(data)

    def abandon(self) -> None:
        """Close at once; the asker hears no more."""
        self._asker = None
        self.shelf.gone(self)
        self.transport.abortConnection()

    def overdue(self) -> None:
        """Idle for too long."""
        self.abandon()

    def tunnel(self, splice: Splice) -> None:
        """All that comes is `splice`'s now."""
        self._splice = splice
        self.shelf.tunnelled(self)

    # --------------------------------------------------------------------------------------------------- reading

    def _receive_reply(self, data: bytes) -> None:
        """It is no response that a brief exchange takes itself."""
        asker = self._asker
        if asker is None:
            if self._splice is not None:
                self._splice.from_far(data)
            else:
                self.abandon()  # nobody asked
        elif self._body is not None:
            self._receive_body(self._body, data)
        else:
            self._receive_head(cast(BriefAsker, asker).whole() if asker.brief else asker, data)

    def _receive_head(self, asker: Asker, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        while True:
            try:
                reply = parse_reply(data)
            except BadReply as error:
                self._fail(str(error))
                return
            if reply is None:
                self._buffer = data
                return
            data = data[reply.end :]
            if reply.status >= 200:
                break
            if reply.status == 101:
                self._switch(asker, reply, data)
                return
            asker.interim(reply)
        self._buffer = b""
        length = reply.body_length(asker.method)
        if length == len(data):  # all of it is here
            self._finish(b"", reply)
            asker.replied(self, reply, length, data, True)
        else:
            self._begin_body(asker, reply, length, data)

    def _switch(self, asker: Asker, reply: ReplyHead, data: bytes) -> None:
        if not asker.wants_tunnel:
            self._fail("a switch of protocols nobody asked for")
            return
        self._asker = None
        self._buffer = b""
        asker.switched(self, reply, data)

    def _begin_body(self, asker: Asker, reply: ReplyHead, length: int | None, data: bytes) -> None:
        if length is not None:
            body: BodyReader = LengthReader(length)
        else:
            body = ChunkedReader() if reply.chunked else EndReader()
        self._reply = reply
        if body.done:
            body.rest, piece = data, b""
        else:
            try:
                piece = body.feed(data) if data else b""
            except BadBody as error:
                self._fail(str(error))
                return
        if body.done:
            self._finish(body.rest, reply)
        else:
            self._body = body
        asker.replied(self, reply, length, piece, body.done)

    def _receive_body(self, body: BodyReader, data: bytes) -> None:
        asker, reply = self._asker, self._reply
        assert asker is not None and reply is not None
        try:
            piece = body.feed(data)
        except BadBody as error:
            self._fail(str(error))
            return
        if body.done:
            self._finish(body.rest, reply)
        asker.received(piece, body.done)

    def _finish(self, rest: bytes, reply: ReplyHead) -> None:
        """The response is complete, and `rest` came after it: keep the connection, or not."""
        asker, self._asker, self._body, self._reply = self._asker, None, None, None
        assert asker is not None
        if reply.keep_alive and asker.fully_sent and not rest:
            self.shelf.idle(self)
        else:
            self.shelf.gone(self)
            self.transport.abortConnection()

    def _fail(self, why: str) -> None:
        asker = self._asker
        self.abandon()
        if asker is not None:
            asker.broken(why)

    # ---------------------------------------------------------------------------------------------------- the end

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`: the site sends no more."""
        if self._splice is not None:
            self._splice.far_ended()
            return
        self._ended(clean=True)
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self.shelf.gone(self)
        if self._splice is not None:
            self._splice.far_gone()
        else:
            self._ended(reason.check(ConnectionDone) is not None)

    def _ended(self, clean: bool) -> None:
        self.shelf.gone(self)
        asker, self._asker = self._asker, None
        if asker is None:
            return
        if clean and isinstance(self._body, EndReader):
            asker.received(b"", True)
        else:
            asker.lost(self)
