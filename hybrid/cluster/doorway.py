"""
The cluster port: who knocks is shown to a link, a stream or a join, by what TLS proved and ALPN asked for. Shell.

Without a certificate of this cluster a connection can join and do nothing else. Connections that have not proved
anything yet are few, few from each source, and short.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid.cluster.framed import Framed, words
from hybrid.cluster.token import Attempts
from hybrid.errors import HybridError

MAX_STRANGERS = 200
MAX_STRANGERS_FROM_ONE = 20
"""Connections that have not shaken hands yet, in all and from one address; more are closed unread."""

MAX_LINES_FROM_ONE = 5
"""Lines in the log about failed handshakes from one address, each minute."""

Show = Callable[[TLSMemoryBIOProtocol, str], Framed]
"""What a connection becomes, by its transport and source address. Raises `HybridError` to end it."""


@implementer(IHandshakeListener)
class Doorway(Protocol):
    """A connection until its handshake is complete; afterwards it only passes on to what it became."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        deadline_s: float,
        source: str,
        show: Show,
        failed: Callable[[str], None],
        passed: Callable[[], None],
    ) -> None:
        """
        Args:
            failed: Called with the reason when the other side's certificate, or its TLS, will not do.
            passed: Called once: when the handshake is complete, or the connection over before that.
        """
        self._reactor, self._deadline_s, self._source, self._show = reactor, deadline_s, source, show
        self._failed = failed
        self._passed: Callable[[], None] | None = passed
        self._inner: Framed | None = None
        self._late: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """The handshake must come soon."""
        self._late = self._reactor.callLater(self._deadline_s, self._tls.abortConnection)

    def handshakeCompleted(self) -> None:
        """Find out who it is, and let it go on as that."""
        self._leave()
        try:
            inner = self._show(self._tls, self._source)
        except HybridError as error:
            self.log.warn("connection from {source} refused: {error}", source=self._source, error=str(error))
            self._tls.abortConnection()
            return
        self._inner = inner
        inner.makeConnection(self._tls)
        inner.handshakeCompleted()

    def dataReceived(self, data: bytes) -> None:
        """Pass on."""
        if self._inner is not None:
            self._inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass on; that a handshake failed is for the log."""
        if self._passed is not None and isinstance(reason.value, SSL.Error):
            self._failed(words(reason, self.transport))
        self._leave()
        if self._inner is not None:
            self._inner.connectionLost(reason)

    def _leave(self) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()
        passed, self._passed = self._passed, None
        if passed is not None:
            passed()

    @property
    def _tls(self) -> TLSMemoryBIOProtocol:
        assert isinstance(self.transport, TLSMemoryBIOProtocol)
        return self.transport


class Doors(TLSMemoryBIOFactory):
    """What listens on the cluster port."""

    log = Logger()

    def __init__(
        self, reactor: IReactorTime, options: IOpenSSLServerConnectionCreator, deadline_s: float, show: Show
    ) -> None:
        super().__init__(options, False, _Doorways(self), reactor)
        self.noisy = False
        self._reactor, self._deadline_s, self._show = reactor, deadline_s, show
        self._strangers: Counter[str] = Counter()
        self._told = Attempts(MAX_LINES_FROM_ONE)

    def buildProtocol(self, addr: IAddress | None) -> TLSMemoryBIOProtocol | None:  # type: ignore[override] # may refuse
        """A doorway, unless too many stand in theirs already."""
        source = str(getattr(addr, "host", ""))
        if self._strangers.total() >= MAX_STRANGERS or self._strangers[source] >= MAX_STRANGERS_FROM_ONE:
            return None
        return super().buildProtocol(addr)

    def doorway(self, source: str) -> Doorway:
        """One for a connection from `source`."""
        self._strangers[source] += 1
        return Doorway(
            self._reactor,
            self._deadline_s,
            source,
            self._show,
            lambda why: self._failed(source, why),
            lambda: self._passed(source),
        )

    def _failed(self, source: str, why: str) -> None:
        if self._told.allow(source, self._reactor.seconds()):
            self.log.warn("connection from {source} refused: {error}", source=source, error=why)

    def _passed(self, source: str) -> None:
        self._strangers[source] -= 1
        if not self._strangers[source]:
            del self._strangers[source]


class _Doorways(Factory):
    """The factory inside the TLS factory."""

    noisy = False

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    def buildProtocol(self, addr: IAddress | None) -> Doorway:
        """See `Doors.doorway`."""
        return self._doors.doorway(str(getattr(addr, "host", "")))
