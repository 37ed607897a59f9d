"""DNS over UDP and TCP (RFC 1035 §4.2, 7766): Twisted protocols around a function from query to reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as TypingProtocol
from typing import cast

import dns.rcode
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITCPTransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from hybrid_dns.answer import ELSEWHERE, bare
from hybrid_dns.finished import MAX_QUERY
from hybrid_dns.limits import Limits, truncated

MAX_CONNECTIONS = 100
IDLE_S = 10.0
_ECHO_PORTS = frozenset({0, 7, 13, 17, 19, 123})
"""Source ports of services that answer whatever they get: a reply there would come back."""


class Respond(TypingProtocol):
    """See `hybrid_dns.respond.Responder`."""

    def __call__(self, query: bytes, source: str, stream: bool) -> tuple[bytes, bool] | None:
        """The reply and whether its client is known to be where it says; `None` for silence."""


class PassOn(TypingProtocol):
    """See `hybrid_dns.desk.Counter.pass_on`."""

    def __call__(self, message: bytes, source: str, stream: bool, tell: Callable[[bytes | None], None]) -> bool:
        """Have the node process answer: `tell(reply)` for each, then `tell(None)`; false when it cannot."""


def nobody(message: bytes, source: str, stream: bool, tell: Callable[[bytes | None], None]) -> bool:
    """There is no node process."""
    return False


class DnsDatagrams(DatagramProtocol):
    """
    Queries by UDP.

    Args:
        respond: From query to reply.
        limits: Decides which replies go out.
        seconds: A clock, any epoch.
        pass_on: To the node process.
    """

    log = Logger()

    def __init__(
        self, respond: Respond, limits: Limits, seconds: Callable[[], float], pass_on: PassOn = nobody
    ) -> None:
        self._respond, self._limits, self._seconds, self._pass_on = respond, limits, seconds, pass_on

    @property
    def _udp(self) -> IUDPTransport:
        return cast(IUDPTransport, self.transport)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Reply at once or not at all."""
        try:
            found = self._respond(datagram, addr[0], False)
            if found is None or addr[1] in _ECHO_PORTS:
                return
            reply, known = found
            if reply == ELSEWHERE:
                self._elsewhere(datagram, addr)
                return
            verdict = "send" if known else self._limits.judge(addr[0], reply, self._seconds())
            if verdict != "drop":
                self._udp.write(reply if verdict == "send" else truncated(reply), addr)
        except Exception:
            self.log.failure("query of {bytes} bytes from {source} failed", bytes=len(datagram), source=addr[0])

    def _elsewhere(self, message: bytes, addr: tuple[str, int]) -> None:
        """The node process answers; only who signs gets anything but a few errors."""

        def tell(reply: bytes | None) -> None:
            if not reply or self.transport is None:
                return
            if not reply[3] & 15 or self._limits.judge(addr[0], reply, self._seconds()) == "send":
                self._udp.write(reply, addr)

        if not self._pass_on(message, addr[0], False, tell):
            tell(bare(message, dns.rcode.SERVFAIL))


class DnsStream(Protocol):
    """
    Queries by TCP, each after its length; pipelined ones are answered in order.

    The connection ends when no whole query came for `IDLE_S`, however many bytes did, and at a length no query has.
    """

    log = Logger()

    def __init__(self, factory: DnsStreams, source: str) -> None:
        self._factory, self._source = factory, source
        self._buffer = b""
        self._deadline: IDelayedCall | None = None

    @property
    def _tcp(self) -> ITCPTransport:
        return cast(ITCPTransport, self.transport)

    def connectionMade(self) -> None:
        """Start the clock. Whoever does not read its answers is not read from either."""
        self._factory.connections += 1
        if self._factory.connections > MAX_CONNECTIONS:
            self._tcp.abortConnection()
            return
        self._deadline = self._factory.clock.callLater(IDLE_S, self._tcp.abortConnection)
        cast(_Consumer, self.transport).registerProducer(self, True)

    def pauseProducing(self) -> None:
        """The client does not take its answers: stop reading."""
        cast(_Consumer, self.transport).pauseProducing()

    def resumeProducing(self) -> None:
        """It does again."""
        cast(_Consumer, self.transport).resumeProducing()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` cleans up."""

    def dataReceived(self, data: bytes) -> None:
        """Answer every whole query."""
        self._buffer += data
        while len(self._buffer) >= 2:
            length = int.from_bytes(self._buffer[:2], "big")
            if not 12 <= length <= MAX_QUERY:
                self._tcp.abortConnection()
                return
            if len(self._buffer) < 2 + length:
                return
            query, self._buffer = self._buffer[2 : 2 + length], self._buffer[2 + length :]
            if not self._reply(query):
                self._tcp.abortConnection()
                return

    def _reply(self, query: bytes) -> bool:
        """Send the reply; false when there is none (the peer does not speak DNS)."""
        try:
            found = self._factory.respond(query, self._source, True)
        except Exception:
            self.log.failure("query of {bytes} bytes by TCP failed", bytes=len(query))
            return False
        if found is None:
            return False
        reply, _ = found
        if reply != ELSEWHERE:
            self._tell(reply)
        elif not self._factory.pass_on(query, self._source, True, self._tell):
            self._tell(bare(query, dns.rcode.SERVFAIL))
        return True

    def _tell(self, reply: bytes | None) -> None:
        """Send a reply, if there is one and somebody to send it to."""
        if reply is None or not self.connected:
            return
        self._tcp.write(len(reply).to_bytes(2, "big") + reply)
        if self._deadline is not None and self._deadline.active():
            self._deadline.reset(IDLE_S)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop the clock."""
        self.connected = 0
        self._factory.connections -= 1
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()


class _Consumer(TypingProtocol):
    """What Twisted's TCP transports also are: `IConsumer` and `IPushProducer`."""

    def registerProducer(self, producer: object, streaming: bool) -> None: ...

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...


class DnsStreams(ServerFactory):
    """
    Accepts at most `MAX_CONNECTIONS` at a time; more are closed at once.

    Attributes:
        connections: Open ones, those being refused included.
    """

    noisy = False

    def __init__(self, respond: Respond, clock: IReactorTime, pass_on: PassOn = nobody) -> None:
        self.respond, self.clock, self.pass_on = respond, clock, pass_on
        self.connections = 0

    def buildProtocol(self, addr: IAddress | None) -> DnsStream:
        """See `twisted.internet.interfaces.IProtocolFactory`."""
        return DnsStream(self, getattr(addr, "host", "127.0.0.1"))
