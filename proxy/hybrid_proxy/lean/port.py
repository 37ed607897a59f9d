"""A listening socket whose connections are `Stream`s. Shell."""

from __future__ import annotations

import errno
import socket
from select import EPOLLIN
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid_proxy.lean.core import accept_in_python
from hybrid_proxy.lean.stream import DONE, Stream, address

if TYPE_CHECKING:
    from hybrid_proxy.lean.reactor import LeanReactor

try:
    from hybrid_proxy._lean import accept as _compiled_accept
except ImportError:
    accept = accept_in_python
else:

    def accept(listening: socket.socket) -> tuple[Any, tuple[Any, ...]] | None:
        """See `accept_in_python`; of the connection only the descriptor."""
        return _compiled_accept(listening.fileno())


AT_A_TIME = 64
REST_S = 0.5
"""Without a look at new connections, when there are no descriptors or buffers for them."""
_SHORT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@implementer(IListeningPort)
class StreamPort:
    """
    The port.

    Args:
        reactor: Which looks at it.
        sock: Bound and listening, not blocking.
        factory: Of protocols; what it returns `None` for is closed.
    """

    _log = Logger()

    def __init__(self, reactor: LeanReactor, sock: socket.socket, factory: Any) -> None:
        self._reactor, self._socket, self._factory = reactor, sock, factory
        self.fd = sock.fileno()
        self._family = sock.family
        self.mask = 0
        self._wanted = False

    def startListening(self) -> None:
        """See `IListeningPort`."""
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # its connections inherit that
        self._factory.doStart()
        self.startReading()

    def stopListening(self) -> Deferred[None]:
        """See `IListeningPort`."""
        self._wanted = False
        if self.fd >= 0:
            self._reactor.forget(self)
            self._socket.close()
            self.fd = -1
            self._factory.doStop()
        return succeed(None)

    loseConnection = stopListening

    def startReading(self) -> None:
        """Accept connections."""
        self._wanted = True
        if self.fd >= 0 and not self.mask:
            self._reactor.look(self, EPOLLIN)

    def stopReading(self) -> None:
        """Leave them in the kernel's queue."""
        self._wanted = False
        self._rest()

    def _rest(self) -> None:
        if self.mask:
            self._reactor.look(self, 0)

    def _resume(self) -> None:
        if self._wanted:
            self.startReading()

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return self.fd

    def do_read(self) -> None:
        """Accept what there is."""
        for _ in range(AT_A_TIME):
            try:
                accepted = accept(self._socket)
            except OSError as error:
                if error.errno in _SHORT_OF:
                    self._log.warn("no connection can be accepted now: {why}", why=error.strerror)
                    self._rest()
                    self._reactor.callLater(REST_S, self._resume)
                return  # else it was gone before we came
            if accepted is None:
                return
            self._accepted(*accepted)
            if not self.mask:
                return  # paused by the factory

    def _accepted(self, sock: Any, peer: tuple[Any, ...]) -> None:
        stream = Stream(self._reactor, sock, peer)
        stream.no_delay = True
        try:
            protocol = self._factory.buildProtocol(address(peer))
        except Exception:
            self._log.failure("no protocol for a connection")
            protocol = None
        if protocol is None:
            stream.close_socket()
            return
        try:
            stream.begin(protocol)
        except Exception:
            self._log.failure("a protocol could not begin")
            stream.fail(Failure())

    def happened(self, event: int) -> None:
        """See `Stream.happened`."""
        self.do_read()

    def fail(self, reason: Failure) -> None:
        """See `Stream.fail`: the port goes on."""

    def connectionLost(self, reason: Failure = DONE) -> None:
        """See `IReadDescriptor`: the reactor stops."""
        self.stopListening()

    def getHost(self) -> IPv4Address | IPv6Address:
        """See `IListeningPort`."""
        return address(self._socket.getsockname())

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return type(self._factory).__name__
