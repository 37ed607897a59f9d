"""
Telling secondaries that a zone has changed (NOTIFY, RFC 1996): sent until it is acknowledged, a few times. Shell.
"""

from __future__ import annotations

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdatatype
import dns.rrset
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IReactorUDP
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

TRIES_S = (2.0, 4.0, 8.0, 16.0, 0.0)
"""How long each try waits for its answer; the last one for none."""
MAX_WAITING = 10_000
Place = tuple[str, int]
"""Address and port."""


class Reactor(IReactorUDP, IReactorTime):
    """What it needs of the reactor."""


def place_of(text: str) -> Place:
    """`192.0.2.1` or `192.0.2.1:5353`. Raises `ValueError`."""
    address, colon, port = text.partition(":")
    return address, int(port) if colon else 53


class Notifier(DatagramProtocol):
    """Sends them."""

    log = Logger()

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._waiting: dict[tuple[Place, str], tuple[int, IDelayedCall]] = {}
        self._number = 0

    def notify(self, place: Place, soa: dns.rrset.RRset) -> None:
        """Tell `place` that the zone of `soa` is at that; in place of what it was being told of the zone before."""
        self._cancel((place, soa.name.to_text()))
        if len(self._waiting) < MAX_WAITING:
            self._send(place, soa, 0)

    def _send(self, place: Place, soa: dns.rrset.RRset, tries: int) -> None:
        self._number = (self._number + 1) % 65536
        message = dns.message.make_query(soa.name, dns.rdatatype.SOA, id=self._number)
        message.set_opcode(dns.opcode.NOTIFY)
        message.flags = (message.flags & ~dns.flags.RD) | dns.flags.AA
        message.answer.append(soa)
        if self.transport is None:
            return
        try:
            self.transport.write(message.to_wire(), place)
        except OSError as error:
            self.log.warn("cannot notify {place}: {error}", place=place, error=str(error))
        key = place, soa.name.to_text()
        if TRIES_S[tries]:
            call = self._reactor.callLater(TRIES_S[tries], self._send, place, soa, tries + 1)
            self._waiting[key] = self._number, call
        else:
            self._waiting.pop(key, None)
            self.log.warn("{place} does not answer about {zone}", place=place, zone=key[1])

    def datagramReceived(self, datagram: bytes, addr: Place) -> None:
        """An answer, whatever it says, ends the telling."""
        try:
            reply = dns.message.from_wire(datagram)
        except (dns.exception.DNSException, ValueError):
            return
        if len(reply.question) == 1 and reply.flags & dns.flags.QR:
            key = (addr[0], addr[1]), reply.question[0].name.to_text()
            if key in self._waiting and self._waiting[key][0] == reply.id:
                self._cancel(key)

    def _cancel(self, key: tuple[Place, str]) -> None:
        if key in self._waiting:
            _, call = self._waiting.pop(key)
            if call.active():
                call.cancel()

    def stop(self) -> None:
        """Tell nobody any more."""
        for key in list(self._waiting):
            self._cancel(key)
