"""
Which site a login or a mail address belongs to, per service, and where that site is. Pure.

A site has a name in a service when it speaks it (`Port.protocol`). It goes by each of its domains, by its name and its
id, and, for mail, `mail.example.org` goes by `example.org` too, so that a website may have that domain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from hybrid.model import Port, SiteId
from hybrid.view import SiteView

MAIL = frozenset({"smtp", "submission", "imap", "pop3"})
SSH = "ssh"
"""What no port of a site speaks: sites that have keys."""
LOGINS = Port(SSH, 0)
"""Stands for the sessions of a site, where its ports do for services."""
SERVICES = MAIL | {"postgres", "mysql", "ftp", "tls"}
R = TypeVar("R")


def service_of(port: Port) -> str:
    """
    The service that a port speaks: its protocol, or `udp:<public port>`; empty for HTTP, TCP and what is not public.

    This is what front doors call it among each other.
    """
    if port is LOGINS:
        return SSH
    if port.protocol == "udp":
        return f"udp:{port.public_port}" if port.public_port else ""
    return port.protocol if port.protocol in SERVICES else ""


class Services(Generic[R]):
    """
    Names and routes of the sites that speak a service.

    Args:
        route: Makes the route of a site's port.
        unknown: The route of what no site answers to.
    """

    def __init__(self, route: Callable[[SiteView, Port], R], unknown: R) -> None:
        self._make, self._unknown = route, unknown
        self._names: dict[str, dict[str, SiteId]] = {}
        self._numbers: dict[int, SiteId] = {}
        self._number_of: dict[SiteId, int] = {}
        self._routes: dict[tuple[str, SiteId], R] = {}
        self._udp: dict[int, SiteId] = {}
        self._pasts: dict[tuple[SiteId, str], SiteId] = {}
        self._spoken: dict[SiteId, frozenset[str]] = {}

    def spoken(self) -> frozenset[str]:
        """Services that some site speaks."""
        return frozenset(self._names)

    def site(self, service: str, names: Iterable[str]) -> SiteId | None:
        """The site that answers to the first of `names` that anybody answers to; case does not matter."""
        known = self._names.get(service, {})
        return next((known[name.lower()] for name in names if name.lower() in known), None)

    def route_udp(self, public_port: int) -> R:
        """Where datagrams to a public port go; of two sites that ask for one, the smallest id has it."""
        site = self._udp.get(public_port)
        return self._unknown if site is None else self.route(f"udp:{public_port}", site)

    def udp_ports(self) -> frozenset[int]:
        """Public UDP ports that some site asks for."""
        return frozenset(self._udp)

    def past(self, site: SiteId, moment: str) -> SiteId | None:
        """The preview of `site` that logins name by `moment`: its id, or what was asked for."""
        return self._pasts.get((site, moment))

    def waiting_names(self, sites: Iterable[SiteId]) -> set[SiteId]:
        """By which those wait who want one of `sites` that is a preview."""
        wanted = set(sites)
        return {waiting_name(site, moment) for (site, moment), past in self._pasts.items() if past in wanted}

    def of_host(self, host: str) -> SiteId | None:
        """The site that answers to `host` in any service."""
        return next((names[host] for names in self._names.values() if host in names), None)

    def numbered(self, number: int) -> SiteId | None:
        """The site with this `SiteSpec.number`."""
        return self._numbers.get(number)

    def number(self, site: SiteId) -> int:
        """The `SiteSpec.number` of `site`; 0 when it is not there."""
        return self._number_of.get(site, 0)

    def speaking(self, service: str) -> Speaking:
        """Those that speak one service."""
        return Speaking(service, self)

    def route(self, service: str, site: SiteId) -> R:
        """Where a connection to `site` goes."""
        return self._routes.get((service, site), self._unknown)

    def index(self, sites: Mapping[SiteId, SiteView]) -> None:
        """Names to sites anew; of two that claim one, the smallest id has it, and a domain goes before a short form."""
        self._names, self._numbers, self._number_of, self._udp, self._pasts = {}, {}, {}, {}, {}
        ordered = sorted(sites.items())
        for site, seen in ordered:
            moment = seen.spec.name.partition("#")[2]
            if is_past(seen) and seen.spec.clone_of is not None:
                self._pasts.setdefault((seen.spec.clone_of, moment), site)
                self._pasts[seen.spec.clone_of, site] = site
        for names_of in (_domains, _short_forms):
            for site, seen in ordered:
                if seen.spec.ssh_keys:
                    known = self._names.setdefault(SSH, {})
                    for name in names_of(seen, SSH):
                        known.setdefault(name, site)
                for port in seen.spec.ports:
                    if port.protocol == "udp" and port.public_port:
                        self._udp.setdefault(port.public_port, site)
                    elif port.protocol in SERVICES:
                        known = self._names.setdefault(port.protocol, {})
                        for name in names_of(seen, port.protocol):
                            known.setdefault(name, site)
                        if seen.spec.number:
                            self._numbers.setdefault(seen.spec.number, site)
                            self._number_of[site] = seen.spec.number

    def renew(self, renewed: Mapping[SiteId, SiteView], gone: Iterable[SiteId]) -> set[SiteId]:
        """Take over what changed; returns sites whose route is not what it was."""
        changed: set[SiteId] = set()
        for site, seen in renewed.items():
            fresh = {service_of(port): self._make(seen, port) for port in reversed(seen.spec.ports) if service_of(port)}
            if seen.spec.ssh_keys or is_past(seen):
                fresh[SSH] = self._make(seen, LOGINS)
            if self._replace(site, fresh):
                changed.add(site)
        changed.update(site for site in gone if self._replace(site, {}))
        return changed

    def _replace(self, site: SiteId, fresh: Mapping[str, R]) -> bool:
        """The routes of `site` are now these, by service."""
        old = self._spoken.pop(site, frozenset())
        changed = old != fresh.keys()
        for service in old - fresh.keys():
            del self._routes[service, site]
        for service, route in fresh.items():
            if self._routes.get((service, site)) != route:
                self._routes[service, site] = route
                changed = True
        if fresh:
            self._spoken[site] = frozenset(fresh)
        return changed


def is_past(seen: SiteView) -> bool:
    """Whether it is a past moment of another site, as the node process tells of previews."""
    return "#" in seen.spec.name and seen.spec.clone_of is not None


def waiting_name(site: SiteId, moment: str) -> SiteId:
    """What `Wait` calls a past moment of `site` that is not there yet."""
    return SiteId(f"{site}#{moment}")


class Speaking:
    """See `hybrid_proxy.dialogue.Names`."""

    __slots__ = ("_service", "_services")

    def __init__(self, service: str, services: Services[Any]) -> None:
        self._service, self._services = service, services

    def site(self, names: Iterable[str]) -> SiteId | None:
        """See `Names`."""
        return self._services.site(self._service, names)

    def numbered(self, number: int) -> SiteId | None:
        """See `Names`."""
        return self._services.numbered(number)

    def number(self, site: SiteId) -> int:
        """See `Names`."""
        return self._services.number(site)


def _domains(seen: SiteView, service: str) -> Iterable[str]:
    return seen.spec.domains


def _short_forms(seen: SiteView, service: str) -> Iterable[str]:
    yield seen.spec.name
    yield seen.spec.id
    if service in MAIL:
        yield from (domain[5:] for domain in seen.spec.domains if domain.startswith("mail."))
