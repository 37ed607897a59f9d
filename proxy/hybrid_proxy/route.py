"""
Where a request goes, decided from the view. Pure.

`Routes` keeps one answer per site, made when the view changes; a lookup is two reads of a dict. An answer that did not
change stays the same object, so that what was made for it (connections, queues) can be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hybrid.leaves import unlike
from hybrid.model import NO_CLAIM, Claim, NodeId, Port, SiteId
from hybrid.sitehttp import Http
from hybrid.view import SiteView, View
from hybrid_proxy.services import Services, service_of, waiting_name


@dataclass(frozen=True, slots=True)
class Here:
    """The site runs on this node."""

    address: str
    port: int
    """0: the address is the path of a local socket."""
    site: SiteId
    claim: Claim


@dataclass(frozen=True, slots=True)
class There:
    """Another node owns the site."""

    node: NodeId
    address: str
    interior_port: int
    site: SiteId
    claim: Claim
    public_port: int = 0
    """For plain TCP: which of the site's ports; 0 for HTTP and services."""
    service: str = ""
    """See `hybrid.model.Service`; empty for HTTP and plain TCP."""


@dataclass(frozen=True, slots=True)
class Wait:
    """An owner is coming up, or the site sleeps here: hold the request. One that sleeps elsewhere is held there."""

    site: SiteId


@dataclass(frozen=True, slots=True)
class Stopped:
    """Off by its user's wish, or with its account."""

    site: SiteId
    is_suspended: bool = False


@dataclass(frozen=True, slots=True)
class Unavailable:
    """No node can serve it now."""

    site: SiteId
    why: str


@dataclass(frozen=True, slots=True)
class NotOwner:
    """To another front door: it is not here; `claim` is the newest this node knows of."""

    site: SiteId
    claim: Claim


@dataclass(frozen=True, slots=True)
class Unknown:
    """No site has this name or port."""


Destination = Here | There
Route = Here | There | Wait | Stopped | Unavailable | NotOwner | Unknown
UNKNOWN = Unknown()


