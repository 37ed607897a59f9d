"""
What may stand in a zone, and what the platform keeps there itself. Pure.

Changes are looked at together, as they would leave the zone: RFC 1034 §3.6.2 (a CNAME stands alone), RFC 2181 §5.2 (one
TTL for an RRset), RFC 4592 (wildcards may be owners), RFC 6895 (types that are none).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import msgspec

from hybrid.dns_deeds import Edit
from hybrid.errors import BadRecord, ManagedRecord
from hybrid_dns.book import Book
from hybrid_dns.records import DEFAULT_TTL_S, RecordSet, Sets, ZoneEntry, canonical, is_within, with_parents

MAX_TTL_S = 604_800
MAX_RECORDS = 100
MAX_BYTES = 8192
"""Text of one RRset."""
MAX_SERVERS = 8
MAX_SETS = 20_000
"""Of one zone."""

_ADDRESSES = ("A", "AAAA", "CNAME", "DNAME", "NS")
_SIGNED = ("DNSKEY", "CDS", "CDNSKEY", "RRSIG", "NSEC", "NSEC3", "NSEC3PARAM")


@dataclass(frozen=True, slots=True)
class Platform:
    """What the platform itself publishes in a zone."""

    origins: frozenset[str]
    """Apexes of all zones."""
    sites: frozenset[str]
    """Domains of sites."""
    machines: frozenset[str]
    """Names of nodes and name servers."""
    others: frozenset[str] = frozenset()
    """Zones in which nothing is people's: copies of others' zones, and catalogs."""

    def zone_of(self, name: str) -> str | None:
        """The deepest zone that contains `name`."""
        return next((parent for parent in with_parents(name) if parent in self.origins), None)

    def why_not(self, zone: str, name: str, kind: str) -> str:
        """Why RRset `kind` at `name` is the platform's, or `""`."""
        if zone in self.others:
            return "the zone is a copy of its primary's, or a catalog"
        if kind in _SIGNED:
            return "signatures and their keys are made by the platform"
        if kind == "SOA" or (kind in ("NS", "DS") and name == zone):
            return f"{kind} at the top of a zone follows the cluster's name servers"
        if name in self.machines:
            return "it is the name of a server of the cluster"
        if kind in _ADDRESSES and name in self.sites:
            return "it is a domain of a site, and leads to where that is"
        return ""


def edited(book: Book, platform: Platform, zone: str, edits: Iterable[Edit]) -> dict[str, RecordSet | None]:
    """
    What `edits` make of RRsets of `zone`, all or nothing.

    Returns:
        Key in the shared map to the RRset, `None` for one that goes. What stays as it was is left out.

    Raises:
        ManagedRecord: One of them is kept by the platform.
        BadRecord: It is no record, or does not go with the others at its name.
    """
    names = book.names(zone)
    after: Sets = {}
    for edit in edits:
        name, kind = _name_of(platform, zone, edit.name), _type_of(edit.type)
        why = platform.why_not(zone, name, kind)
        if why:
            raise ManagedRecord(f"{name} {kind} cannot be changed", why, "change the site or the cluster instead")
        sets = after.setdefault(name, dict(names.get(name, {})))
        new = _after(sets.get(kind), edit, zone, name, kind)
        if new is None:
            sets.pop(kind, None)
        else:
            sets[kind] = new
    for name, sets in after.items():
        _check_together(zone, name, sets)
    changed = {
        one.key: new
        for name, sets in after.items()
        for kind in {*sets, *names.get(name, {})}
        for one, new in [(sets.get(kind) or names[name][kind], sets.get(kind))]
        if new != names.get(name, {}).get(kind)
    }
    if sum(map(len, names.values())) + len(changed) > MAX_SETS:
        raise BadRecord(f"{zone} has too many records", f"at most {MAX_SETS} sets of records fit into a zone")
    return changed


def zone_checked(entry: ZoneEntry) -> ZoneEntry:
    """`entry` as it is kept. Raises `BadRecord`."""
    for text in (*entry.secondaries, *entry.primaries):
        _check_place(text)
    servers = [(name, canonical(name)) for name in entry.servers]
    if bad := [name for name, found in servers if found is None or "." not in found]:
        raise BadRecord(f"{bad[0][:80]!r} is no name of a name server", "give it in full")
    if max(len(entry.secondaries), len(servers), len(entry.primaries)) > MAX_SERVERS:
        raise BadRecord("too many name servers", f"at most {MAX_SERVERS}")
    key = canonical(entry.key) if entry.key else ""
    if key is None:
        raise BadRecord(f"{entry.key[:80]!r} cannot be the name of a key", "", "hybrid dns key list")
    if entry.catalog and entry.primaries:
        raise BadRecord("a catalog is made here", "it cannot be a copy of somebody else's zone")
    return msgspec.structs.replace(
        entry,
        secondaries=tuple(dict.fromkeys(entry.secondaries)),
        servers=tuple(dict.fromkeys(found for _, found in servers if found is not None)),
        primaries=tuple(dict.fromkeys(entry.primaries)),
        key=key,
    )


