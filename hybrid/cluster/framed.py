"""A connection on the cluster port: frames in, frames out, a bound on what waits, one way to end it. Shell."""

from __future__ import annotations

from collections import Counter

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid.cluster import tls
from hybrid.errors import PeerError
from hybrid.frames import Frames, header
from hybrid.model import NodeId

MAX_UNSENT = 16 * 1024 * 1024
"""Bytes that may wait for a peer that does not read."""
_REASONS = 200


class Connections:
    """The open connections of this node's cluster port and to those of others; and why earlier ones ended."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        """Reason to how many connections ended for it."""
        self._open: dict[Framed, None] = {}
        self._empty: Deferred[None] | None = None

    def __len__(self) -> int:
        return len(self._open)

    def made(self, connection: Framed) -> None:
        """It is open."""
        self._open[connection] = None

    def ended(self, connection: Framed) -> None:
        """It is gone."""
        self.ends[connection.reason] += 1
        if len(self.ends) > _REASONS:
            self.ends.clear()
        self._open.pop(connection, None)
        if self._empty is not None and not self._open:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def abort_all_with(self, node: NodeId, reason: str) -> None:
        """The wire to `node` is dead: whatever still runs over it would only hang."""
        for connection in [connection for connection in self._open if connection.node == node]:
            connection.abort(reason)

    def carry_streams(self, node: NodeId) -> bool:
        """Whether a stream to or from `node` is under way."""
        return any(connection.node == node and connection.is_stream for connection in self._open)

    async def close(self, reason: str) -> None:
        """End all; returns when they are gone."""
        for connection in list(self._open):
            connection.abort(reason)
        if self._open:
            self._empty = Deferred()
            await self._empty


@implementer(IHandshakeListener, IPushProducer)
class Framed(Protocol):
    """
    Base of both sides of links, streams and joins.

    Subclasses say what to do in `shaken`, `frame_received` and `ended`. Whatever goes wrong ends in `abort`, whose
    reason is kept in `reason`.
    """

    log = Logger()
    is_stream = False
    """Whether it carries a replication stream."""

    def __init__(self, limit: int, connections: Connections, node: NodeId | None) -> None:
        """
        A connection still to be made.

        Args:
            limit: Bytes in a frame from the other side.
            connections: Where it is kept while it is open.
            node: Who is at the other end, as TLS proves; `None` for one that is no member yet.
        """
        self.node = node
        self.reason = ""
        self.over = False
        """Whether the connection is gone."""
        self._frames = Frames(limit)
        self._connections = connections
        self._paused = False
        self._unsent = 0
        self._waiting: list[Deferred[None]] = []

    # ------------------------------------------------------------------------------------- for subclasses

    def shaken(self) -> None:
        """The TLS handshake is complete."""

    def frame_received(self, data: bytes) -> None:
        """One frame arrived. A `ValueError` ends the connection."""
        raise ValueError("no frame is expected here")

    def broken(self, why: str) -> None:
        """What arrived breaks the protocol: the end, unless a subclass has a better answer."""
        self.abort(f"protocol broken: {why}")

    def ended(self, error: PeerError) -> None:
        """The connection is gone."""

    # -------------------------------------------------------------------------------------------- writing

    @property
    def paused(self) -> bool:
        """Whether the peer (or the wire to it) takes less than it was given."""
        return self._paused

    def put(self, data: bytes) -> bool:
        """Send one frame; `False`, and nothing is sent, when too much waits already or the connection is over."""
        if self.over or (self._paused and self._unsent + len(data) > MAX_UNSENT):
            return False
        if self._paused:
            self._unsent += len(data)
        self._tls.writeSequence([header(len(data)), data])
        return True

    async def room(self) -> None:
        """Wait until the peer has taken what it was given. Raises `PeerError` when the connection ends first."""
        while self._paused and not self.over:
            event: Deferred[None] = Deferred()
            self._waiting.append(event)
            await event
        if self.over:
            raise self.error()

    def abort(self, reason: str) -> None:
        """End it now. The first reason counts."""
        if self.over or self.transport is None:
            return
        self.reason = self.reason or reason
        self._tls.abortConnection()

    def error(self) -> PeerError:
        """Why it ended, or ends."""
        return PeerError(f"link with {self.node or 'a newcomer'} lost", self.reason, "it is tried again by itself")

    # -------------------------------------------------------------------------------------------- Twisted

    @property
    def _tls(self) -> TLSMemoryBIOProtocol:
        assert isinstance(self.transport, TLSMemoryBIOProtocol)
        return self.transport

    def connectionMade(self) -> None:
        """Hear from now on when the other side reads too slowly."""
        self._connections.made(self)
        self._tls.registerProducer(self, True)

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`."""
        if not self.over:
            self.shaken()

    def dataReceived(self, data: bytes) -> None:
        """Pass frames on; after a broken one nothing more."""
        try:
            for frame in self._frames.feed(data):
                if self.reason or self.over:
                    return
                self.frame_received(frame)
        except ValueError as error:
            self.broken(str(error))
        except Exception:
            self.log.failure("a frame could not be dealt with")
            self.abort("internal error")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell everybody who waits, once."""
        if self.over:
            return
        self.over = True
        self.reason = self.reason or words(reason, self.transport)
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            event.callback(None)
        self.ended(self.error())
        self._connections.ended(self)

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        self._paused, self._unsent = False, 0
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            event.callback(None)

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` follows."""


def words(reason: Failure, transport: ITransport | None) -> str:
    """Why a connection ended, for people; of OpenSSL's list of errors the last word, and what is known besides."""
    if isinstance(reason.value, SSL.Error) and reason.value.args and reason.value.args[0]:
        why = tls.why_not(transport)
        return f"TLS: {reason.value.args[0][-1][-1]}" + (f", {why}" if why else "")
    return reason.getErrorMessage()
