"""
RRsets of the zones' contents under one SOA serial: which zone, which name, wildcards, delegations. Pure.

RFC 1034 §4.3.2 (the algorithm), RFC 4592 (wildcards), RFC 2308 (how long "no" is believed).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import dns.name
import dns.rdatatype
import dns.rrset
from dns.rdatatype import RdataType

from hybrid_dns.near import nearest
from hybrid_dns.records import RecordSet, with_parents
from hybrid_dns.zone import INFRASTRUCTURE_TTL_S, Contents, Hosts

NEGATIVE_TTL_S = 30
_NONE: Mapping[str, RecordSet] = {}


@dataclass(frozen=True, slots=True)
class Match:
    """What the zones say of a name."""

    origin: str
    """The apex of the deepest zone that contains the name."""
    exists: bool
    """False: NXDOMAIN. A name that only has names below it exists."""
    hosts: Hosts | None = None
    records: Mapping[str, RecordSet] = field(default_factory=dict)
    wild: str = ""
    """The wildcard that answers for it."""
    encloser: str = ""
    """The closest name above it that exists; of names that do not, or that a wildcard answers for."""
    cut: str = ""
    """The name at or above it at which the zone is delegated to others."""


class Zones:
    """RRsets of `contents` under one SOA `serial`."""

    def __init__(self, contents: Contents, serial: int, like: Zones | None = None, near: str = "") -> None:
        """
        One state.

        Args:
            contents: What there is.
            serial: Of all zones but copied ones.
            like: The state before, from which is taken what did not change.
            near: A data centre whose nodes are given first.
        """
        self.contents = contents
        self.serial = serial
        self._near = contents.places.get(near, ())
        known = like if like is not None and _same_names(like.contents, contents) else None
        self._origins: frozenset[str] = known._origins if known else frozenset(contents.origins)
        self._inner: set[str] = known._inner if known else set(self._inner_names())
        cuts = (name for name, sets in contents.records.items() if "NS" in sets)
        self._cuts: set[str] = known._cuts if known else set(cuts)

    def is_origin(self, name: str) -> bool:
        """Whether `name` is the top of a zone."""
        return name in self._origins

    def is_missing(self, origin: str) -> bool:
        """Whether nothing can be said of a zone: its primary is elsewhere, and was not heard for too long."""
        return origin in self.contents.copied and self.contents.copied[origin] is None

    def serial_of(self, zone: str) -> int:
        """The serial of a zone: the cluster's, or its primary's."""
        top = self.contents.copied.get(zone)
        return top.serial if top is not None else self.serial

    def is_own_server(self, origin: str) -> bool:
        """Whether the first name server of that zone is named within it."""
        return f"ns1.{origin}" in self.contents.hosts

    def hosts_only(self, name: str) -> Hosts | None:
        """The hosts of `name` where nothing else is there to be thought of: no delegation above it."""
        hosts = self._hosts(name)
        if hosts is None or (self._cuts and any(parent in self._cuts for parent in with_parents(name))):
            return None
        return hosts

    def _hosts(self, name: str) -> Hosts | None:
        hosts = self.contents.hosts.get(name)
        if not self._near or hosts is None or name in self.contents.machines:
            return hosts
        return nearest(hosts, self._near)

    def _inner_names(self) -> Iterator[str]:
        """Names that exist because of names below them (RFC 4592 §2.2.2), up to their apex."""
        yield from self._origins
        for names in (self.contents.hosts, self.contents.records):
            for name in names:
                for parent in with_parents(name):
                    if parent in self._origins:
                        break
                    yield parent

    def find(self, name: dns.name.Name) -> Match | None:
        """What is known of `name` in the deepest zone that contains it; `None` when no zone does."""
        parents = text_parents(name)
        depth = next((depth for depth, parent in enumerate(parents) if parent in self._origins), None)
        if depth is None:
            return None
        origin, text = parents[depth], parents[0]
        cut = next((parent for parent in reversed(parents[:depth]) if parent in self._cuts), "")
        if cut:
            return Match(origin, True, records=self.contents.records[cut] if cut == text else _NONE, cut=cut)
        if text in self._inner:
            return self._match(origin, text)
        encloser = next(parent for parent in parents[: depth + 1] if parent in self._inner)
        wild = f"*.{encloser}"
        if wild in self._inner:
            found = self._match(origin, wild)
            return Match(origin, True, found.hosts, found.records, wild, encloser)
        return Match(origin, False, encloser=encloser)

    def _match(self, origin: str, text: str) -> Match:
        found = self.contents
        return Match(origin, True, self._hosts(text), found.records.get(text, _NONE))

    def names(self, zone: str) -> Iterator[tuple[dns.name.Name, Match]]:
        """All names of a zone that have records, the top first, then sorted; also those below a delegation."""
        found = {*self.contents.hosts, *self.contents.records} - {zone}
        inside = [name for name in found if next((up for up in with_parents(name) if up in self._origins), "") == zone]
        for text in (zone, *sorted(inside, key=lambda name: name.split(".")[::-1])):
            yield dns.name.from_text(text), self._match(zone, text)

    def at(self, name: dns.name.Name, zone: str) -> list[dns.rrset.RRset]:
        """All RRsets of just this name, without wildcards."""
        match = self._match(zone, name_text(name))
        return list(self._all(name, match))

    def rrsets(self, zone: str) -> Iterator[dns.rrset.RRset]:
        """All RRsets of a zone, its SOA first."""
        for name, match in self.names(zone):
            yield from self._all(name, match)

    def _all(self, name: dns.name.Name, match: Match) -> Iterator[dns.rrset.RRset]:
        own = [dns.rdatatype.from_text(kind) for kind in sorted(match.records.keys() - {"A", "AAAA", "NS"})]
        for kind in (RdataType.SOA, RdataType.NS, RdataType.A, RdataType.AAAA, *own):
            rrset = self.rrset(name, match, kind)
            if rrset is not None:
                yield rrset

    def rrset(self, name: dns.name.Name, match: Match, kind: RdataType) -> dns.rrset.RRset | None:
        """The RRset of `kind` at `name`, or `None`. Addresses keep the order of `Hosts`."""
        if kind in (RdataType.SOA, RdataType.NS) and name_text(name) == match.origin:
            if kind is RdataType.SOA:
                return self.soa(name)
            if match.origin not in self.contents.copied:
                return self._servers(name, match.origin)
        found = _address_rrset(name, match.hosts, kind) if match.hosts else None
        if found is not None:
            return found
        own = match.records.get(dns.rdatatype.to_text(kind))
        return _own_rrset(name, own) if own else None

    def soa(self, origin: dns.name.Name) -> dns.rrset.RRset:
        """The SOA of a zone (RFC 1035 §3.3.13); its minimum and TTL bound how long "no" is believed (RFC 2308)."""
        zone = name_text(origin)
        top = self.contents.copied.get(zone)
        if top is not None:
            return dns.rrset.from_text(origin, top.ttl_s, "IN", "SOA", top.soa)
        if f"ns1.{zone}" not in self.contents.hosts:
            zone = self.contents.origins[0]
        text = f"ns1.{zone}. hostmaster.{zone}. {self.serial} 3600 600 604800 {NEGATIVE_TTL_S}"
        return dns.rrset.from_text(origin, NEGATIVE_TTL_S, "IN", "SOA", text)

    def negative_soa(self, origin: dns.name.Name) -> dns.rrset.RRset:
        """The same with the TTL of a "no" (RFC 2308 §3)."""
        soa, top = self.soa(origin), self.contents.copied.get(name_text(origin))
        soa.ttl = top.negative_ttl_s if top is not None else soa.ttl
        return soa

    def _servers(self, name: dns.name.Name, origin: str) -> dns.rrset.RRset | None:
        texts = [f"{server}." for server in self.contents.servers[origin]]
        return dns.rrset.from_text_list(name, INFRASTRUCTURE_TTL_S, "IN", "NS", texts) if texts else None

    def cut_rrset(self, cut: str, kind: str) -> dns.rrset.RRset | None:
        """NS or DS of a name at which a zone is delegated."""
        own = self.contents.records[cut].get(kind)
        return _own_rrset(dns.name.from_text(cut), own) if own else None

    def glue(self, servers: dns.rrset.RRset) -> list[dns.rrset.RRset]:
        """Addresses of the name servers named in an NS RRset, as far as they are ours."""
        found = []
        for rdata in servers:
            name = dns.name.from_text(str(rdata))
            text = name_text(name)
            hosts, own = self._hosts(text), self.contents.records.get(text, _NONE)
            for kind in (RdataType.A, RdataType.AAAA):
                rrset = _address_rrset(name, hosts, kind) if hosts else None
                if rrset is None and kind.name in own:
                    rrset = _own_rrset(name, own[kind.name])
                found += [rrset] if rrset else []
        return found


def _same_names(one: Contents, other: Contents) -> bool:
    return one.records is other.records and one.origins == other.origins and one.hosts.keys() == other.hosts.keys()


def changed_names(before: Zones | None, now: Zones) -> set[str] | None:
    """Names whose hosts differ; `None` where more than that does."""
    if before is None or before.contents.records is not now.contents.records:
        return None
    old, new = before.contents, now.contents
    if old.origins != new.origins or old.copied != new.copied:
        return None
    if old.hosts is new.hosts:
        return set()
    gone = old.hosts.keys() - new.hosts.keys()
    return {name for name, hosts in new.hosts.items() if old.hosts.get(name) != hosts} | gone


def name_text(name: dns.name.Name) -> str:
    """Lower case, without a final dot."""
    return name.canonicalize().to_text(omit_final_dot=True)


def text_parents(name: dns.name.Name) -> list[str]:
    """`a.b.c`, `b.c`, `c`; a dot within a label parts nothing."""
    text = name_text(name)
    if "\\" not in text:
        return list(with_parents(text))
    return [text, *text_parents(name.parent())]


def _version(address: str) -> int:
    """4, 6, or 0 for what is no address."""
    try:
        return ipaddress.ip_address(address).version
    except ValueError:
        return 0


def _address_rrset(name: dns.name.Name, hosts: Hosts, kind: RdataType) -> dns.rrset.RRset | None:
    version = {RdataType.A: 4, RdataType.AAAA: 6}.get(kind)
    texts = [text for text in hosts.addresses if _version(text) == version]
    return dns.rrset.from_text_list(name, hosts.ttl_s, "IN", kind, texts) if texts else None


def _own_rrset(name: dns.name.Name, own: RecordSet) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(name, own.ttl_s, "IN", own.type, own.records)
