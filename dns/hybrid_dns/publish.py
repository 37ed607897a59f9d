"""
The contents of view after view, at the cost of what changed. Pure.

Nodes tell of their load each second, and sites of what they hold; what DNS publishes changes seldom. As long as it does
not, the contents are the same object; where only addresses of some sites did, those names alone are drawn again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from hybrid.leaves import unlike
from hybrid.model import SiteId
from hybrid.view import NodeView, SiteView, View
from hybrid_dns.book import Book
from hybrid_dns.zone import NOTHING, Contents, Hosts, contents_in_steps, hosts_of, node_order

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
        for _ in self.steps(view, book):
            pass
        return self.contents

    def steps(self, view: View, book: Book) -> Iterator[None]:
        """The same with pauses, after which `contents` is what it was; another view may come only after the end."""
        before, self._view = self._view, view
        nodes = _published(view.nodes.values())
        is_same = before is not None and before.zones == view.zones and nodes == self._nodes and book is self._book
        self._nodes, self._book = nodes, book
        if before is None or not is_same:
            yield from self._renew(view, book)
        elif before.sites is not view.sites:
            changed, gone = unlike(view.sites, before.sites)
            names = _same_names(before, changed, gone)
            if names is None:
                yield from self._renew(view, book)
            else:
                self._move(view, names)

    def _renew(self, view: View, book: Book) -> Iterator[None]:
        new = yield from contents_in_steps(view, book)
        self._whose = {}
        for site, seen in view.sites.items():
            for domain in seen.spec.domains:  # as in `contents`: the smallest id has a domain
                self._whose[domain] = min(site, self._whose.get(domain, site))
        yield
        if new.records == self.contents.records:
            new = replace(new, records=self.contents.records)
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
