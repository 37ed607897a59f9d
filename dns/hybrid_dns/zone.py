"""
What the cluster's DNS zones contain, by the view. Pure.

Two steps: `contents` takes from a view only what DNS publishes (two views with equal contents need no new answers),
`Zones` serves RRsets from it under one serial.

A site's domain outside the cluster's zones becomes the apex of a small zone of its own (SOA, NS of the main zone), so
that a customer may delegate it to the cluster; a domain below such an apex belongs to that zone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import dns.exception
import dns.name
import dns.rdatatype
import dns.rrset
from dns.rdatatype import RdataType

from hybrid.model import NodeId
from hybrid.view import NodeView, SiteView, View

MAX_SERVERS = 4
MAX_ADDRESSES = 4
INFRASTRUCTURE_TTL_S = 300
NEGATIVE_TTL_S = 30


@dataclass(frozen=True, slots=True)
class Hosts:
    """The addresses of a name, in the order in which they are to be given."""

    ttl_s: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """All that DNS publishes; names are lower case without a final dot."""

    origins: tuple[str, ...] = ()
    """Apexes of all zones: the cluster's own first, main one first of all."""
    servers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Apex to the names of its live name servers, best first."""
    hosts: dict[str, Hosts] = field(default_factory=dict)


def contents(view: View) -> Contents:
    """What `view` publishes. Of two sites with one domain the smaller id has it; names of the cluster's own win."""
    sites = [view.sites[key] for key in sorted(view.sites, reverse=True)]
    own = tuple(zone for zone in view.zones if _is_host_name(zone))
    origins = own + _foreign_origins(own, (domain for site in sites for domain in site.spec.domains))
    order = _order(view.nodes.values())
    hosts = {
        domain: _site_hosts(view, site, order)
        for site in sites
        for domain in site.spec.domains
        if _is_host_name(domain)
    }
    servers: dict[str, tuple[str, ...]] = {}
    assigned = _name_servers(view.nodes.values())
    for zone in own or origins:
        hosts.update(_infrastructure(zone, view.nodes.values(), assigned))
        live = tuple(f"{label}.{zone}" for label, node in assigned.items() if node.live)
        servers[zone] = live or tuple(f"{label}.{zone}" for label in assigned)
    main = servers[own[0]] if own else ()
    return Contents(origins, {origin: servers.get(origin, main) for origin in origins}, hosts)


def _infrastructure(zone: str, nodes: Iterable[NodeView], servers: dict[str, NodeView]) -> dict[str, Hosts]:
    """`ns1…` and `<node>.nodes` of one zone. They name machines, so a dead one keeps its record."""
    named = {f"{node.name}.nodes.{zone}": node for node in nodes}
    named.update({f"{label}.{zone}": node for label, node in servers.items()})
    return {name: Hosts(INFRASTRUCTURE_TTL_S, (node.address,)) for name, node in named.items() if _is_host_name(name)}


def _name_servers(nodes: Iterable[NodeView]) -> dict[str, NodeView]:
    """
    `ns1` to `ns4` and their nodes: data centres in turn, nodes by name within each.

    Dead nodes keep their place, so that the names do not move when one dies or returns.
    """
    by_dc: dict[str, list[NodeView]] = {}
    for node in sorted(nodes, key=lambda node: (node.name, node.id)):
        by_dc.setdefault(node.dc, []).append(node)
    longest = max(map(len, by_dc.values()), default=0)
    turns = [group[turn] for turn in range(longest) for group in by_dc.values() if turn < len(group)]
    return {f"ns{index}": node for index, node in enumerate(turns[:MAX_SERVERS], 1)}


def _order(nodes: Iterable[NodeView]) -> dict[str | None, tuple[NodeId, ...]]:
    """
    Data centre to the live nodes that sites there name besides their holders: some elsewhere, then some there, by name.

    No more than an answer has room for, so that very many sites on very many nodes are not sorted one by one. `None`
    is for sites without a live holder.
    """
    live = [node for node in sorted(nodes, key=lambda node: (node.name, node.id)) if node.live]
    order: dict[str | None, tuple[NodeId, ...]] = {None: tuple(node.id for node in live[:1])}
    for dc in {node.dc for node in live}:
        far = [node.id for node in live if node.dc != dc][:MAX_ADDRESSES]
        near = [node.id for node in live if node.dc == dc][:MAX_ADDRESSES]
        order[dc] = (*far, *near)
    return order


