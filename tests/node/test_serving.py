"""A site is made, serves, is replicated, is stopped and started: whole nodes on one clock."""

from __future__ import annotations

import pytest

from hybrid.deeds import CreateSite
from hybrid.errors import Conflict, ContainerError, ImageError
from tests.node.cluster import Cluster, Steps


def test_a_new_site_serves_and_everybody_knows(cluster: Cluster) -> None:
    """A second after its creation, every node routes to it."""
    spec = cluster.create()
    cluster.wait(1)
    assert cluster.owners(spec) == {"a": "a", "b": "a", "c": "a"}
    assert cluster.members["a"].site(spec).state == "serving"
    assert cluster.members["a"].site(spec).upstream is not None
    assert cluster.members["b"].site(spec).upstream is None


def test_a_write_is_on_the_other_nodes_within_seconds(cluster: Cluster) -> None:
    """What was written is on both other nodes well within the promised thirty seconds."""
    spec = cluster.create()
    cluster.wait(2)
    cluster.members["a"].write(spec.id, "guestbook", b"one")
    cluster.wait(12)
    assert [cluster.members[name].files(spec.id)["guestbook"] for name in "bc"] == [b"one", b"one"]
    assert cluster.members["b"].site(spec).safe_copies == 2
    assert cluster.members["b"].site(spec).lag_s == 0.0


def test_names_and_domains_are_taken_once(cluster: Cluster) -> None:
    """The second site of a name is refused on every node, and nothing of it is left."""
    spec = cluster.create()
    cluster.wait(15)
    with pytest.raises(Conflict, match="named shop"):
        cluster.create(on="b")
    with pytest.raises(ImageError, match="no image nothing"):
        cluster.run(cluster.members["b"].core.hosting.create(CreateSite(name="x", image="nothing"), Steps()))
    names = [dataset.name for dataset in cluster.run(cluster.members["b"].pool.datasets())]
    assert names == ["images/static-1", f"sites/{spec.id}", "stash/journal"]


def test_a_replica_knows_the_images_it_was_sent(cluster: Cluster) -> None:
    """A node that got an image with a replica can make sites of it, without anybody importing it there."""
    cluster.create()
    cluster.wait(15)
    other = cluster.create("second", on="b")
    cluster.wait(2)
    assert cluster.owners(other) == {"a": "b", "b": "b", "c": "b"}


def test_a_start_that_fails_at_creation_leaves_nothing(cluster: Cluster) -> None:
    """A site that could not be made is not there: no dataset, no name, no claim."""
    a = cluster.members["a"]
    a.refuses_connections = True
    with pytest.raises(ContainerError, match="does not accept"):
        cluster.create()
    cluster.wait(1)
    assert a.core.outlook.view.sites == {}
    assert [d.name for d in cluster.run(a.pool.datasets()) if d.name.startswith("sites/")] == []
    assert a.containers.specs() == {}


def test_stopping_and_starting_a_site(cluster: Cluster) -> None:
    """A stopped site keeps its owner and its history, and comes back when it is wanted."""
    spec = cluster.create()
    a = cluster.members["a"]
    cluster.wait(5)
    cluster.run(a.core.hosting.edit(spec.id, {"wanted": "stopped"}))
    cluster.wait(10)
    assert {member.site(spec).state for member in cluster.members.values()} == {"stopped"}
    assert a.containers.specs() == {}
    cluster.run(a.core.hosting.edit(spec.id, {"wanted": "running"}))
    cluster.wait(2)
    assert {member.site(spec).state for member in cluster.members.values()} == {"serving"}


@pytest.mark.parametrize("change", [{"wanted": "stopped"}, {"suspended": True}])
def test_what_a_site_wrote_last_before_it_was_switched_off(cluster: Cluster, change: dict[str, object]) -> None:
    """Is on the other nodes, as is what is brought back of its past while it is off."""
    spec, a = cluster.create(), cluster.members["a"]
    cluster.wait(20)
    a.write(spec.id, "guestbook", b"last")
    cluster.run(a.core.hosting.edit(spec.id, change))
    cluster.wait(10)
    assert [cluster.members[name].files(spec.id).get("guestbook") for name in "bc"] == [b"last"] * 2
    a.content.copied = lambda: a.write(spec.id, "guestbook", b"brought back")
    first = a.core.hosting.history(spec.id)[0]
    cluster.run(a.core.hosting.restore(spec.id, first.guid, "guestbook", "", Steps()))
    cluster.wait(10)
    assert [cluster.members[name].files(spec.id).get("guestbook") for name in "bc"] == [b"brought back"] * 2


def test_a_suspended_site_stops_whatever_is_wanted(cluster: Cluster) -> None:
    """Who takes it over does not run it either; resumed, it is as its customer had left it."""
    spec = cluster.create()
    a = cluster.members["a"]
    cluster.wait(5)
    cluster.run(a.core.hosting.edit(spec.id, {"suspended": True}))
    cluster.wait(10)
    assert {member.site(spec).state for member in cluster.members.values()} == {"stopped"}
    assert {member.site(spec).spec.wanted for member in cluster.members.values()} == {"running"}
    a.power_cut()
    cluster.wait(60)
    (owner,) = {name for name in cluster.owners(spec).values() if name}
    assert owner != "a"
    assert all(not member.containers.specs() for name, member in cluster.members.items() if name != "a")
    cluster.run(cluster.members[owner].core.hosting.edit(spec.id, {"suspended": False}))
    a.start()
    cluster.wait(60)
    assert {member.site(spec).state for member in cluster.members.values()} == {"serving"}
    assert {member.site(spec).spec.suspended for member in cluster.members.values()} == {False}


def test_a_change_of_a_dead_owner_is_not_undone(cluster: Cluster) -> None:
    """What was set just before the owner died holds with the next one, though no data came after it."""
    spec = cluster.create()
    a = cluster.members["a"]
    cluster.wait(60)
    cluster.run(a.core.hosting.edit(spec.id, {"ttl_s": 77, "memory_bytes": 512 * 2**20}))
    cluster.wait(1)
    a.power_cut()
    cluster.wait(60)
    (owner,) = {name for name in cluster.owners(spec).values() if name}
    kept = cluster.members[owner].containers.specs()[spec.id]
    assert owner != "a" and kept.memory_bytes == 512 * 2**20
    cluster.run(cluster.members[owner].core.hosting.edit(spec.id, {"copies": 1}))
    cluster.wait(5)
    changed = [member.site(spec).spec for name, member in cluster.members.items() if name != "a"]
    assert {(seen.ttl_s, seen.copies) for seen in changed} == {(77, 1)}
