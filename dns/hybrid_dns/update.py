"""
Dynamic updates: what a message asks for, as edits, or why not. Pure.

RFC 2136 §3: prerequisites (3.2), the scan of the update section (3.4.1), and what each record does (3.4.2). Additions
that would leave a CNAME beside something else are ignored, as it says; what the platform keeps refuses the whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.update
from dns.rcode import Rcode

from hybrid.dns_deeds import Edit
from hybrid_dns.lookup import Zones, name_text
from hybrid_dns.records import RecordSet, Sets, is_within
from hybrid_dns.rules import MAX_TTL_S, Platform

_ANY = dns.rdatatype.ANY


def wanted(
    message: dns.update.UpdateMessage, zone: str, zones: Zones, kept: Sets, platform: Platform
) -> list[Edit] | Rcode:
    """
    What `message` does to `zone`.

    Args:
        message: Signed by somebody who may.
        zone: Its zone, one of ours.
        zones: What is answered now.
        kept: People's own records in it.
        platform: What is not theirs.
    """
    everything = [*message.prerequisite, *message.update]
    if any(not is_within(name_text(rrset.name), zone) for rrset in everything):
        return dns.rcode.NOTZONE
    for rrset in message.prerequisite:
        refused = _unmet(rrset, zone, zones)
        if refused is not None:
            return refused
    after: Sets = {}
    for rrset in message.update:
        name = name_text(rrset.name)
        sets = after.setdefault(name, dict(kept.get(name, {})))
        refused = _apply(rrset, zone, name, sets, platform)
        if refused is not None:
            return refused
    return list(_edits(kept, after))


def _unmet(rrset: dns.rrset.RRset, zone: str, zones: Zones) -> Rcode | None:
    """The code of a prerequisite that does not hold."""
    there = {found.rdtype: found for found in zones.at(rrset.name, zone)}
    is_any = rrset.rdtype == _ANY
    if rrset.deleting == dns.rdataclass.ANY:
        if is_any:
            return None if there else dns.rcode.NXDOMAIN
        return None if rrset.rdtype in there else dns.rcode.NXRRSET
    if rrset.deleting == dns.rdataclass.NONE:
        if is_any:
            return dns.rcode.YXDOMAIN if there else None
        return dns.rcode.YXRRSET if rrset.rdtype in there else None
    found = there.get(rrset.rdtype)
    return None if found is not None and set(found) == set(rrset) else dns.rcode.NXRRSET


def _apply(
    rrset: dns.rrset.RRset, zone: str, name: str, sets: dict[str, RecordSet], platform: Platform
) -> Rcode | None:
    """Change `sets`, those of `name`, as one record of the update section says; the code of a refusal."""
    if rrset.deleting == dns.rdataclass.ANY and rrset.rdtype == _ANY:
        sets.clear()
        return None
    kind = dns.rdatatype.to_text(rrset.rdtype)
    if dns.rdatatype.is_metatype(rrset.rdtype):
        return dns.rcode.FORMERR
    if kind == "SOA" and name == zone:
        return None  # the serial is ours; clients that set one are not told off
    if platform.why_not(zone, name, kind) or platform.zone_of(name) != zone:
        return dns.rcode.REFUSED
    if rrset.deleting == dns.rdataclass.ANY:
        sets.pop(kind, None)
        return None
    texts = [rdata.to_text() for rdata in rrset]
    if rrset.deleting == dns.rdataclass.NONE:
        _without(sets, kind, texts)
        return None
    return _with(sets, RecordSet(zone=zone, name=name, type=kind, ttl_s=rrset.ttl, records=tuple(texts)))


def _without(sets: dict[str, RecordSet], kind: str, texts: list[str]) -> None:
    known = sets.get(kind)
    if known is None:
        return
    left = tuple(text for text in known.records if text not in texts)
    sets.pop(kind)
    if left:
        sets[kind] = RecordSet(zone=known.zone, name=known.name, type=kind, ttl_s=known.ttl_s, records=left)


def _with(sets: dict[str, RecordSet], new: RecordSet) -> Rcode | None:
    if new.ttl_s > MAX_TTL_S:
        return dns.rcode.REFUSED
    others = sets.keys() - {new.type}
    if ("CNAME" in others) or (new.type == "CNAME" and others):
        return None
    known = sets.get(new.type)
    before = known.records if known is not None and new.type != "CNAME" else ()
    records = tuple(dict.fromkeys((*before, *new.records)))
    sets[new.type] = RecordSet(zone=new.zone, name=new.name, type=new.type, ttl_s=new.ttl_s, records=records)
    return None


def _edits(kept: Sets, after: Sets) -> Iterator[Edit]:
    for name, sets in after.items():
        before = kept.get(name, {})
        for kind in before.keys() - sets.keys():
            yield Edit(name=f"{name}.", type=kind)
        for kind, one in sets.items():
            if before.get(kind) != one:
                yield Edit(name=f"{name}.", type=kind, ttl_s=one.ttl_s, records=one.records)


def zone_of(message: dns.update.UpdateMessage) -> dns.name.Name | None:
    """The zone that a message is about; `None` when it does not say so well (§3.1.1)."""
    zone = message.zone
    if len(zone) != 1 or zone[0].rdtype != dns.rdatatype.SOA or zone[0].rdclass != dns.rdataclass.IN:
        return None
    return zone[0].name
