"""
`hybrid.cluster.pulse.Datagrams` over UDP, sealed; on the same number as the TLS port. Shell.

What cannot be opened is counted and dropped: nothing is ever answered to somebody who has no key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime, IReactorUDP
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from hybrid.cluster.envelope import Envelopes, Unreadable
from hybrid.cluster.packets import Malformed, Packet, decode, encode
from hybrid.cluster.pulse import Hear
from hybrid.errors import PeerError
from hybrid.model import NodeId

ADDRESSES_EVERY_S = 1.0
MAX_LEARNT = 10_000
MAX_READ = 2048
"""Longer datagrams are cut off there, and then refused."""

Addresses = Callable[[], Mapping[NodeId, tuple[str, int]]]


class Reactor(IReactorUDP, IReactorTime):
    """What datagrams need of the reactor."""


class UdpDatagrams(Service):
    """This node's socket."""

    log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        envelopes: Envelopes,
        addresses: Addresses,
        bind_address: str,
        port: int,
    ) -> None:
        """
        Nothing is opened before `startService`.

        Args:
            reactor: Of this process.
            envelopes: Seal and open.
            addresses: Where every known node listens; asked each second. One that is not there is answered where it
                wrote from.
            bind_address: Of this node.
            port: To listen on; 0: any free one, see `port`.
        """
        self._reactor, self._envelopes, self._addresses = reactor, envelopes, addresses
        self._bind, self._number = bind_address, port
        self._places: Mapping[NodeId, tuple[str, int]] = {}
        self._learnt: dict[NodeId, tuple[str, int]] = {}
        self._asked_s = float("-inf")
        self._hear: Hear = lambda sender, packet: None
        self._socket = _Socket(self._arrived)
        self._listening: IListeningPort | None = None
        self.dropped: Counter[str] = Counter()
        """What was not taken or not sent: reason to how many."""
        self.sent_bytes = self.received_bytes = 0

    def startService(self) -> None:
        """Open the socket. Raises `PeerError` when the port is taken."""
        super().startService()
        try:
            self._listening = self._reactor.listenUDP(self._number, self._socket, self._bind, MAX_READ)
        except CannotListenError as error:
            where = f"{self._bind}:{self._number} (UDP)"
            raise PeerError(f"cannot listen on {where}", str(error.socketError), "is another node running?") from error

    def stopService(self) -> Deferred[None]:
        """Close it."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            await maybeDeferred(listening.stopListening)

    @property
    def port(self) -> int:
        """Where this node listens."""
        assert self._listening is not None
        number: int = self._listening.getHost().port  # type: ignore[attr-defined]  # of UDP, it has one
        return number

    def listen(self, hear: Hear) -> None:
        """See `hybrid.cluster.pulse.Datagrams`."""
        self._hear = hear

    def send(self, node: NodeId, packet: Packet) -> None:
        """See `hybrid.cluster.pulse.Datagrams`."""
        if self._listening is None:
            return
        place = self._place(node)
        datagram = self._envelopes.seal(encode(packet))
        if place is None or datagram is None:
            self.dropped["no address" if place is None else "no key, or too long"] += 1
            return
        try:
            self._socket.send(datagram, place)
            self.sent_bytes += len(datagram)
        except Exception as error:  # no route, no buffer, an address that is none: what UDP loses, it loses
            self.dropped[f"not sent: {type(error).__name__}"] += 1

    def _place(self, node: NodeId) -> tuple[str, int] | None:
        now_s = self._reactor.seconds()
        if now_s - self._asked_s >= ADDRESSES_EVERY_S:
            self._asked_s = now_s
            try:
                self._places = self._addresses()
            except Exception:
                self.log.failure("the addresses of other nodes cannot be told")
        return self._places.get(node) or self._learnt.get(node)

    def _arrived(self, datagram: bytes, place: tuple[str, int]) -> None:
        try:
            sender, payload = self._envelopes.open(datagram)
            packet = decode(payload)
        except (Unreadable, Malformed) as error:
            self.dropped[error.what] += 1
            return
        self.received_bytes += len(datagram)
        if sender not in self._places and len(self._learnt) < MAX_LEARNT:
            self._learnt[sender] = place
        self._hear(sender, packet)


class _Socket(DatagramProtocol):
    def __init__(self, arrived: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._arrived_ = arrived

    def send(self, datagram: bytes, place: tuple[str, int]) -> None:
        """Give it to the kernel."""
        assert self.transport is not None
        self.transport.write(datagram, place)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """A datagram came."""
        self._arrived_(datagram, addr)
