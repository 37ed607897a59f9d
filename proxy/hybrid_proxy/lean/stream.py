"""
A TCP connection as protocols know it from Twisted (`ITCPTransport`, `ITLSTransport`, producers), but lean. Shell.

What is written goes to the kernel at once; only what it does not take waits for the reactor. Reads grow with what
comes. As with Twisted's own transports, no protocol is told that its connection is lost from inside a call it made:
that waits until the reactor's next turn.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from itertools import islice
from select import EPOLLIN, EPOLLOUT
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    ILoggingContext,
    IProtocol,
    IPullProducer,
    IPushProducer,
    ISystemHandle,
    ITCPTransport,
    ITLSTransport,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid_proxy.lean.core import LARGE_BYTES, SMALL_BYTES, CoreInPython

if TYPE_CHECKING:
    from hybrid_proxy.lean.reactor import LeanReactor

    Core = CoreInPython
else:
    try:
        from hybrid_proxy._lean import Core
    except ImportError:
        Core = CoreInPython

DONE, LOST = Failure(CONNECTION_DONE), Failure(CONNECTION_LOST)
PIECES = 64
"""Given to the kernel in one call."""
_RESET = struct.pack("ii", 1, 0)


def address(where: tuple[Any, ...]) -> IPv4Address | IPv6Address:
    """What the socket module says, as Twisted says it."""
    return (IPv4Address if len(where) == 2 else IPv6Address)("TCP", *where[:2])


@implementer(
    ITCPTransport, ITLSTransport, IConsumer, IPushProducer, ISystemHandle, IHalfCloseableDescriptor, ILoggingContext
)
class Stream(Core):
    """
    The connection.

    Args:
        reactor: Which looks at it.
        sock: Connected, not blocking; or its descriptor, which is made a socket when it must be one.
        peer: The other end, as the socket module says it.
        connector: Who began it, when it was this end; hears when it is lost.
    """

    __slots__ = (
        "__weakref__",
        "_connector",
        "_ending",
        "_half_closing",
        "_held",
        "_peer",
        "_producer_paused",
        "_reading",
        "disconnected",
        "disconnecting",
        "no_delay",
        "producer",
        "reactor",
        "streamingProducer",
    )

    def __init__(self, reactor: LeanReactor, sock: Any, peer: tuple[Any, ...], connector: Any = None) -> None:
        self.reactor = reactor
        if type(sock) is int:
            self.fd, self._held = sock, None
        else:
            self.fd, self._held = sock.fileno(), sock
        self._peer = peer
        self._connector = connector
        self.mask = 0
        """What the reactor looks for."""
        self.no_delay = False
        """Known to be set."""
        self.protocol: Any = None
        self.connected, self.disconnected, self.disconnecting = True, False, False
        self._reading = False
        self._read_bytes = SMALL_BYTES
        self._out: deque[bytes | memoryview] | None = None
        self.producer: Any = None
        self.streamingProducer = False
        self._producer_paused = False
        self.sink, self.relayed_bytes = None, 0
        self._half_closing = self._write_closed = False
        self._ending: Failure | None = None

    def begin(self, protocol: IProtocol) -> None:
        """Read for `protocol` from now on."""
        self.protocol = protocol
        self.startReading()
        protocol.makeConnection(self)

    @property
    def _socket(self) -> socket.socket:
        if self._held is None:
            family = socket.AF_INET if len(self._peer) == 2 else socket.AF_INET6
            self._held = socket.socket(family, socket.SOCK_STREAM, 0, self.fd)
            self._held.setblocking(False)
        return cast(socket.socket, self._held)

    def close_socket(self) -> None:
        """Nothing else is told or asked; for who found no protocol for it."""
        if self._held is None:
            os.close(self.fd)
        else:
            self._held.close()

    # ----------------------------------------------------------------------------------------- for the reactor

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return self.fd

    def _read_much(self) -> None:
        """There is something to read, and lately it was much."""
        try:
            data = self._socket.recv(LARGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._broke()
            return
        if not data:
            self._read_ended()
            return
        if len(data) < SMALL_BYTES:
            self._read_bytes = SMALL_BYTES
        self.protocol.dataReceived(data)

    def _broke(self) -> None:
        self._lost(LOST)

    def happened(self, event: int) -> None:
        """Anything but that there is something to read, and only that."""
        if event & EPOLLIN and self.mask & EPOLLIN:
            self.do_read()
        elif not event & EPOLLOUT:
            self._lost(LOST)
        if event & EPOLLOUT and self.mask & EPOLLOUT:
            self._do_write()

    def _read_ended(self) -> None:
        self._stop_reading()
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self._lost(DONE)

    def _do_write(self) -> None:
        out = self._out
        if out:
            try:
                sent = self._socket.sendmsg(islice(out, PIECES)) if len(out) > 1 else self._socket.send(out[0])
            except BlockingIOError:
                return
            except OSError:
                self._lost(LOST)
                return
            _drop(out, sent)
        if not out:
            self._drained()

    def _drained(self) -> None:
        """All that was written is with the kernel."""
        producer = self.producer
        if self.streamingProducer or producer is None:
            self._look(self.mask & ~EPOLLOUT)
        if producer is not None and self._awaited:
            self._producer_paused = False
            producer.resumeProducing()
        else:
            self._wind_up()

    @property
    def _awaited(self) -> bool:
        """Whether the producer has more to say: one that is asked for each piece, or was paused."""
        return self.producer is not None and (self._producer_paused or not self.streamingProducer)

    def _wind_up(self) -> None:
        """Close, or half of it, if that was asked for: nothing is left to send."""
        if self.disconnecting:
            self._end(DONE)
        elif self._half_closing and not self._write_closed:
            self._write_closed = True
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                return  # the other end is gone, which reading will tell
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self.protocol.writeConnectionLost()

    def _look(self, mask: int) -> None:
        if mask != self.mask and self.connected:
            self.reactor.look(self, mask)

    def _end(self, reason: Failure) -> None:
        """Be lost in the reactor's next turn."""
        if self._ending is None:
            self._ending = reason
            self.reactor.end(self)

    def ended(self) -> None:
        """The reactor's next turn."""
        reason = self._ending
        if reason is None or not self.connected:
            return
        if reason is DONE and (self._out or self._awaited) and not self._write_closed:  # after all
            self._ending = None
            self._look(self.mask | EPOLLOUT)
            return
        self._lost(reason)

    def fail(self, reason: Failure) -> None:
        """The protocol has failed."""
        self._lost(reason)

    def _lost(self, reason: Failure) -> None:
        if not self.connected:
            return
        self.connected, self.disconnected = False, True
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        self.reactor.forget(self)
        if reason is not DONE and reason is not LOST and reason.check(ConnectionAborted):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            except OSError:
                pass
        self.close_socket()
        self.fd, self._out, self.sink = -1, None, None
        protocol, self.protocol = self.protocol, None
        protocol.connectionLost(reason)
        if self._connector is not None:
            self._connector.lost(reason)

    def connectionLost(self, reason: Failure) -> None:
        """See `IReadDescriptor`: the reactor stops."""
        self._lost(reason)

    def readConnectionLost(self, reason: Failure) -> None:
        """See `IHalfCloseableDescriptor`."""
        self._read_ended()

    def writeConnectionLost(self, reason: Failure) -> None:
        """See `IHalfCloseableDescriptor`."""
        self._lost(reason)

    # ----------------------------------------------------------------------------------------------- ITransport

    def _write_later(self, data: bytes) -> None:
        """Something is waiting to be sent before `data`, or nothing is sent any more."""
        if self._out:
            self._out.append(data)
            self._pause_producer()

    def _left_over(self, data: bytes, sent: int) -> None:
        """The kernel took only `sent` bytes of `data`; -1: the connection is broken."""
        if sent < 0:
            self._end(LOST)
            return
        if self._out is None:
            self._out = deque()
        self._out.append(memoryview(data)[sent:] if sent else data)
        self._look(self.mask | EPOLLOUT)
        self._pause_producer()

    def _pause_producer(self) -> None:
        if self.producer is not None and self.streamingProducer and not self._producer_paused:
            self._producer_paused = True
            self.producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        """See `ITransport`."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """See `ITransport`: when all is sent and no producer is registered."""
        if not self.connected or self.disconnecting:
            return
        self.disconnecting = True
        if self._write_closed or not (self._out or self._awaited):
            self._end(DONE)
        else:
            self._stop_reading()

    def abortConnection(self) -> None:
        """See `ITCPTransport`."""
        if not self.connected:
            return
        self._stop_reading()
        self._out = None
        aborted = Failure(ConnectionAborted())
        if self._ending is None:
            self._end(aborted)
        else:
            self._ending = aborted

    def loseWriteConnection(self) -> None:
        """See `ITCPTransport`."""
        self._half_closing = True
        if self.connected and not self._out and not self._awaited:
            self._wind_up()

    def getPeer(self) -> IPv4Address | IPv6Address:
        """See `ITransport`."""
        return address(self._peer)

    def getHost(self) -> IPv4Address | IPv6Address:
        """See `ITransport`."""
        return address(self._socket.getsockname())

    def getHandle(self) -> socket.socket:
        """See `ISystemHandle`."""
        return self._socket

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return type(self.protocol).__name__

    def getTcpNoDelay(self) -> bool:
        """See `ITCPTransport`."""
        return bool(self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See `ITCPTransport`."""
        if enabled and self.no_delay:
            return
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)
            self.no_delay = enabled
        except OSError:
            pass  # the connection is gone already, which reading will tell

    def getTcpKeepAlive(self) -> bool:
        """See `ITCPTransport`."""
        return bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See `ITCPTransport`."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    def startTLS(self, contextFactory: Any, normal: bool = True) -> None:
        """See `ITLSTransport`."""
        from hybrid_proxy.lean.secured import secure

        secure(self, contextFactory, (self._connector is not None) == normal)

    # --------------------------------------------------------------------------------------- reading, producing

    def startReading(self) -> None:
        """Read on."""
        if self.connected:
            self._look(self.mask | EPOLLIN)

    def _stop_reading(self) -> None:
        self._look(self.mask & ~EPOLLIN)

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self._look(self.mask & ~EPOLLIN)

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        if not self.disconnecting and self._ending is None:
            self._look(self.mask | EPOLLIN)

    def stopProducing(self) -> None:
        """See `IPushProducer`."""
        self.loseConnection()

    def stopConsuming(self) -> None:
        """End, as the producer has no more."""
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""
        if self.producer is not None:
            raise RuntimeError(f"cannot register {producer}, {self.producer} is registered")
        if not self.connected:
            producer.stopProducing()
            return
        self.producer, self.streamingProducer, self._producer_paused = producer, streaming, False
        if not streaming:
            self._look(self.mask | EPOLLOUT)
            cast(IPullProducer, producer).resumeProducing()

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self.producer = None
        if self.connected and not self._out:
            self._look(self.mask & ~EPOLLOUT)
            self._wind_up()


def _drop(out: deque[bytes | memoryview], count: int) -> None:
    """Take the first `count` bytes off."""
    while count:
        first = out[0]
        if len(first) > count:
            out[0] = memoryview(first)[count:]
            return
        count -= len(first)
        out.popleft()
