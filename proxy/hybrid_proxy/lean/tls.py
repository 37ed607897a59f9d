"""
The server's end of TLS between a transport and a protocol, with less in between than Twisted's. Shell.

What the protocol writes is encrypted and sent at once, and its producer is the transport's. As with Twisted's, closing
says good-bye (close_notify) and waits for the other end to do so, which whoever closes bounds in time.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IConsumer,
    IHandshakeListener,
    INegotiated,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

RECORD_BYTES = 16 * 1024
HEADER_BYTES = 5
OVERHEAD_BYTES = 256
"""Of a record, at most (RFC 8446 §5.2)."""


class Records:
    """Counts the TLS records in a stream, to know when there is no part of one left over."""

    __slots__ = ("_owed",)

    def __init__(self) -> None:
        self._owed = 0
        """Bytes that the last record still lacks; -1: it broke off in its header, and nothing is known any more."""

    @property
    def between(self) -> bool:
        """Whether the next byte begins a record."""
        return self._owed == 0

    def whole(self, data: bytes) -> int:
        """How many records end in `data`, when it ends with one; 0 when it does not."""
        at, end, count = self._owed, len(data), 0
        if at < 0:
            return 0
        if at:
            count = 1
        while at + HEADER_BYTES <= end:
            at += HEADER_BYTES + int.from_bytes(data[at + 3 : at + HEADER_BYTES], "big")
            count += 1
        self._owed = at - end if at >= end else -1
        return count if at == end else 0


@implementer(ISSLTransport, ITCPTransport, INegotiated, IConsumer, IPushProducer)
class Layer(Protocol):
    """
    The layer: a protocol to the transport below, and the transport of `inner`.

    Args:
        connection: Of pyOpenSSL, without a socket, that has said nothing yet.
        inner: Hears what is decrypted, and of the end of the handshake if it is an `IHandshakeListener`.
    """

    transport: Any

    def __init__(self, connection: SSL.Connection, inner: Protocol) -> None:
        self._connection, self._inner = connection, inner
        self._records = Records()
        self._shaking = True
        self._early: list[bytes] = []
        self.disconnecting = self._producing = False
        self._why: Failure | None = None

    # ---------------------------------------------------------------------------------------------- from below

    def connectionMade(self) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self._connection.set_accept_state()
        self._inner.makeConnection(self)

    def dataReceived(self, data: bytes) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        fresh = self._records.between
        records = self._records.whole(data)
        most = len(data) if fresh and records and len(data) < RECORD_BYTES else RECORD_BYTES
        try:
            self._connection.bio_write(data)
            if self._shaking and not self._shake():
                return
            self._deliver(records, most)
        except SSL.ZeroReturnError:
            self._said_good_bye()
        except SSL.Error:
            self._break()

    def _shake(self) -> bool:
        """Go on with the handshake; whether it is over. Raises `SSL.Error`."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._flush(RECORD_BYTES)
            return False
        self._shaking = False
        self._flush(RECORD_BYTES)
        if IHandshakeListener.providedBy(self._inner):
            self._inner.handshakeCompleted()
        early, self._early = self._early, []
        for data in early:
            self.write(data)
        return True

    def _deliver(self, records: int, most: int) -> None:
        """Decrypt what there is, `most` bytes of a record; where that is known, ask no more often than there are."""
        receive, left = self._connection.recv, records or -1
        while left:
            try:
                data = receive(most)
            except SSL.WantReadError:
                return
            if not self.disconnecting:
                self._inner.dataReceived(data)
            left -= 1

    def _said_good_bye(self) -> None:
        """The other end sends no more."""
        self.disconnecting = True
        self._shut_down()
        self._why = self._why or Failure(CONNECTION_DONE)
        self._close()

    def _break(self) -> None:
        """What came is no TLS, or none that is spoken here: say which alert there is, and end."""
        self.disconnecting = True
        self._why = Failure()
        self._flush(RECORD_BYTES)
        self._close()

    def _close(self) -> None:
        self.unregisterProducer()  # nobody waits for what it has
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self.disconnecting = True
        self._inner.connectionLost(self._why or reason)

    def _flush(self, about_bytes: int) -> None:
        """Send what was encrypted, of some `about_bytes`."""
        size = about_bytes + OVERHEAD_BYTES * (2 + about_bytes // RECORD_BYTES)
        while True:
            try:
                data = self._connection.bio_read(size)
            except SSL.WantReadError:
                return
            self.transport.write(data)
            if len(data) < size:
                return

    def _shut_down(self) -> None:
        if not self._shaking:
            try:
                self._connection.shutdown()
            except SSL.Error:
                pass  # it was broken off before
            self._flush(0)

    # ---------------------------------------------------------------------------------------------- from within

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        if self.disconnecting or not data:
            return
        if self._shaking:
            self._early.append(data)
            return
        try:
            sent = self._connection.send(data)
            while sent < len(data):  # it takes a record at a time
                sent += self._connection.send(memoryview(data)[sent:])
        except SSL.Error:
            self._break()
            return
        self._flush(sent)

    def writeSequence(self, data: Any) -> None:
        """See `ITransport`."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """See `ITransport`."""
        if self.disconnecting:
            return
        self.disconnecting = True
        if self._shaking:
            self.transport.loseConnection()
        else:
            self._shut_down()

    def loseWriteConnection(self) -> None:
        """See `ITCPTransport`: of TLS only all can be closed."""
        self.loseConnection()

    def abortConnection(self) -> None:
        """See `ITCPTransport`."""
        self.disconnecting = True
        self.transport.abortConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""
        self.transport.registerProducer(producer, streaming)
        self._producing = True

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        if self._producing:
            self._producing = False
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """See `IPushProducer`."""
        self.loseConnection()

    # ------------------------------------------------------------------------------------------------ what it is

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """See `INegotiated`."""
        return None if self._shaking else self._connection.get_alpn_proto_negotiated() or None

    def getHandle(self) -> SSL.Connection:
        """See `ISSLTransport`."""
        return self._connection

    def getPeerCertificate(self) -> Any:
        """See `ISSLTransport`."""
        return self._connection.get_peer_certificate()

    def getPeer(self) -> Any:
        """See `ITransport`."""
        return self.transport.getPeer()

    def getHost(self) -> Any:
        """See `ITransport`."""
        return self.transport.getHost()

    def getTcpNoDelay(self) -> bool:
        """See `ITCPTransport`."""
        return bool(self.transport.getTcpNoDelay())

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See `ITCPTransport`."""
        self.transport.setTcpNoDelay(enabled)

    def getTcpKeepAlive(self) -> bool:
        """See `ITCPTransport`."""
        return bool(self.transport.getTcpKeepAlive())

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See `ITCPTransport`."""
        self.transport.setTcpKeepAlive(enabled)
