"""
What the cluster's DNS zones contain, by the view and what people keep there. Pure.

`contents` takes from a view only what DNS publishes: two views with equal contents need no new answers. `lookup.Zones`
serves RRsets from it.

A site's domain outside the cluster's zones becomes the apex of a small zone of its own (SOA, NS of the main zone), so
that a customer may delegate it to the cluster; a domain below such an apex belongs to that zone.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field

import dns.exception
import dns.name

from hybrid.model import NodeId
from hybrid.view import NodeView, SiteView, View
from hybrid_dns import catalog
from hybrid_dns.book import Book
from hybrid_dns.records import Sets, canonical, with_parents
from hybrid_dns.rules import Platform

MAX_SERVERS = 4
MAX_ADDRESSES = 4
INFRASTRUCTURE_TTL_S = 300
NOTHING = Book()
STEP = 200
_ORDINARY = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class Hosts:
    """The addresses of a name, in the order in which they are to be given."""

    ttl_s: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Top:
    """What the primary of a copied zone says of the whole of it."""

    soa: str
    ttl_s: int
    serial: int
    negative_ttl_s: int
    """How long "no" is believed."""


@dataclass(frozen=True, slots=True)
class Contents:
    """All that DNS publishes; names are lower case without a final dot."""

    origins: tuple[str, ...] = ()
    """Apexes of all zones: the cluster's own first, main one first of all."""
    servers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Apex to the names of its live name servers, best first."""
    hosts: dict[str, Hosts] = field(default_factory=dict)
    records: Sets = field(default_factory=dict)
    """People's own records, by name and type. Where `hosts` has the name, its addresses are meant."""
    machines: frozenset[str] = frozenset()
    """Names of nodes and name servers, among `hosts`."""
    copied: dict[str, Top | None] = field(default_factory=dict)
    """Apexes of zones whose primary is elsewhere; `None`: what it says is not known."""
    catalogs: frozenset[str] = frozenset()
    """Apexes of zones that list others."""
    places: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Data centre to addresses of live nodes there, by name."""


def contents(view: View, book: Book = NOTHING) -> Contents:
    """What `view` publishes. Of two sites with one domain the smaller id has it; names of the cluster's own win."""
    steps = contents_in_steps(view, book)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Contents = end.value
            return found


def contents_in_steps(view: View, book: Book) -> Generator[None, None, Contents]:
    """The same, with a pause after every few hundred sites."""
    sites = [site for _, site in sorted(view.sites.items(), reverse=True, key=_first)]
    yield
    own = tuple(zone for zone in view.zones if _is_host_name(zone))
    made = tuple(zone for zone in sorted(book.zones) if zone not in own and canonical(zone) == zone)
    foreign = yield from _foreign_origins(own + made, (domain for site in sites for domain in site.spec.domains))
    origins = own + made + foreign
    copied = {zone: _top(book, zone) for zone in made if book.zones[zone].primaries}
    catalogs = {zone for zone in made if book.zones[zone].catalog and zone not in copied}
    order = node_order(view)
    hosts: dict[str, Hosts] = {}
    for number, site in enumerate(sites):
        drawn = hosts_of(view, site, order)
        hosts.update((domain, drawn) for domain in site.spec.domains if _is_host_name(domain))
        if number % STEP == STEP - 1:
            yield
    servers: dict[str, tuple[str, ...]] = {}
    machines: dict[str, Hosts] = {}
    assigned = _name_servers(view.nodes.values())
    for zone in own or [zone for zone in origins if zone not in copied and zone not in catalogs]:
        machines.update(_infrastructure(zone, view.nodes.values(), assigned))
        live = tuple(f"{label}.{zone}" for label, node in assigned.items() if node.live)
        servers[zone] = live or tuple(f"{label}.{zone}" for label in assigned)
    main = servers[own[0]] if own else ()
    hosts.update(machines)
    tops = frozenset(origins)
    if copied:
        hosts = {name: drawn for name, drawn in hosts.items() if _zone_of(name, tops) not in copied}
    yield
    records = _own_records(book, tops, hosts)
    records.update(_copied_records(book, tops, copied))
    for zone in catalogs:
        records.update(catalog.listed(zone, (one for one in own + made if one not in copied and one not in catalogs)))
    all_servers = {
        origin: servers.get(origin, main) + (book.zones[origin].servers if origin in book.zones else ())
        for origin in origins
    }
    all_servers.update((zone, (catalog.SERVER,)) for zone in catalogs)
    all_servers.update((zone, copy.servers if copy else ()) for zone in copied for copy in (book.copies[zone],))
    return Contents(
        origins, all_servers, hosts, records, frozenset(machines), copied, frozenset(catalogs), _places(view)
    )


