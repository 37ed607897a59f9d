"""Three whole nodes on one clock: what a site lives through, with the real `Core`, on fakes for disks and sockets."""

from __future__ import annotations

import pytest

from hybrid.deeds import CreateSite
from hybrid.errors import Conflict, ContainerError, ImageError
from hybrid.hosting.purge import Purge
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


def test_the_owner_dies_and_another_serves(cluster: Cluster) -> None:
    """Fifteen seconds after a power cut another node serves what was replicated, and all agree who."""
    spec = cluster.create()
    cluster.members["a"].write(spec.id, "guestbook", b"one")
    cluster.wait(15)
    cluster.members["a"].power_cut()
    cluster.wait(15)
    owners = set(cluster.owners(spec).values())
    assert len(owners) == 1 and owners < {"b", "c"}
    new = cluster.members[owners.pop() or ""]
    assert new.site(spec).state == "serving"
    assert new.files(spec.id)["guestbook"] == b"one"


def test_what_the_dead_owner_had_not_sent_is_kept_in_a_stash(cluster: Cluster) -> None:
    """When it returns, its last writes are set aside, listed, and everybody has one main line."""
    spec = cluster.create()
    cluster.members["a"].write(spec.id, "guestbook", b"one")
    cluster.wait(15)
    cluster.members["a"].write(spec.id, "guestbook", b"one two")
    cluster.members["a"].power_cut()
    cluster.wait(15)
    new = cluster.members[next(iter(set(cluster.owners(spec).values()))) or ""]
    new.write(spec.id, "guestbook", b"one three")
    cluster.members["a"].start()
    cluster.wait(40)
    (stash,) = new.site(spec).stashes
    assert cluster.members["a"].pool.read(f"stash/{stash.id}", "guestbook") == b"one two"
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {b"one three"}
    assert set(cluster.owners(spec).values()) == {new.name}


def test_both_sides_of_a_partition_serve_and_nothing_is_lost(cluster: Cluster) -> None:
    """Each data centre goes on alone; after the cut one main line remains and the other is a stash."""
    spec = cluster.create()
    cluster.wait(15)
    a, b, c = (cluster.members[name] for name in "abc")
    cluster.network.partition({a.id, b.id}, {c.id})
    cluster.wait(15)
    assert (a.site(spec).state, c.site(spec).state) == ("serving", "serving")
    assert (a.site(spec).owner, c.site(spec).owner) == (a.id, c.id)
    a.write(spec.id, "guestbook", b"paris")
    c.write(spec.id, "guestbook", b"london")
    cluster.wait(10)
    cluster.network.heal_all()
    cluster.wait(45)
    (winner,) = {name for name in cluster.owners(spec).values() if name}
    main = cluster.members[winner].files(spec.id)["guestbook"]
    stashes = cluster.members[winner].site(spec).stashes
    kept = {
        member.pool.read(f"stash/{stash.id}", "guestbook")
        for stash in stashes
        for member in cluster.members.values()
        if any(held.id == stash.id for held in member.core.replicator.stashes(spec.id))
    }
    assert {main} | kept == {b"paris", b"london"}
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {main}


def test_the_node_process_dies_alone_and_adopts_its_container(cluster: Cluster) -> None:
    """Killing the control process interrupts nothing: the container goes on, and is taken back under the same claim."""
    spec = cluster.create()
    cluster.wait(15)
    a = cluster.members["a"]
    claim = a.site(spec).claim
    a.kill_process()
    cluster.wait(3)
    a.start()
    cluster.wait(5)
    assert cluster.owners(spec) == {"a": "a", "b": "a", "c": "a"}
    assert a.site(spec).claim == claim
    assert a.site(spec).state == "serving"


def test_rollback_and_undo(cluster: Cluster) -> None:
    """A rollback brings the past back on every node; an undo brings the present back; nothing is lost either way."""
    spec = cluster.create()
    a = cluster.members["a"]
    a.write(spec.id, "guestbook", b"before")
    cluster.wait(10)
    moment = a.core.replicator.history(spec.id)[-1]
    a.write(spec.id, "guestbook", b"after")
    cluster.wait(10)
    cluster.run(a.core.hosting.rollback(spec.id, moment.guid, Steps()))
    cluster.wait(20)
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {b"before"}
    assert a.site(spec).state == "serving"
    cluster.run(a.core.hosting.undo(spec.id, Steps()))
    cluster.wait(30)
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {b"after"}