def _check_place(text: str) -> None:
    address, colon, port = text.partition(":")
    try:
        ipaddress.IPv4Address(address)
        fits = not colon or 0 < int(port) < 65536
    except ValueError:
        fits = False
    if not fits:
        raise BadRecord(f"{text[:80]!r} is no address of a name server", "IPv4, perhaps with a port", "192.0.2.1:53")


def _name_of(platform: Platform, zone: str, text: str) -> str:
    """`@`, a name below the zone, or a relative one, as a full name."""
    absolute = text.endswith(".")
    name = zone if text in ("@", "") else canonical(text)
    if name is not None and not absolute and not is_within(name, zone):
        name = canonical(f"{name}.{zone}")
    if name is None or not is_within(name, zone):
        raise BadRecord(f"{text[:80]!r} is no name in {zone}", "letters, digits, - and _, at most 63 between dots")
    if platform.zone_of(name) != zone:
        raise BadRecord(f"{name} is not in {zone}", f"it is in the zone {platform.zone_of(name)}", "change it there")
    return name


def _type_of(text: str) -> str:
    try:
        kind = dns.rdatatype.from_text(text)
    except (dns.exception.DNSException, ValueError) as error:
        raise BadRecord(f"{text[:40]!r} is no type of record", "", "A, AAAA, CNAME, MX, TXT, SRV, CAA, …") from error
    if dns.rdatatype.is_metatype(kind) or kind == dns.rdatatype.NONE:
        raise BadRecord(f"{text[:40]} is no type that a zone holds")
    return dns.rdatatype.to_text(kind)


def _after(old: RecordSet | None, edit: Edit, zone: str, name: str, kind: str) -> RecordSet | None:
    ttl_s = edit.ttl_s if edit.ttl_s is not None else old.ttl_s if old else DEFAULT_TTL_S
    if not 0 <= ttl_s <= MAX_TTL_S:
        raise BadRecord(f"a TTL of {ttl_s} s is not possible", f"0 to {MAX_TTL_S} s")
    given = [checked(kind, text, dns.name.root) for text in edit.records]
    before = list(old.records) if old else []
    if edit.do == "add":
        given = [*before, *given]
    elif edit.do == "remove":
        given = [text for text in before if text not in given]
    records = tuple(dict.fromkeys(given))
    if len(records) > MAX_RECORDS or sum(map(len, records)) > MAX_BYTES:
        raise BadRecord(
            f"{name} {kind} is too large", f"at most {MAX_RECORDS} records of {MAX_BYTES} characters in all"
        )
    return RecordSet(zone=zone, name=name, type=kind, ttl_s=ttl_s, records=records) if records else None


def checked(kind: str, text: str, origin: dns.name.Name) -> str:
    """A record as it is kept: absolute names, one way of writing. Raises `BadRecord`."""
    try:
        rdata = dns.rdata.from_text(dns.rdataclass.IN, kind, text, origin, relativize=False)
        rdata.to_wire()
    except (dns.exception.DNSException, ValueError) as error:
        raise BadRecord(f"{text[:80]!r} is no {kind} record", str(error)[:200]) from error
    return rdata.to_text()


def _check_together(zone: str, name: str, sets: dict[str, RecordSet]) -> None:
    if "CNAME" in sets and name == zone:
        raise BadRecord(f"{zone} cannot have a CNAME", "the top of a zone has SOA and NS (RFC 1034)", "use A and AAAA")
    for kind in ("CNAME", "DNAME"):
        if kind in sets and len(sets[kind].records) > 1:
            raise BadRecord(f"{name} cannot have two {kind} records")
    if "CNAME" in sets and len(sets) > 1:
        others = ", ".join(sorted(sets.keys() - {"CNAME"}))
        raise BadRecord(f"{name} cannot have a CNAME and {others}", "a CNAME stands alone (RFC 1034)", "remove one")
