"""A small cluster's view for the DNS tests: n1 and n2 in paris, n3 in london; site `blog` owned by n1."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hybrid.model import NodeId, SiteId, SiteSpec, Version
from hybrid.view import NodeView, SiteView, View

MakeView = Callable[..., View]


def _node(name: str, dc: str, live: bool) -> NodeView:
    return NodeView(
        id=NodeId(f"n-{name}"),
        name=name,
        dc=dc,
        address=f"10.0.0.{name[1:]}",
        cluster_port=1,
        interior_port=2,
        api_port=3,
        live=live,
    )


def _site(number: int, domains: tuple[str, ...], owner: str | None, holders: tuple[str, ...]) -> SiteView:
    spec = SiteSpec(
        id=SiteId(f"s-{number}"),
        version=Version(1, 1),
        name=domains[0].partition(".")[0] if domains else f"site{number}",
        domains=domains,
        image="static@1",
        number=number,
    )
    return SiteView(
        spec=spec,
        state="serving" if owner else "unavailable",
        owner=NodeId(f"n-{owner}") if owner else None,
        holders=tuple(NodeId(f"n-{name}") for name in holders),
    )


@pytest.fixture
def make_view() -> MakeView:
    """`make_view(dead={…}, owner="n1", holders=(…), domains=(…), zones=(…))`."""

    def make(
        dead: frozenset[str] = frozenset(),
        owner: str | None = "n1",
        holders: tuple[str, ...] = ("n1", "n3"),
        domains: tuple[str, ...] = ("blog.hybrid.test", "www.blog.hybrid.test", "shop.example"),
        zones: tuple[str, ...] = ("hybrid.test",),
    ) -> View:
        places = {"n1": "paris", "n2": "paris", "n3": "london"}
        nodes = {NodeId(f"n-{name}"): _node(name, dc, name not in dead) for name, dc in places.items()}
        site = _site(1, domains, owner, holders)
        return View(me=NodeId("n-n1"), serial=1, zones=zones, nodes=nodes, sites={site.spec.id: site})

    return make