def test_an_undo_after_the_owner_changed(cluster: Cluster) -> None:
    """Who rolled back and lost the server right after can still undo it: the others set the same history aside."""
    spec = cluster.create()
    a = cluster.members["a"]
    a.write(spec.id, "guestbook", b"before")
    cluster.wait(10)
    moment = a.core.replicator.history(spec.id)[-1]
    a.write(spec.id, "guestbook", b"after")
    cluster.wait(10)
    cluster.run(a.core.hosting.rollback(spec.id, moment.guid, Steps()))
    cluster.wait(20)
    assert len(a.site(spec).stashes) == 1
    a.power_cut()
    cluster.wait(15)
    new = cluster.members[next(iter(set(cluster.owners(spec).values()))) or ""]
    cluster.run(new.core.hosting.undo(spec.id, Steps()))
    assert new.files(spec.id)["guestbook"] == b"after"


def test_a_planned_move(cluster: Cluster) -> None:
    """A moved site serves on the other node with all it had, under a new claim, and the old owner is a replica."""
    spec = cluster.create()
    a, c = cluster.members["a"], cluster.members["c"]
    cluster.wait(5)
    a.write(spec.id, "guestbook", b"moving")
    cluster.run(a.core.hosting.move(spec.id, c.id, Steps()))
    cluster.wait(2)
    assert cluster.owners(spec) == {"a": "c", "b": "c", "c": "c"}
    assert c.files(spec.id)["guestbook"] == b"moving"
    assert c.site(spec).state == "serving"
    assert a.site(spec).stashes == ()


def test_a_deleted_site_is_in_the_trash_everywhere(cluster: Cluster) -> None:
    """After a deletion no node lists the site; its data waits in the trash of each."""
    spec = cluster.create()
    cluster.wait(15)
    cluster.run(cluster.members["a"].core.hosting.delete(spec.id, Steps()))
    cluster.wait(10)
    assert [spec.id in member.core.outlook.view.sites for member in cluster.members.values()] == [False] * 3
    names = [{dataset.name for dataset in cluster.run(member.pool.datasets())} for member in cluster.members.values()]
    assert [f"trash/{spec.id}" in held for held in names] == [True] * 3


def test_the_trash_is_emptied_after_a_week_and_not_before(cluster: Cluster) -> None:
    """A deleted site can be brought back for seven days; then its space is free."""
    spec = cluster.create()
    a = cluster.members["a"]
    cluster.run(a.core.hosting.delete(spec.id, Steps()))
    purge = Purge(a.pool, lambda: cluster.wall_s() + 6.9 * 86400)
    cluster.run(purge.look())
    assert f"trash/{spec.id}" in {dataset.name for dataset in cluster.run(a.pool.datasets())}
    purge = Purge(a.pool, lambda: cluster.wall_s() + 7.1 * 86400)
    cluster.run(purge.look())
    assert f"trash/{spec.id}" not in {dataset.name for dataset in cluster.run(a.pool.datasets())}
    assert "images/static-1" in {dataset.name for dataset in cluster.run(a.pool.datasets())}


def test_the_storage_dies_and_comes_back(cluster: Cluster) -> None:
    """While the pool is away the site is not served; when it is back, it is, under the same claim."""
    spec = cluster.create()
    cluster.wait(5)
    a = cluster.members["a"]
    claim = a.site(spec).claim
    a.pool.sick = "it died"
    cluster.wait(4)
    assert a.site(spec).state == "changing"
    a.pool.sick = ""
    cluster.wait(4)
    assert (a.site(spec).state, a.site(spec).claim) == ("serving", claim)


def test_a_full_pool_keeps_the_site_up_and_says_so(cluster: Cluster) -> None:
    """No space for a snapshot: the site goes on serving, its trouble is shown; with space again all is well again."""
    spec = cluster.create()
    a = cluster.members["a"]
    cluster.wait(5)
    a.write(spec.id, "guestbook", b"one")
    roomy, a.pool.size_bytes = a.pool.size_bytes, 0
    cluster.wait(15)
    assert a.site(spec).state == "serving"
    assert "the pool is full" in cluster.members["b"].site(spec).trouble
    assert (cluster.members["b"].site(spec).lag_s or 0) > 5
    a.pool.size_bytes = roomy
    cluster.wait(45)
    assert cluster.members["b"].site(spec).trouble == ""
    assert cluster.members["b"].files(spec.id)["guestbook"] == b"one"


