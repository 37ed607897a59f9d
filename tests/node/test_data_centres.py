"""Data centres: copies are spread over them, either may vanish, and what was lost is made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from hybrid.api.status import summarise
from hybrid.model import SiteSpec
from tests.node.cluster import Cluster, Steps

Found = Callable[[Mapping[str, str]], Cluster]
TWO_BY_TWO = {"a": "paris", "b": "paris", "c": "london", "d": "london"}


def holders(cluster: Cluster, spec: SiteSpec, seen_by: str) -> set[str]:
    """Names of the live nodes that hold the site."""
    names = {member.id: name for name, member in cluster.members.items()}
    return {names[node] for node in cluster.members[seen_by].site(spec).holders}


@pytest.mark.parametrize("gone", ["paris", "london"])
def test_either_data_centre_may_vanish(found: Found, gone: str) -> None:
    """With one copy a site, and sites in both places: after either place lost its power all sites are served."""
    cluster = found(TWO_BY_TWO)
    specs = [cluster.create(f"site-{name}", copies=1) for name in cluster.members]
    for spec, member in zip(specs, cluster.members.values(), strict=True):
        if member.name != "a":
            cluster.run(cluster.members["a"].core.hosting.move(spec.id, member.id, Steps()))
    cluster.wait(20)
    assert [cluster.owners(spec)["a"] for spec in specs] == list("abcd")
    sentence = summarise(cluster.members["a"].core.outlook.view, 0.0).sentence
    assert sentence == "4 nodes up, 4 sites, all replicated, can lose any 1 node, or either data centre"
    for member in cluster.members.values():
        if member.dc == gone:
            member.power_cut()
    cluster.wait(25)
    left = [name for name, member in cluster.members.items() if member.up]
    assert [(cluster.members[left[0]].site(spec).state) for spec in specs] == ["serving"] * 4
    for spec in specs:
        assert set(cluster.owners(spec)) == set(left)
        assert set(cluster.owners(spec).values()) <= set(left)


def test_a_lost_copy_is_made_again_within_a_minute(cluster: Cluster) -> None:
    """The only copy is lost: another server holds one within a minute of that being certain, by itself."""
    spec = cluster.create(copies=1)
    cluster.members["a"].write(spec.id, "guestbook", b"one")
    cluster.wait(15)
    assert holders(cluster, spec, "a") == {"a", "c"}
    cluster.members["c"].power_cut()
    cluster.wait(15)
    assert holders(cluster, spec, "a") == {"a"}, "it may only be restarting"
    cluster.wait(60)
    assert holders(cluster, spec, "a") == {"a", "b"}
    assert cluster.members["b"].files(spec.id) == cluster.members["a"].files(spec.id)
    assert "made again elsewhere" in summarise(cluster.members["a"].core.outlook.view, 0.0).findings[0]


def test_a_restart_moves_no_copy(cluster: Cluster) -> None:
    """A node that is back within half a minute finds its place kept, and nothing was sent anywhere else."""
    spec = cluster.create(copies=1)
    cluster.wait(15)
    cluster.members["c"].power_cut()
    cluster.wait(20)
    cluster.members["c"].start()
    cluster.wait(60)
    assert holders(cluster, spec, "a") == {"a", "c"}
    assert cluster.members["a"].site(spec).safe_copies == 1