def _site_hosts(view: View, site: SiteView, order: dict[str | None, tuple[NodeId, ...]]) -> Hosts:
    """
    Where to send clients of `site`: the owner, then live nodes of other data centres, then the rest; never a dead one.

    Every live node passes requests on to the owner, so each of them is a true answer. Among equals, nodes that hold
    the site come first (they take over when the owner dies), then by name.
    """
    holders = [*((site.owner,) if site.owner else ()), *site.holders]
    live = [node for node in holders if node in view.nodes and view.nodes[node].live] or list(order[None])
    if not live:
        return Hosts(site.spec.ttl_s, ())
    first_dc = view.nodes[live[0]].dc
    first, *others = dict.fromkeys([*live, *order[first_dc]])
    rest = sorted(others, key=lambda node: view.nodes[node].dc == first_dc)
    chosen: list[NodeId] = [first, *rest][:MAX_ADDRESSES]
    return Hosts(site.spec.ttl_s, tuple(view.nodes[node].address for node in chosen))


def _foreign_origins(own: tuple[str, ...], domains: Iterable[str]) -> tuple[str, ...]:
    """Domains that are in no zone of `own` and not below another such domain. A bare top-level name is none."""
    taken = set(own)
    found: list[str] = []
    for domain in sorted(set(domains), key=lambda name: (name.count("."), name)):
        if "." in domain and _is_host_name(domain) and not any(parent in taken for parent in _with_parents(domain)):
            taken.add(domain)
            found.append(domain)
    return tuple(found)


def _with_parents(name: str) -> Iterator[str]:
    """`a.b.c`, `b.c`, `c`."""
    while name:
        yield name
        name = name.partition(".")[2]


def _is_host_name(name: str) -> bool:
    """Whether `name` can be put on the wire as it is."""
    try:
        return name not in ("", ".") and dns.name.from_text(name).canonicalize().to_text(omit_final_dot=True) == name
    except (dns.exception.DNSException, UnicodeError):
        return False


@dataclass(frozen=True, slots=True)
class Match:
    """What the zones say of a name."""

    origin: dns.name.Name
    exists: bool
    """False: NXDOMAIN. A name that only has names below it exists."""
    hosts: Hosts | None


class Zones:
    """RRsets of `contents` under one SOA `serial`."""

    def __init__(self, contents: Contents, serial: int) -> None:
        self.contents = contents
        self.serial = serial
        self._origins = {dns.name.from_text(origin): origin for origin in contents.origins}
        self._hosts = {dns.name.from_text(name): hosts for name, hosts in contents.hosts.items()}
        self._inner = set(self._inner_names())

    def _inner_names(self) -> Iterator[dns.name.Name]:
        """Names that exist because of names below them (RFC 4592 §2.2.2), up to their apex."""
        yield from self._origins
        for name in self._hosts:
            while name not in self._origins and name != dns.name.root:
                name = name.parent()
                yield name

    def find(self, name: dns.name.Name) -> Match | None:
        """What is known of `name` in the deepest zone that contains it; `None` when no zone does."""
        origin = name
        while origin not in self._origins:
            if origin == dns.name.root:
                return None
            origin = origin.parent()
        return Match(origin, name in self._hosts or name in self._inner, self._hosts.get(name))

    def rrset(self, name: dns.name.Name, match: Match, kind: RdataType) -> dns.rrset.RRset | None:
        """The RRset of `kind` at `name`, or `None`. Addresses keep the order of `Hosts`."""
        if kind is RdataType.SOA:
            return self.soa(name) if name == match.origin else None
        if kind is RdataType.NS:
            return self._servers(name) if name == match.origin else None
        return _address_rrset(name, match.hosts, kind) if match.hosts else None

    def soa(self, origin: dns.name.Name) -> dns.rrset.RRset:
        """The SOA of a zone (RFC 1035 §3.3.13); its minimum and TTL bound how long "no" is believed (RFC 2308)."""
        zone = self._origins[origin]
        if f"ns1.{zone}" not in self.contents.hosts:
            zone = self.contents.origins[0]
        text = f"ns1.{zone}. hostmaster.{zone}. {self.serial} 3600 600 604800 {NEGATIVE_TTL_S}"
        return dns.rrset.from_text(origin, NEGATIVE_TTL_S, "IN", "SOA", text)

    def _servers(self, origin: dns.name.Name) -> dns.rrset.RRset | None:
        names = self.contents.servers[self._origins[origin]]
        texts = [f"{name}." for name in names]
        return dns.rrset.from_text_list(origin, INFRASTRUCTURE_TTL_S, "IN", "NS", texts) if texts else None

    def glue(self, servers: dns.rrset.RRset) -> list[dns.rrset.RRset]:
        """Addresses of the name servers named in an NS RRset."""
        found = []
        for rdata in servers:
            name = dns.name.from_text(str(rdata))
            hosts = self._hosts.get(name)
            for kind in (RdataType.A, RdataType.AAAA):
                rrset = _address_rrset(name, hosts, kind) if hosts else None
                found += [rrset] if rrset else []
        return found


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
