"""
Reading a UDP socket without Twisted's port between: many datagrams a turn, plain queries answered on the spot. Shell.

What is not plain (see `hybrid_dns.finished`) goes to the protocol, as a port would give it. Works on every reactor that
has `addReader`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid_dns.finished import Replies
from hybrid_dns.limits import Limits


@implementer(IReadDescriptor)
class UdpReader:
    """
    Reads `bound` until `stop`.

    Args:
        reactor: With readers.
        bound: A socket that does not block; closed at the end.
        protocol: Gets what is not plain; writes through this.
        limits: Of replies.
        seconds: A clock, any epoch.
        replies: Those of now.

    Attributes:
        replies: Those of now.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorFDSet,
        bound: socket.socket,
        protocol: DatagramProtocol,
        limits: Limits,
        seconds: Callable[[], float],
        replies: Replies,
    ) -> None:
        self._reactor, self._socket, self._protocol = reactor, bound, protocol
        self._limits, self._seconds = limits, seconds
        self.replies = replies
        protocol.transport = self  # type: ignore[assignment]  # as much of a port as the protocol uses
        reactor.addReader(self)

    def fileno(self) -> int:
        """See `IReadDescriptor`."""
        return self._socket.fileno()

    def logPrefix(self) -> str:  # noqa: N802  # Twisted's name
        """See `IReadDescriptor`."""
        return "dns"

    def connectionLost(self, reason: Failure) -> None:
        """See `IReadDescriptor`."""
        self.stop()

    def doRead(self) -> None:  # noqa: N802  # Twisted's name
        """Answer what has come."""
        limits = self._limits
        try:
            counts = limits.counts(int(self._seconds()))
            for query, place in self.replies.drain(self._socket, counts, limits.errors, limits.answers):
                self._protocol.datagramReceived(query, place)
        except Exception:
            self.log.failure("some datagrams got no reply")

    def write(self, data: bytes, place: tuple[str, int]) -> None:
        """What the protocol replies. What does not fit now is lost, as datagrams may be."""
        try:
            self._socket.sendto(data, place)
        except OSError as error:
            self.log.debug("no reply to {place}: {error}", place=place, error=str(error))

    def getHost(self) -> tuple[str, int]:  # noqa: N802  # Twisted's name
        """Address and port."""
        host: tuple[str, int] = self._socket.getsockname()
        return host

    def stop(self) -> None:
        """Read no more."""
        self._reactor.removeReader(self)
        self._protocol.transport = None
        self._socket.close()
