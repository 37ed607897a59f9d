"""
Asking a primary for a zone: its serial, and what changed or all of it (RFC 5936, RFC 1995), signed (RFC 8945). Shell.

By TCP, one conversation each; every wait has an end, and what comes has a bound.
"""

from __future__ import annotations

from typing import Any, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.xfr
import dns.zone
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IReactorTCP, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from hybrid_dns.copies import Unfit, is_newer
from hybrid_dns.notify import Place

CONNECT_S = 10
PATIENCE_S = 15.0
"""For the next whole message."""
MAX_TRANSFER = 32 * 1024 * 1024
"""Bytes of one conversation."""


class Reactor(IReactorTCP, IReactorTime):
    """What it needs of the reactor."""


class Refused(Exception):
    """The primary says no, or what is no answer."""


class Conversation(Protocol):
    """Messages to and from a primary, each after its length."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._buffer = bytearray()
        self._size = 0
        self._waiting: Deferred[bytes] | None = None
        self._lost: Failure | None = None

    def send(self, message: bytes) -> None:
        """Ask."""
        cast(ITCPTransport, self.transport).write(len(message).to_bytes(2, "big") + message)

    def receive(self) -> Deferred[bytes]:
        """The next message; fails when there is none in time. One at a time."""
        assert self._waiting is None, "somebody waits already"
        waiting = self._waiting = Deferred(lambda _: self.close())
        waiting.addTimeout(PATIENCE_S, self._clock)
        self._deliver()
        return waiting

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        self._buffer += data
        self._size += len(data)
        if self._size > MAX_TRANSFER:
            self._lost = Failure(Refused(f"more than {MAX_TRANSFER} bytes"))
            self.close()
        self._deliver()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `Protocol`."""
        self._lost = self._lost or reason
        self._deliver()

    def _deliver(self) -> None:
        waiting, length = self._waiting, int.from_bytes(self._buffer[:2], "big")
        if waiting is None:
            return
        if len(self._buffer) >= 2 + length and len(self._buffer) >= 2:
            message = bytes(self._buffer[2 : 2 + length])
            del self._buffer[: 2 + length]
            self._waiting = None
            waiting.callback(message)
        elif self._lost is not None:
            self._waiting = None
            waiting.errback(self._lost)

    def close(self) -> None:
        """Say no more."""
        if self.transport is not None:
            cast(ITCPTransport, self.transport).abortConnection()


async def fetch(
    reactor: Reactor, place: Place, name: str, serial: int | None, known: dns.zone.Zone | None, key: dns.tsig.Key | None
) -> dns.zone.Zone | None:
    """
    Zone `name` as it is at the primary, names absolute.

    Args:
        reactor: With TCP and time.
        place: The primary.
        name: The zone.
        serial: What there is of it; `None`: nothing.
        known: That, where it is at hand; changed to what comes, as a whole or not at all.
        key: To sign with.

    Returns:
        `None`: it is at `serial`.

    Raises:
        Refused: What the primary says is no zone for us.
        Exception: The network fails.
    """
    endpoint = TCP4ClientEndpoint(reactor, *place, timeout=CONNECT_S)
    conversation = await connectProtocol(endpoint, Conversation(reactor))
    try:
        theirs = await _serial(conversation, name, key)
        if serial is not None and not is_newer(theirs, serial):
            return None
        if known is not None:
            try:
                return await _transferred(conversation, known, key)
            except dns.xfr.TransferError:  # it gives no differences
                pass
        return await _transferred(conversation, dns.zone.Zone(dns.name.from_text(name), relativize=False), key)
    except (dns.exception.DNSException, Unfit, ValueError, KeyError) as error:
        raise Refused(str(error) or type(error).__name__) from error
    finally:
        conversation.close()


async def _serial(conversation: Conversation, name: str, key: dns.tsig.Key | None) -> int:
    query = dns.message.make_query(name, dns.rdatatype.SOA)
    query.flags = dns.flags.Flag(0)
    if key is not None:
        query.use_tsig(key)
    conversation.send(query.to_wire())
    reply = _read(query, await conversation.receive())
    if reply.rcode() != dns.rcode.NOERROR:
        raise Refused(f"it answers {dns.rcode.to_text(reply.rcode())}")
    for rrset in reply.answer:
        if rrset.rdtype == dns.rdatatype.SOA and rrset.name == query.question[0].name:
            return int(cast(Any, rrset[0]).serial)
    raise Refused("it has no such zone")


def _read(query: dns.message.Message, wire: bytes) -> dns.message.Message:
    reply = dns.message.from_wire(wire, keyring=query.keyring, request_mac=query.mac)
    if not query.is_response(reply) or (query.keyring is not None and not reply.had_tsig):
        raise Refused("what it says is no answer, or not signed")
    return reply


async def _transferred(conversation: Conversation, zone: dns.zone.Zone, key: dns.tsig.Key | None) -> dns.zone.Zone:
    """`zone` after a transfer; of an empty one it is whole."""
    query, serial = dns.xfr.make_query(zone, keyring=key)
    kind = query.question[0].rdtype
    conversation.send(query.to_wire())
    context: Any = None
    with dns.xfr.Inbound(zone, kind, serial) as inbound:
        done = is_continued = False
        while not done:
            message = dns.message.from_wire(
                await conversation.receive(),
                keyring=query.keyring,
                request_mac=query.mac,
                xfr=True,
                origin=zone.from_wire_origin(),
                tsig_ctx=context,
                multi=True,
                one_rr_per_rrset=kind == dns.rdatatype.IXFR,
            )
            if not query.is_response(message, xfr_continuation=is_continued):
                raise Refused("what it says is no answer")
            done, is_continued, context = inbound.process_message(message), True, message.tsig_ctx
    return zone
