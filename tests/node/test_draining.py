"""A node is emptied before it is worked on: its sites go where their copies are, and none comes until it may."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hybrid.cluster.placement import first_owner
from hybrid.errors import Conflict
from tests.node.cluster import Cluster, Steps


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three nodes, four sites on `a`, copies on both others."""
    cluster = Cluster()
    cluster.start()
    for name in ("shop", "blog", "news", "wiki"):
        spec = cluster.create(name)
        cluster.members["a"].write(spec.id, "page", name.encode())
    cluster.wait(60)
    yield cluster
    cluster.bury()


def owned(cluster: Cluster, name: str) -> list[str]:
    """The sites that a node owns, as it sees it."""
    member = cluster.members[name]
    sites = member.core.outlook.view.sites.values()
    return sorted(site.spec.name for site in sites if site.owner == member.id)


def test_a_drained_node_owns_nothing_and_holds_copies(cluster: Cluster) -> None:
    """Every move is a step; the sites are shared out; what was written is there; copies go on to come to it."""
    a, steps = cluster.members["a"], Steps()
    assert cluster.run(a.core.placing.drain("ann", steps), within_s=120.0) == 4
    cluster.wait(60)
    assert owned(cluster, "a") == []
    assert sorted(owned(cluster, "b") + owned(cluster, "c")) == ["blog", "news", "shop", "wiki"]
    assert steps.done[0].startswith("4 sites to move, 2 at a time, about ")
    moved = sorted(step.split(" to ")[0] for step in steps.done[1:])
    assert moved == ["move blog", "move news", "move shop", "move wiki"]
    for site in a.core.outlook.view.sites.values():
        assert a.id in site.holders
        assert site.safe_copies == 2
        home = next(member for member in cluster.members.values() if member.id == site.owner)
        assert home.files(site.spec.id)["page"] == site.spec.name.encode()
        assert home.core.placing.why(site.spec.id).placed[-1].came == "drain"
    for member in cluster.members.values():
        assert member.core.outlook.view.nodes[a.id].draining
        assert first_owner(member.core.outlook.view) != a.id


def test_elections_prefer_others_until_it_may_again(cluster: Cluster) -> None:
    """Its copies are as good, and yet the other one stands; a site that comes all the same is moved on."""
    a, b = cluster.members["a"], cluster.members["b"]
    cluster.run(a.core.placing.drain("ann", Steps()), within_s=120.0)
    cluster.wait(60)
    b.power_cut()
    cluster.wait(40)
    assert owned(cluster, "c") == ["blog", "news", "shop", "wiki"]
    site = next(iter(a.core.outlook.view.sites))
    cluster.run(cluster.members["c"].core.hosting.move(site, a.id, Steps()))
    cluster.wait(30)
    assert owned(cluster, "a") == []
    a.core.placing.resume(a.id)
    cluster.wait(15)
    assert not cluster.members["c"].core.outlook.view.nodes[a.id].draining
    cluster.run(cluster.members["c"].core.hosting.move(site, a.id, Steps()))
    cluster.wait(30)
    assert len(owned(cluster, "a")) == 1


def test_without_a_place_nothing_moves(cluster: Cluster) -> None:
    """It says which sites and why, and the node is as it was."""
    cluster.run(cluster.members["b"].core.placing.drain("ann", Steps()))
    cluster.members["c"].power_cut()
    cluster.wait(40)
    with pytest.raises(Conflict, match="no place for blog, news, shop, wiki") as refused:
        cluster.run(cluster.members["a"].core.placing.drain("ann", Steps()))
    assert "b is drained; c is down" in refused.value.why
    assert not cluster.members["a"].core.outlook.view.nodes[cluster.members["a"].id].draining
    assert len(owned(cluster, "a")) == 4


def test_a_drain_is_called_off_by_resume(cluster: Cluster) -> None:
    """What is under way ends, and what waits stays."""
    a = cluster.members["a"]

    class CalledOff(Steps):
        """As soon as the first site moves."""

        @contextmanager
        def step(self, name: str) -> Iterator[None]:
            """See `hybrid.deeds.Progress`."""
            if name.startswith("move"):
                a.core.placing.resume(a.id)
            yield

    with pytest.raises(Conflict, match="called off"):
        cluster.run(a.core.placing.drain("ann", CalledOff()), within_s=120.0)
    cluster.wait(20)
    assert len(owned(cluster, "a")) == 3
    assert not cluster.members["b"].core.outlook.view.nodes[a.id].draining


def test_the_wish_outlives_a_restart(cluster: Cluster) -> None:
    """A node that was told while it was down is emptied as soon as it is back."""
    a = cluster.members["a"]
    cluster.run(a.core.placing.drain("ann", Steps()), within_s=120.0)
    cluster.wait(10)
    a.power_cut()
    cluster.wait(20)
    a.start()
    cluster.wait(30)
    assert cluster.members["b"].core.outlook.view.nodes[a.id].draining
    assert owned(cluster, "a") == []


def test_a_pinned_site_is_in_the_way_until_it_is_let_go(cluster: Cluster) -> None:
    """Who pinned it wants it where it is: a drain says so, rather than move it."""
    a = cluster.members["a"]
    shop = next(site.spec.id for site in a.core.outlook.view.sites.values() if site.spec.name == "shop")
    cluster.run(a.core.hosting.edit(shop, {"pinned": True}))
    cluster.wait(5)
    with pytest.raises(Conflict, match="no place for shop") as refused:
        cluster.run(a.core.placing.drain("ann", Steps()))
    assert refused.value.why == "it is pinned"
    assert "pinned" in a.core.placing.why(shop).stays
    cluster.run(a.core.hosting.edit(shop, {"pinned": False}))
    cluster.wait(5)
    cluster.run(a.core.placing.drain("ann", Steps()), within_s=120.0)


def test_sites_that_are_to_be_apart_are_spread(cluster: Cluster) -> None:
    """Two of one word go to two nodes; what has no word goes where there is least to do."""
    a = cluster.members["a"]
    ids = {site.spec.name: site.spec.id for site in a.core.outlook.view.sites.values()}
    for name in ("shop", "wiki"):
        cluster.run(a.core.hosting.edit(ids[name], {"apart": "shard"}))
    cluster.wait(5)
    planned = a.core.placing.plan().to
    assert planned[ids["shop"]] != planned[ids["wiki"]]
