"""A connection on the cluster port: frames in, frames out, a bound on what waits, one way to end it. Shell."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid.cluster.frames import Frames, header
from hybrid.ports import PeerError

MAX_UNSENT = 16 * 1024 * 1024
"""Bytes that may wait for a peer that does not read."""


@implementer(IHandshakeListener, IPushProducer)
class Framed(Protocol):
    """
    Base of both sides of links, streams and joins.

    Subclasses say what to do in `shaken`, `frame_received` and `ended`. Whatever goes wrong ends in `abort`, whose
    reason is kept in `reason`; `on_end` is called once, when the connection is gone.
    """

    log = Logger()

    def __init__(self, limit: int, on_end: Callable[[Framed], None]) -> None:
        self.reason = ""
        self._frames = Frames(limit)
        self._on_end = on_end
        self._paused = False
        self._unsent = 0
        self._waiting: list[Deferred[None]] = []
        self._over = False

    # ------------------------------------------------------------------------------------- for subclasses

    def shaken(self) -> None:
        """The TLS handshake is complete."""

    def frame_received(self, data: bytes) -> None:
        """One frame arrived. A `ValueError` ends the connection."""
        raise NotImplementedError

    def ended(self, error: PeerError) -> None:
        """The connection is gone."""

    # -------------------------------------------------------------------------------------------- writing

    @property
    def paused(self) -> bool:
        """Whether the peer (or the wire to it) takes less than it was given."""
        return self._paused

    def put(self, data: bytes) -> bool:
        """Send one frame; `False`, and nothing is sent, when too much waits already or the connection is over."""
        if self._over or (self._paused and self._unsent + len(data) > MAX_UNSENT):
            return False
        if self._paused:
            self._unsent += len(data)
        self._tls.writeSequence([header(len(data)), data])
        return True

    async def room(self) -> None:
        """Wait until the peer has taken what it was given. Raises `PeerError` when the connection ends first."""
        while self._paused and not self._over:
            event: Deferred[None] = Deferred()
            self._waiting.append(event)
            await event
        if self._over:
            raise self.error()

    def abort(self, reason: str) -> None:
        """End it now. The first reason counts."""
        if self._over:
            return
        self.reason = self.reason or reason
        self._tls.abortConnection()

    def error(self) -> PeerError:
        """Why it ended, or ends."""
        return PeerError("link lost", self.reason, "it is tried again by itself")

    # -------------------------------------------------------------------------------------------- Twisted

    @property
    def _tls(self) -> TLSMemoryBIOProtocol:
        assert isinstance(self.transport, TLSMemoryBIOProtocol)
        return self.transport

    def connectionMade(self) -> None:
        """Hear from now on when the other side reads too slowly."""
        self._tls.registerProducer(self, True)

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`."""
        if not self._over:
            self.shaken()

    def dataReceived(self, data: bytes) -> None:
        """Pass frames on; after a broken one nothing more."""
        try:
            for frame in self._frames.feed(data):
                if self.reason or self._over:
                    return
                self.frame_received(frame)
        except ValueError as error:
            self.abort(f"protocol broken: {error}")
        except Exception:
            self.log.failure("a frame could not be dealt with")
            self.abort("internal error")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell everybody who waits, once."""
        if self._over:
            return
        self._over = True
        self.reason = self.reason or str(reason.value)
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            event.callback(None)
        self.ended(self.error())
        self._on_end(self)

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