class Routes:
    """The routes of one view."""

    def __init__(self) -> None:
        self._view: View | None = None
        self._reach: dict[NodeId, tuple[str, int, bool]] = {}
        self._sites: dict[str, SiteId] = {}
        self._ports: dict[int, SiteId] = {}
        self._http: dict[SiteId, Route] = {}
        self._tcp: dict[int, Route] = {}
        self.services: Services[Route] = Services(self._service_route, UNKNOWN)
        self.redirecting: frozenset[str] = frozenset()
        """Hosts whose sites want to be asked by HTTPS only."""
        self.logging: dict[SiteId, str] = {}
        """Sites with an access log, to its format."""
        self.bounded: dict[str, tuple[SiteId, float]] = {}
        """Hosts to their site and how many requests a second each source may make of it."""
        self.minded: dict[SiteId, Http] = {}
        """Sites with a cache, or with a bound on what all together may ask, to their wishes."""
        self.asleep: set[SiteId] = set()
        """Sites of this node that are started when somebody waits for them."""
        self.may_sleep: frozenset[SiteId] = frozenset()
        """Sites of any node that do so when nobody asks for them."""
        self.shadowed: tuple[tuple[int, SiteId], ...] = ()
        """Public ports that a second site asked for, and who did not get it."""

    def route(self, host: str) -> Route:
        """Where a request for `host` (lower case, no port, no final dot) goes."""
        site = self._sites.get(host)
        return UNKNOWN if site is None else self._http[site]

    def route_tls(self, host: str) -> Route:
        """Where TLS for `host` goes that its site ends itself; `Unknown`: that is done here."""
        site = self._sites.get(host)
        return UNKNOWN if site is None else self.services.route("tls", site)

    def site_of(self, host: str) -> SiteId | None:
        """The site that has `host` among its domains."""
        return self._sites.get(host)

    def http(self, site: SiteId) -> Http:
        """How `site` wants its HTTP served."""
        seen = self._view.sites.get(site) if self._view is not None else None
        return seen.spec.http if seen is not None else Http()

    def route_port(self, public_port: int) -> Route:
        """Where a connection to a public TCP port goes."""
        return self._tcp.get(public_port, UNKNOWN)

    def route_site(self, site: SiteId, public_port: int = 0, service: str = "") -> Route:
        """As `route`, by id; with a public port as `route_port`, if that port is this site's; or of a service."""
        if service:
            return self.services.route(service, site)
        found = self._tcp.get(public_port, UNKNOWN) if public_port else self._http.get(site, UNKNOWN)
        return found if getattr(found, "site", None) == site else UNKNOWN

    def admit(self, site: SiteId, claim: Claim, public_port: int = 0, service: str = "") -> Route:
        """
        What to do with a request another front door sent here under `claim`.

        Returns:
            `Here`, `Wait` (an owner is coming up here, or this view is behind the sender's), `Stopped`, or `NotOwner`.
            Never `There`: a request passes one interior link, not two.
        """
        found = self.route_site(site, public_port, service)
        known = self.claim(site)
        if isinstance(found, Here | Wait) and claim > known and self._view is not None and claim.node == self._view.me:
            return Wait(site)
        if isinstance(found, Here):
            return found if claim == known else NotOwner(site, known)
        if isinstance(found, Wait | Stopped):
            return found
        return NotOwner(site, known)

    def claim(self, site: SiteId) -> Claim:
        """The newest claim on `site` in the view."""
        seen = self._view.sites.get(site) if self._view is not None else None
        return (seen.claim if seen is not None else None) or NO_CLAIM

    def route_past(self, service: str, site: SiteId, moment: str) -> Route:
        """Where a past moment of `site` is; `Wait` while it is not there."""
        past = self.services.past(site, moment)
        return Wait(waiting_name(site, moment)) if past is None else self.services.route(service, past)

    def keys(self, site: SiteId) -> tuple[str, ...]:
        """Public keys of those who may log in to `site` by SSH."""
        seen = self._view.sites.get(site) if self._view is not None else None
        return seen.spec.ssh_keys if seen is not None else ()

    def main_zone(self) -> str:
        """The cluster's own zone; `localhost` without one."""
        return self._view.zones[0] if self._view is not None and self._view.zones else "localhost"

    def live(self, node: NodeId) -> bool:
        """Whether the view takes `node` for alive."""
        known = self._view.nodes.get(node) if self._view is not None else None
        return known is not None and known.live

    def public_ports(self) -> Iterable[int]:
        """Public TCP ports some site asks for."""
        return self._tcp.keys()

    def follow(self, view: View) -> set[SiteId]:
        """
        Take a new view.

        Returns:
            Sites whose HTTP or TCP route is not what it was; and what those wait for who want a preview among them.
        """
        old, self._view = self._view, view
        known = old.sites if old is not None else {}
        reach = {node.id: (node.address, node.interior_port, node.live) for node in view.nodes.values()}
        turned = {node for node in reach.keys() | self._reach.keys() if reach.get(node) != self._reach.get(node)}
        self._reach = reach
        renewed, gone = unlike(view.sites, known)
        if gone or any(site not in known or known[site].spec != seen.spec for site, seen in renewed.items()):
            self._index(view)
        if turned:
            renewed |= {site: seen for site, seen in view.sites.items() if seen.owner in turned}
        changed = self._renew_http(view, renewed, gone) | self._renew_tcp(view)
        changed |= self.services.renew(renewed, gone)
        return changed | self.services.waiting_names(changed)

    def _service_route(self, seen: SiteView, port: Port) -> Route:
        assert self._view is not None
        return _route(self._view, seen, port)

    def _renew_http(self, view: View, renewed: Mapping[SiteId, SiteView], gone: Iterable[SiteId]) -> set[SiteId]:
        changed = {site for site in gone if self._http.pop(site, None) is not None}
        self.asleep.difference_update(gone, renewed)
        for site, seen in renewed.items():
            if _sleeps_here(view, seen):
                self.asleep.add(site)
            route = _http_route(view, seen)
            if self._http.get(site) != route:
                self._http[site] = route
                changed.add(site)
        return changed

    def _renew_tcp(self, view: View) -> set[SiteId]:
        tcp = {port: _kept(self._tcp.get(port), _tcp_route(view, site, port)) for port, site in self._ports.items()}
        changed = {self._ports[port] for port, route in tcp.items() if self._tcp.get(port) is not route}
        self._tcp = tcp
        return changed

    def _index(self, view: View) -> None:
        """Names and ports to sites; of two that claim one, the smallest id has it."""
        self._sites = {}
        self._ports = {}
        shadowed: list[tuple[int, SiteId]] = []
        for site, seen in sorted(view.sites.items()):
            for domain in seen.spec.domains:
                self._sites.setdefault(domain, site)
            for port in seen.spec.ports:
                if (
                    port.protocol == "tcp"
                    and port.public_port
                    and self._ports.setdefault(port.public_port, site) != site
                ):
                    shadowed.append((port.public_port, site))
        self.shadowed = tuple(shadowed)
        self.services.index(view.sites)
        wishes = {site: seen.spec.http for site, seen in view.sites.items()}
        self.redirecting = frozenset(host for host, site in self._sites.items() if wishes[site].redirect)
        self.logging = {site: wish.log for site, wish in wishes.items() if wish.log != "off"}
        self.may_sleep = frozenset(site for site, seen in view.sites.items() if seen.spec.sleep_after_s)
        self.minded = {site: wish for site, wish in wishes.items() if wish.cache or wish.requests_per_s_in_all}
        rates = ((host, site, wishes[site].requests_per_s) for host, site in self._sites.items())
        self.bounded = {host: (site, per_s) for host, site, per_s in rates if per_s > 0}


def _kept(old: Route | None, new: Route) -> Route:
    return old if old == new and old is not None else new


def _http_route(view: View, seen: SiteView) -> Route:
    port = next((port for port in seen.spec.ports if port.protocol == "http"), None)
    return UNKNOWN if port is None else _route(view, seen, port)


def _tcp_route(view: View, site: SiteId, public_port: int) -> Route:
    seen = view.sites[site]
    port = next(port for port in seen.spec.ports if port.public_port == public_port and port.protocol == "tcp")
    return _route(view, seen, port)


def _sleeps_here(view: View, seen: SiteView) -> bool:
    return seen.state == "asleep" and seen.owner == view.me


def _route(view: View, seen: SiteView, port: Port) -> Route:
    site, claim = seen.spec.id, seen.claim or NO_CLAIM
    if seen.state == "stopped":
        return Stopped(site, seen.spec.suspended)
    if seen.state == "unavailable" or (seen.state == "serving" and seen.owner is None):
        return Unavailable(site, seen.trouble)
    if seen.state == "changing" or seen.owner is None or _sleeps_here(view, seen):
        return Wait(site)
    if seen.owner == view.me:
        return Here(seen.upstream, port.port, site, claim) if seen.upstream else Wait(site)
    node = view.nodes.get(seen.owner)
    if node is None or not node.live:
        return Wait(site)
    public = port.public_port or 0 if port.protocol in ("tcp", "udp") else 0
    return There(node.id, node.address, node.interior_port, site, claim, public, service_of(port))
