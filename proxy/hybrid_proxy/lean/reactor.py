"""
The epoll reactor of the front doors: it calls lean streams directly, and everything else as Twisted does. Shell.

Ports adopted and TCP connections opened through it have `Stream`s for transports; on any other reactor the same
protocols run on Twisted's own.
"""

from __future__ import annotations

import math
import socket
from select import EPOLLIN
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IConnector, IListeningPort, IReadDescriptor, IWriteDescriptor
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure

from hybrid.process import MonotonicReactor
from hybrid_proxy.lean.connecting import Connector
from hybrid_proxy.lean.core import poll_in_python
from hybrid_proxy.lean.port import StreamPort

try:
    from hybrid_proxy._lean import poll as _compiled_poll
except ImportError:
    poll = poll_in_python
else:

    def poll(reactor: LeanReactor, streams: dict[int, Any], epoll: Any, timeout_s: float) -> None:
        """See `poll_in_python`."""
        _compiled_poll(reactor, streams, epoll.fileno(), -1 if timeout_s < 0 else math.ceil(timeout_s * 1000))


class LeanReactor(MonotonicReactor):
    """See the module."""

    _log = Logger()

    def __init__(self) -> None:
        self._streams: dict[int, Any] = {}
        self._ending: list[Any] = []
        super().__init__()

    # --------------------------------------------------------------------------------------------- for streams

    def look(self, stream: Any, mask: int) -> None:
        """Look for the events `mask` of `stream` from now on."""
        if not stream.mask:
            self._poller.register(stream.fd, mask)
            self._streams[stream.fd] = stream
        elif mask:
            self._poller.modify(stream.fd, mask)
        else:  # the kernel would tell of a hang-up again and again
            self._poller.unregister(stream.fd)
            del self._streams[stream.fd]
        stream.mask = mask

    def forget(self, stream: Any) -> None:
        """`stream` is about to close its descriptor, with which the kernel forgets it too."""
        if stream.mask:
            del self._streams[stream.fd]
            stream.mask = 0

    def end(self, stream: Any) -> None:
        """Call `stream.ended` before the next look at the kernel."""
        self._ending.append(stream)

    # --------------------------------------------------------------------------------------------- dispatching

    def doPoll(self, timeout: float | None) -> None:
        """See `EPollReactor`."""
        if self._ending:
            self._end_streams()
            timeout = 0
        poll(self, self._streams, self._poller, -1 if timeout is None else timeout)

    doIteration = doPoll  # type: ignore[assignment]  # the names of the argument differ in Twisted too

    def _do_other(self, fd: int, event: int) -> None:
        other = self._selectables.get(fd)
        if other is not None:
            log.callWithLogger(other, self._doReadOrWrite, other, fd, event)

    def _end_streams(self) -> None:
        ending, self._ending = self._ending, []
        for stream in ending:
            try:
                stream.ended()
            except Exception as error:
                self._failed(stream, error)

    def _failed(self, stream: Any, error: Exception) -> None:
        """As Twisted does: an exception of a protocol ends its connection."""
        failure = Failure(error)
        self._log.failure("a connection's protocol failed", failure=failure)
        try:
            stream.fail(failure)
        except Exception:
            self._log.failure("nor could it be told")

    # ------------------------------------------------------------------------------------------------- sockets

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> IListeningPort:
        """See `IReactorSocket`."""
        if addressFamily not in (socket.AF_INET, socket.AF_INET6):
            other: IListeningPort = super().adoptStreamPort(fileDescriptor, addressFamily, factory)
            return other
        port = StreamPort(self, socket.fromfd(fileDescriptor, addressFamily, socket.SOCK_STREAM), factory)
        port.startListening()
        return port

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,
    ) -> IConnector:
        """See `IReactorTCP`."""
        if bindAddress is not None or not (isIPAddress(host) or isIPv6Address(host)):
            return super().connectTCP(host, port, factory, timeout, bindAddress)
        connector = Connector(self, host, port, factory, timeout)
        connector.connect()
        return connector

    # --------------------------------------------------------------------------------------------- the end of it

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        """See `IReactorFDSet`."""
        streams = list(self._streams.values())
        for stream in streams:
            self.look(stream, 0)
        return [*streams, *super().removeAll()]

    def getReaders(self) -> list[IReadDescriptor]:
        """See `IReactorFDSet`."""
        return [*super().getReaders(), *(stream for stream in self._streams.values() if stream.mask & EPOLLIN)]

    def getWriters(self) -> list[IWriteDescriptor]:
        """See `IReactorFDSet`."""
        return [*super().getWriters(), *(stream for stream in self._streams.values() if stream.mask & ~EPOLLIN)]