def test_a_container_that_dies_is_started_again(cluster: Cluster) -> None:
    """A crash of the container costs seconds, not a failover."""
    spec = cluster.create()
    a = cluster.members["a"]
    cluster.wait(5)
    claim = a.site(spec).claim
    a.containers.crash(spec.id)
    cluster.wait(8)
    assert (a.site(spec).state, a.site(spec).claim) == ("serving", claim)
    assert spec.id in a.containers.specs()


def test_a_site_that_cannot_start_moves_to_a_node_where_it_can(cluster: Cluster) -> None:
    """A failed start is that node's trouble: it is published, and the next candidate takes over."""
    spec = cluster.create()
    cluster.wait(15)
    a, b, c = (cluster.members[name] for name in "abc")
    b.containers.broken[spec.id] = "no memory"
    a.power_cut()
    cluster.wait(40)
    assert c.site(spec).state == "serving"
    assert c.site(spec).owner == c.id


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


def test_a_start_that_failed_is_tried_again_where_nobody_else_can(cluster: Cluster) -> None:
    """On the only server left, a site whose container would not start comes up by itself once it can."""
    spec = cluster.create()
    cluster.wait(5)
    a = cluster.members["a"]
    for name in "bc":
        cluster.members[name].power_cut()
    cluster.wait(10)
    a.containers.broken[spec.id] = "no memory"
    a.containers.crash(spec.id)
    cluster.wait(10)
    assert (a.site(spec).state, "no memory" in a.site(spec).trouble) == ("unavailable", True)
    a.containers.broken.clear()
    cluster.wait(45)
    assert (a.site(spec).state, a.site(spec).trouble) == ("serving", "")


def test_a_close_that_failed_is_tried_again(cluster: Cluster) -> None:
    """A loser that could not stop its container keeps trying; it never serves meanwhile, and nothing is lost."""
    spec = cluster.create()
    cluster.wait(15)
    a, b, c = (cluster.members[name] for name in "abc")
    cluster.network.partition({a.id}, {b.id, c.id})
    cluster.wait(15)
    a.write(spec.id, "guestbook", b"alone")
    for member in (b, c):
        if member.site(spec).upstream:
            for number in range(8):
                member.write(spec.id, "guestbook", b"many %d" % number)
                cluster.wait(6)
    a.containers.stuck.add(spec.id)
    cluster.network.heal_all()
    cluster.wait(30)
    assert a.site(spec).upstream is None
    a.containers.stuck.clear()
    cluster.wait(60)
    assert len({owner for owner in cluster.owners(spec).values()}) == 1
    assert {member.files(spec.id)["guestbook"] for member in (a, b, c)} == {b"many 7"}
    assert b"alone" in {
        a.pool.files(f"stash/{stash.id}").get("guestbook") for stash in a.core.replicator.stashes(spec.id)
    }


def test_what_a_container_wrote_before_its_start_was_given_up_is_kept(cluster: Cluster) -> None:
    """A container that ran but never answered may have written: that is in a stash, and nothing of it runs on."""
    spec = cluster.create()
    cluster.wait(15)
    a, b, c = (cluster.members[name] for name in "abc")
    for member in (b, c):
        member.refuses_connections = True
    a.power_cut()
    cluster.wait(14)
    (tried,) = (member for member in (b, c) if spec.id in member.containers.specs())
    other = c if tried is b else b
    tried.write(spec.id, "guestbook", b"half started")
    other.refuses_connections = False
    cluster.wait(150)  # its rests grow with each failure until the other one gets its turn
    assert other.site(spec).state == "serving"
    assert tried.containers.specs() == {}
    kept = [tried.pool.files(f"stash/{stash.id}") for stash in tried.core.replicator.stashes(spec.id)]
    main = other.files(spec.id)
    assert b"half started" in {files.get("guestbook") for files in [*kept, main]}