def _places(view: View) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for node in sorted(view.nodes.values(), key=lambda node: (node.name, node.id)):
        if node.live and len(found.get(node.dc, ())) < MAX_ADDRESSES:
            found[node.dc] = (*found.get(node.dc, ()), node.address)
    return found


def _top(book: Book, zone: str) -> Top | None:
    copy = book.copies.get(zone)
    return Top(copy.soa, copy.soa_ttl_s, copy.serial, min(copy.soa_ttl_s, copy.minimum_s)) if copy else None


def _copied_records(book: Book, origins: frozenset[str], copied: Iterable[str]) -> Sets:
    """Of copied zones; names in a deeper zone that is answered here too are that zone's."""
    found: Sets = {}
    for zone in copied:
        copy = book.copies[zone]
        names = copy.sets.items() if copy else ()
        found.update((name, sets) for name, sets in names if _zone_of(name, origins) == zone)
    return found


def _zone_of(name: str, origins: frozenset[str]) -> str | None:
    """The deepest of `origins` that contains `name`."""
    return next((parent for parent in with_parents(name) if parent in origins), None)


def _first(pair: tuple[str, object]) -> str:
    return pair[0]


def platform_of(view: View, found: Contents) -> Platform:
    """What of the contents of `view` people cannot change."""
    sites = {domain for site in view.sites.values() for domain in site.spec.domains}
    others = found.catalogs | found.copied.keys()
    return Platform(frozenset(found.origins), frozenset(sites), found.machines, others)


def _own_records(book: Book, origins: frozenset[str], hosts: Mapping[str, Hosts]) -> Sets:
    """
    What of `book` is published.

    Edits on two sides of a partition can leave what one edit could not: what the platform keeps wins, a CNAME loses
    against any other record at its name.
    """
    found: Sets = {}
    for zone, names in book.sets.items():
        for name, sets in names.items():
            if _zone_of(name, origins) != zone:
                continue
            hidden = {"SOA", "NS", "CNAME"} if name == zone else set()
            if name in hosts:
                hidden |= {"A", "AAAA", "CNAME", "NS"}
            kept = {kind: one for kind, one in sets.items() if kind not in hidden}
            if len(kept) > 1:
                kept.pop("CNAME", None)
            if kept:
                found[name] = kept
    return found


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


def node_order(view: View) -> dict[str | None, tuple[NodeId, ...]]:
    """
    Data centre to the live nodes that sites there name besides their holders: some elsewhere, then some there, by name.

    No more than an answer has room for, so that very many sites on very many nodes are not sorted one by one. `None`
    is for sites without a live holder.
    """
    live = [node for node in sorted(view.nodes.values(), key=lambda node: (node.name, node.id)) if node.live]
    order: dict[str | None, tuple[NodeId, ...]] = {None: tuple(node.id for node in live[:1])}
    for dc in {node.dc for node in live}:
        far = [node.id for node in live if node.dc != dc][:MAX_ADDRESSES]
        near = [node.id for node in live if node.dc == dc][:MAX_ADDRESSES]
        order[dc] = (*far, *near)
    return order


def hosts_of(view: View, site: SiteView, order: dict[str | None, tuple[NodeId, ...]]) -> Hosts:
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


def _foreign_origins(own: tuple[str, ...], domains: Iterable[str]) -> Generator[None, None, tuple[str, ...]]:
    """Domains that are in no zone of `own` and not below another such domain. A bare top-level name is none."""
    taken = set(own)
    found: list[str] = []
    for number, domain in enumerate(sorted(set(domains), key=lambda name: (name.count("."), name))):
        if number % STEP == STEP - 1:
            yield
        if "." in domain and _is_host_name(domain) and not any(parent in taken for parent in with_parents(domain)):
            taken.add(domain)
            found.append(domain)
    return tuple(found)


def _is_host_name(name: str) -> bool:
    """Whether `name` can be put on the wire as it is."""
    if len(name) < 250 and _ORDINARY.fullmatch(name):
        return True
    try:
        return name not in ("", ".") and dns.name.from_text(name).canonicalize().to_text(omit_final_dot=True) == name
    except (dns.exception.DNSException, UnicodeError):
        return False
