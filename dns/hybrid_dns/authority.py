"""
What name servers pass on to the node process, because it needs keys or changes something: updates, transfers. Pure.

Nothing is done for who does not sign (TSIG, RFC 8945) with a key that is good for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update
from dns.rcode import Rcode

from hybrid.dns_deeds import Edit
from hybrid.errors import HybridError
from hybrid_dns import transfer, update
from hybrid_dns.answer import Answers, bare
from hybrid_dns.lookup import Zones, name_text
from hybrid_dns.records import Sets
from hybrid_dns.rules import Platform
from hybrid_dns.table import HEADER_SIZE
from hybrid_dns.transfer import Versions
from hybrid_dns.tsigkeys import KeyRecord

What = Literal["update", "transfer"]


class Zonekeeper(Protocol):
    """What this needs of `hybrid_dns.registry.Registry`."""

    @property
    def now(self) -> Zones:
        """What is answered now."""

    @property
    def is_settled(self) -> bool:
        """Whether the serial stands for just that."""

    def signed(self) -> set[str]:
        """Zones that are signed."""

    def kept(self, zone: str) -> Sets:
        """People's own records."""

    def platform(self) -> Platform:
        """What is not theirs."""

    def edit(self, zone: str, edits: Sequence[Edit]) -> int:
        """See `hybrid.dns_deeds.DnsZones`."""


class Authority:
    """
    Answers messages that are not plain questions.

    Args:
        keeper: Zones and records.
        keys: Records of keys by name, and the keys that this node can open.
        log: Hears what was refused, or done.
        notified: See `hybrid_dns.copying.Copying`.
    """

    def __init__(
        self,
        keeper: Zonekeeper,
        keys: Callable[[], tuple[dict[str, KeyRecord], dict[dns.name.Name, dns.tsig.Key]]],
        log: Callable[[str], None],
        notified: Callable[[str, str, str], Rcode] = lambda zone, source, signer: dns.rcode.NOTAUTH,
    ) -> None:
        self._keeper, self._keys, self._log, self._notified = keeper, keys, log, notified
        self.versions = Versions()

    def answer(self, query: bytes, source: str, stream: bool) -> Iterable[bytes]:
        """The replies to `query` from `source`, in order; empty where silence is the answer."""
        if len(query) < HEADER_SIZE:
            return []
        records, ring = self._keys()
        try:
            message = dns.message.from_wire(query, keyring=ring)
        except (dns.message.UnknownTSIGKey, dns.tsig.BadSignature, dns.tsig.BadKey, dns.tsig.BadTime) as error:
            self._log(f"refused {source}: {type(error).__name__}")
            return [bare(query, dns.rcode.NOTAUTH)]
        except (dns.exception.DNSException, ValueError):
            return [bare(query, dns.rcode.FORMERR)]
        if message.opcode() == dns.opcode.NOTIFY:
            return [self._notify(message, source)]
        if not message.had_tsig or message.keyname is None:
            self._log(f"refused {source}: {dns.opcode.to_text(message.opcode())} without a signature")
            return [bare(query, dns.rcode.REFUSED)]
        record = records[name_text(message.keyname)]
        if isinstance(message, dns.update.UpdateMessage):
            return [self._update(message, record, source)]
        return self._transfer(message, record, source, stream)

    def _notify(self, message: dns.message.Message, source: str) -> bytes:
        question = message.question[0] if len(message.question) == 1 else None
        zone = name_text(question.name) if question is not None and question.rdtype == dns.rdatatype.SOA else ""
        signer = name_text(message.keyname) if message.had_tsig and message.keyname is not None else ""
        rcode = self._notified(zone, source, signer) if zone else dns.rcode.FORMERR
        self._log(f"{zone} has changed, says {source}: {dns.rcode.to_text(rcode)}")
        reply = dns.message.make_response(message)
        reply.flags |= dns.flags.AA
        reply.set_rcode(rcode)
        return reply.to_wire()

    def _update(self, message: dns.update.UpdateMessage, key: KeyRecord, source: str) -> bytes:
        name = update.zone_of(message)
        zone = name_text(name) if name is not None else ""
        rcode = self._updated(message, zone, key, source) if zone else dns.rcode.FORMERR
        self._log(f"update of {zone} by {key.name} from {source}: {dns.rcode.to_text(rcode)}")
        return _signed(message, rcode)

    def _updated(self, message: dns.update.UpdateMessage, zone: str, key: KeyRecord, source: str) -> Rcode:
        zones = self._keeper.now
        if zone not in zones.contents.servers:
            return dns.rcode.NOTAUTH
        if not key.allows("update", zone, source):
            return dns.rcode.REFUSED
        found = update.wanted(message, zone, zones, self._keeper.kept(zone), self._keeper.platform())
        if isinstance(found, Rcode):
            return found
        try:
            if found:
                self._keeper.edit(zone, found)
        except HybridError as error:
            self._log(f"update of {zone}: {error}")
            return dns.rcode.REFUSED
        return dns.rcode.NOERROR

    def _transfer(self, query: dns.message.Message, key: KeyRecord, source: str, stream: bool) -> Iterable[bytes]:
        question = query.question[0] if len(query.question) == 1 else None
        if question is None or question.rdtype not in (dns.rdatatype.AXFR, dns.rdatatype.IXFR):
            return [Answers(self._keeper.now).reply(query, stream)]
        zones, zone = self._keeper.now, name_text(question.name)
        rcode = self._may_go(zones, zone, key, source, stream or question.rdtype == dns.rdatatype.IXFR)
        self._log(f"{question.rdtype.name} of {zone} for {key.name} at {source}: {dns.rcode.to_text(rcode)}")
        if rcode != dns.rcode.NOERROR:
            return [_signed(query, rcode)]
        now = self.versions.keep(zone, zones)
        soa = zones.soa(question.name)
        if question.rdtype == dns.rdatatype.IXFR:
            theirs = _serial_of(query)
            before = self.versions.since(zone, theirs) if theirs is not None else None
            if theirs == zones.serial_of(zone) or not stream:
                return transfer.messages(query, [soa])
            if theirs is not None and before is not None:
                return transfer.messages(query, transfer.difference(soa, theirs, before, now))
        return transfer.messages(query, transfer.whole(zones, zone))

    def _may_go(self, zones: Zones, zone: str, key: KeyRecord, source: str, fits: bool) -> Rcode:
        if not fits:
            return dns.rcode.REFUSED
        if zone not in zones.contents.servers:
            return dns.rcode.NOTAUTH
        if not key.allows("transfer", zone, source):
            return dns.rcode.REFUSED
        if zones.is_missing(zone):
            return dns.rcode.SERVFAIL
        if zone in self._keeper.signed():
            self._log(f"{zone} is signed as it is answered: it cannot be transferred")
            return dns.rcode.REFUSED
        return dns.rcode.NOERROR if self._keeper.is_settled else dns.rcode.SERVFAIL


def _serial_of(query: dns.message.Message) -> int | None:
    """The serial that the client of an IXFR has."""
    soa = [rrset for rrset in query.authority if rrset.rdtype == dns.rdatatype.SOA]
    return int(soa[0][0].serial) if soa else None


def _signed(query: dns.message.Message, rcode: Rcode) -> bytes:
    reply = dns.message.make_response(query)
    reply.set_rcode(rcode)
    return reply.to_wire()
