"""
Zones on their way to secondaries: AXFR (RFC 5936) and IXFR (RFC 1995), as lists of records and of messages. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import dns.flags
import dns.message
import dns.rdata
import dns.rdatatype
import dns.rrset
import dns.tsig

from hybrid_dns.lookup import Zones

MESSAGE_BYTES = 16_000
"""Of one message, before compression."""
VERSIONS = 20
"""Of a zone, kept to tell what changed."""
MAX_ZONES = 1000
_Key = tuple[str, int, int, str]
"""Name, type, TTL and text of a record."""


class Versions:
    """The last versions of the zones that are transferred, by serial."""

    def __init__(self) -> None:
        self._zones: OrderedDict[str, OrderedDict[int, dict[_Key, None]]] = OrderedDict()

    def keep(self, zone: str, zones: Zones) -> dict[_Key, None]:
        """Remember `zone` as it is; returns its records, but for the SOA."""
        kept, serial = self._zones.setdefault(zone, OrderedDict()), zones.serial_of(zone)
        self._zones.move_to_end(zone)
        if serial not in kept:
            kept[serial] = {key: None for rrset in list(zones.rrsets(zone))[1:] for key in _keys(rrset)}
        while len(kept) > VERSIONS:
            kept.popitem(last=False)
        while len(self._zones) > MAX_ZONES:
            self._zones.popitem(last=False)
        return kept[serial]

    def since(self, zone: str, serial: int) -> dict[_Key, None] | None:
        """The zone as it was at `serial`, if that is known."""
        return self._zones.get(zone, OrderedDict()).get(serial)

    def known(self) -> list[str]:
        """Zones that somebody asked for."""
        return list(self._zones)


def whole(zones: Zones, zone: str) -> Iterator[dns.rrset.RRset]:
    """All of a zone: its SOA, the rest, its SOA again (RFC 5936 §2.2)."""
    soa, *others = zones.rrsets(zone)
    yield soa
    yield from others
    yield soa


def difference(
    soa: dns.rrset.RRset, since: int, before: Iterable[_Key], now: Iterable[_Key]
) -> Iterator[dns.rrset.RRset]:
    """
    What turns the zone at serial `since` into that of `soa`, as one difference (RFC 1995 §4).

    Records that are equal but for the TTL go and come.
    """
    old = soa[0].replace(serial=since)
    gone, come = dict.fromkeys(before), dict.fromkeys(now)
    yield soa
    yield dns.rrset.from_rdata(soa.name, soa.ttl, old)
    yield from (_rrset(key) for key in gone if key not in come)
    yield soa
    yield from (_rrset(key) for key in come if key not in gone)
    yield soa


def _keys(rrset: dns.rrset.RRset) -> Iterator[_Key]:
    for rdata in rrset:
        yield rrset.name.to_text(), int(rrset.rdtype), rrset.ttl, rdata.to_text()


def _rrset(key: _Key) -> dns.rrset.RRset:
    name, kind, ttl_s, text = key
    return dns.rrset.from_text(name, ttl_s, "IN", dns.rdatatype.to_text(dns.rdatatype.RdataType.make(kind)), text)


def messages(query: dns.message.Message, rrsets: Iterable[dns.rrset.RRset]) -> Iterator[bytes]:
    """`rrsets` in order as replies to `query`, each signed with the key of the query."""
    context: Any = None
    for number, part in enumerate(_parts(rrsets)):
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.AA
        if number:
            reply.question = []
        reply.answer = part
        wire = reply.to_wire(max_size=65535, multi=True, tsig_ctx=context, want_shuffle=False)
        context = reply.tsig_ctx
        yield wire


def _parts(rrsets: Iterable[dns.rrset.RRset]) -> Iterator[list[dns.rrset.RRset]]:
    part: list[dns.rrset.RRset] = []
    size = 0
    for rrset in rrsets:
        length = sum(len(rrset.name.to_text()) + 12 + len(rdata.to_wire() or b"") for rdata in rrset)
        if part and size + length > MESSAGE_BYTES:
            yield part
            part, size = [], 0
        part.append(rrset)
        size += length
    if part:
        yield part
