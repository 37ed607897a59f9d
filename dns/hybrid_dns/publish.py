"""
The contents of view after view, at the cost of what changed. Pure.

Nodes tell of their load each second, and sites of what they hold; what DNS publishes changes seldom. As long as it does
not, the contents are the same object; where only addresses of some sites did, those names alone are drawn again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hybrid.leaves import unlike
from hybrid.model import SiteId
from hybrid.view import NodeView, SiteView, View
from hybrid_dns.records import Book
from hybrid_dns.zone import NOTHING, Contents, Hosts, contents, hosts_of, node_order

_Nodes = tuple[tuple[object, ...], ...]


class Publisher:
    """Follows views."""

    def __init__(self) -> None:
        self._view: View | None = None
        self._book: Book = NOTHING
        self._nodes: _Nodes = ()
        self._whose: dict[str, SiteId] = {}
        self.contents = Contents()

    def follow(self, view: View, book: Book) -> Contents:
        """What is published by `view` and `book`."""
        before, self._view = self._view, view
        nodes = _published(view.nodes.values())
        is_same = before is not None and before.zones == view.zones and nodes == self._nodes and book is self._book
        self._nodes, self._book = nodes, book
        if before is None or not is_same:
            self._renew(view, book)
        elif before.sites is not view.sites:
            changed, gone = unlike(view.sites, before.sites)
            names = _same_names(before, changed, gone)
            if names is None:
                self._renew(view, book)
            else:
                self._move(view, names)
        return self.contents

    def _renew(self, view: View, book: Book) -> None:
        sites = sorted(view.sites, reverse=True)  # as in `contents`: the smallest id has a domain
        self._whose = {domain: site for site in sites for domain in view.sites[site].spec.domains}
        new = contents(view, book)
        if new != self.contents:
            self.contents = new

    def _move(self, view: View, sites: Iterable[SiteView]) -> None:
        """Only addresses of `sites` may differ."""
        order, hosts = node_order(view), self.contents.hosts
        moved: dict[str, Hosts] = {}
        for site in sites:
            drawn = hosts_of(view, site, order)
            for domain in site.spec.domains:
                known = hosts.get(domain) if self._whose[domain] == site.spec.id else None
                if known is not None and known != drawn and domain not in self.contents.machines:
                    moved[domain] = drawn
        if moved:
            self.contents = replace(self.contents, hosts={**hosts, **moved})


def _published(nodes: Iterable[NodeView]) -> _Nodes:
    """What of nodes shows in DNS."""
    return tuple(sorted((node.id, node.name, node.dc, node.address, node.live) for node in nodes))


def _same_names(view: View, changed: dict[SiteId, SiteView], gone: Iterable[SiteId]) -> list[SiteView] | None:
    """Those of `changed` whose hosts may differ, when all names stay whose they were; else `None`."""
    found = []
    for site, seen in changed.items():
        known = view.sites.get(site)
        if known is None or known.spec.domains != seen.spec.domains:
            return None
        if (known.owner, known.holders, known.spec.ttl_s) != (seen.owner, seen.holders, seen.spec.ttl_s):
            found.append(seen)
    return None if list(gone) else found
