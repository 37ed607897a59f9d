"""Opens connections that become `Stream`s. Shell."""

from __future__ import annotations

import errno
import os
import socket
from select import EPOLLOUT
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import TimeoutError as TookTooLong
from twisted.internet.error import UserError, getConnectError
from twisted.internet.interfaces import IConnector, IDelayedCall
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid_proxy.lean.stream import LOST, Stream, address

if TYPE_CHECKING:
    from hybrid_proxy.lean.reactor import LeanReactor


@implementer(IConnector)
class Connector:
    """
    One attempt to connect, and another one at each call of `connect`.

    Args:
        reactor: Which looks at it.
        host: An IPv4 or IPv6 address.
        port: There.
        factory: An `IClientFactory`.
        timeout: Seconds; 0 or `None` for as long as the kernel tries.
    """

    def __init__(self, reactor: LeanReactor, host: str, port: int, factory: Any, timeout: float | None) -> None:
        self._reactor, self._where, self._factory = reactor, (host, port), factory
        self._timeout = timeout
        self._timer: IDelayedCall | None = None
        self._socket: socket.socket | None = None
        self._stream: Stream | None = None
        self._trying = False
        self.fd = -1
        self.mask = 0

    def connect(self) -> None:
        """See `IConnector`."""
        self._trying = True
        self._factory.doStart()
        self._factory.startedConnecting(self)
        family = socket.AF_INET6 if ":" in self._where[0] else socket.AF_INET
        try:
            sock = self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._reactor.callLater(0, self._failed, Failure(getConnectError(error)))
            return
        self.fd = sock.fileno()
        status = sock.connect_ex(self._where)
        if status not in (0, errno.EINPROGRESS):
            self._reactor.callLater(0, self._failed, Failure(getConnectError((status, os.strerror(status)))))
            return
        self._reactor.look(self, EPOLLOUT)
        if self._timeout:
            self._timer = self._reactor.callLater(self._timeout, self._failed, Failure(TookTooLong()))

    # ----------------------------------------------------------------------------------------- for the reactor

    def fileno(self) -> int:
        """The descriptor; -1 once it is a stream's."""
        return self.fd

    def do_read(self) -> None:
        """Never looked for."""

    def happened(self, event: int) -> None:
        """The kernel has an answer."""
        sock = self._socket
        if sock is None:
            return
        status = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            self._failed(Failure(getConnectError((status, os.strerror(status)))))
            return
        self._trying = False
        self._stop_timer()
        self._reactor.look(self, 0)
        self._socket, self.fd = None, -1
        protocol = self._factory.buildProtocol(address(self._where))
        if protocol is None:
            sock.close()
            self._factory.doStop()
            return
        self._stream = Stream(self._reactor, sock, self._where, self)
        self._stream.begin(protocol)

    def fail(self, reason: Failure) -> None:
        """See `Stream.fail`: a protocol that could not begin."""
        if self._stream is not None:
            self._stream.fail(reason)
        else:
            self._failed(reason)

    def connectionLost(self, reason: Failure = LOST) -> None:
        """See `IReadDescriptor`: the reactor stops."""
        self._failed(reason)

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return type(self._factory).__name__

    # ----------------------------------------------------------------------------------------------- IConnector

    def stopConnecting(self) -> None:
        """See `IConnector`."""
        self._failed(Failure(UserError()))

    def disconnect(self) -> None:
        """See `IConnector`."""
        if self._stream is not None:
            self._stream.loseConnection()
        else:
            self.stopConnecting()

    def getDestination(self) -> IPv4Address | IPv6Address:
        """See `IConnector`."""
        return address(self._where)

    def lost(self, reason: Failure) -> None:
        """The connection that was made is lost."""
        self._stream = None
        self._factory.clientConnectionLost(self, reason)
        self._factory.doStop()

    def _failed(self, reason: Failure) -> None:
        if not self._trying:
            return
        self._trying = False
        sock, self._socket = self._socket, None
        self._stop_timer()
        if sock is not None:
            self._reactor.forget(self)
            sock.close()
            self.fd = -1
        self._factory.clientConnectionFailed(self, reason)
        self._factory.doStop()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
