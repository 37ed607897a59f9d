"""Deletion, trash, and what survives both (rule R12): whole nodes on one clock."""

from __future__ import annotations

import pytest

from hybrid.cluster.sealing import MemorySeals
from hybrid.errors import Conflict, NoSuchSite
from hybrid.hosting.purge import Purge
from hybrid.hosting.tombstones import Tombstone, buried, encode, sealed
from hybrid.model import NO_CLAIM, Claim, SiteId, SiteSpec
from tests.node.cluster import Cluster, Steps


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
    purge = Purge(a.pool, a.core.deletions.entry, lambda: cluster.wall_s() + 6.9 * 86400)
    cluster.run(purge.look())
    assert f"trash/{spec.id}" in {dataset.name for dataset in cluster.run(a.pool.datasets())}
    purge = Purge(a.pool, a.core.deletions.entry, lambda: cluster.wall_s() + 7.1 * 86400)
    cluster.run(purge.look())
    assert f"trash/{spec.id}" not in {dataset.name for dataset in cluster.run(a.pool.datasets())}
    assert "images/static-1" in {dataset.name for dataset in cluster.run(a.pool.datasets())}


def trash_of(cluster: Cluster, name: str) -> set[str]:
    """Datasets in the trash of a node."""
    held = cluster.run(cluster.members[name].pool.datasets())
    return {dataset.name for dataset in held if dataset.name.startswith("trash/")}


def deleted_while_parted(cluster: Cluster, write: bool) -> SiteSpec:
    """A site of a that b or c took over and deleted while a was cut off, and on a perhaps `write`; healed for 20 s."""
    spec = cluster.create()
    a, b, c = (cluster.members[name] for name in "abc")
    a.write(spec.id, "guestbook", b"before")
    cluster.wait(15)
    cluster.network.partition({a.id}, {b.id, c.id})
    cluster.wait(15)
    if write:
        a.write(spec.id, "guestbook", b"after")
        cluster.wait(8)
    owner = next(member for member in (b, c) if member.site(spec).owner == member.id)
    cluster.run(owner.core.hosting.delete(spec.id, Steps()))
    cluster.wait(5)
    cluster.network.heal_all()
    cluster.wait(20)
    return spec


def test_who_wrote_while_cut_off_outlives_a_deletion(cluster: Cluster) -> None:
    """What a client wrote on the other side of a partition is not deleted: it is served, and a person is asked."""
    spec = deleted_while_parted(cluster, write=True)
    assert cluster.owners(spec) == {"a": "a", "b": "a", "c": "a"}
    assert cluster.members["b"].site(spec).state == "serving"
    (wanted,) = cluster.members["b"].core.hosting.decisions()
    assert (wanted.kind, wanted.nodes) == ("deletion", ("a",))
    cluster.wait(30)
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {b"after"}
    cluster.members["c"].core.hosting.undelete(spec.id, "anna")
    cluster.wait(10)
    assert [member.core.hosting.decisions() for member in cluster.members.values()] == [[], [], []]
    assert cluster.owners(spec) == {"a": "a", "b": "a", "c": "a"}


def test_no_claim_on_a_deleted_site_is_used_again(cluster: Cluster) -> None:
    """A server that deleted a site, lost power, and gets it again knows the claim under which it was deleted."""
    spec = cluster.create()
    a, b, c = (cluster.members[name] for name in "abc")
    cluster.wait(15)
    cluster.network.partition({a.id}, {b.id, c.id})
    cluster.wait(15)
    a.write(spec.id, "guestbook", b"after")
    cluster.wait(8)
    owner = next(member for member in (b, c) if member.site(spec).owner == member.id)
    claim = owner.site(spec).claim
    assert claim is not None and claim.node == owner.id
    cluster.run(owner.core.hosting.delete(spec.id, Steps()))
    for member in (b, c):
        member.power_cut()
    cluster.network.heal_all()
    owner.start()
    cluster.wait(30)
    assert cluster.owners(spec)["a"] == "a"
    assert [(node.site(spec).claim or NO_CLAIM) > claim for node in (a, owner)] == [True, True]


def test_who_is_asked_may_delete_again(cluster: Cluster) -> None:
    """The person that was asked deletes it again: now it is in the trash everywhere, all of it."""
    spec = deleted_while_parted(cluster, write=True)
    cluster.run(cluster.members["a"].core.hosting.delete(spec.id, Steps()))
    cluster.wait(15)
    assert [spec.id in member.core.outlook.view.sites for member in cluster.members.values()] == [False] * 3
    assert f"trash/{spec.id}" in trash_of(cluster, "a")


def test_a_cut_off_owner_that_wrote_nothing_obeys(cluster: Cluster) -> None:
    """A site deleted on one side of a partition is gone after it when nothing was written on the other."""
    spec = deleted_while_parted(cluster, write=False)
    assert [spec.id in member.core.outlook.view.sites for member in cluster.members.values()] == [False] * 3
    assert cluster.members["a"].containers.specs() == {}
    assert [trash_of(cluster, name) for name in "abc"] == [{f"trash/{spec.id}"}] * 3


def test_a_deleted_site_comes_back(cluster: Cluster) -> None:
    """Undeleted through any node, a site is served again within seconds, with all that was in it."""
    spec = cluster.create()
    a, b = cluster.members["a"], cluster.members["b"]
    a.write(spec.id, "guestbook", b"precious")
    cluster.wait(15)
    cluster.run(a.core.hosting.delete(spec.id, Steps()))
    cluster.wait(5)
    (listed,) = b.core.hosting.deleted()
    assert (listed.site, listed.name, listed.by) == (spec.id, "shop", a.id)
    for _ in range(2):
        b.core.hosting.undelete(spec.id, "anna")
    cluster.wait(10)
    assert {member.site(spec).state for member in cluster.members.values()} == {"serving"}
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {b"precious"}
    assert [trash_of(cluster, name) for name in "abc"] == [set()] * 3
    assert b.core.hosting.deleted() == []


def test_what_was_written_last_comes_back_without_the_owner(cluster: Cluster) -> None:
    """A write right before the deletion is there after an undeletion, though the server that deleted has died."""
    spec = cluster.create()
    a, b = cluster.members["a"], cluster.members["b"]
    cluster.wait(15)
    a.write(spec.id, "guestbook", b"at the last moment")
    steps = Steps()
    cluster.run(a.core.hosting.delete(spec.id, steps))
    assert steps.done == ["stop container", "send last changes", "move to the trash"]
    cluster.wait(2)
    a.power_cut()
    b.core.hosting.undelete(spec.id, "anna")
    cluster.wait(20)
    assert {b.site(spec).state, cluster.members["c"].site(spec).state} == {"serving"}
    assert {cluster.members[name].files(spec.id)["guestbook"] for name in "bc"} == {b"at the last moment"}


def test_no_copy_keeps_a_site_from_being_deleted(cluster: Cluster) -> None:
    """A server that died a moment ago, and one without room, delay a deletion by seconds and no more."""
    spec = cluster.create()
    a, b, c = (cluster.members[name] for name in "abc")
    cluster.wait(15)
    c.power_cut()
    b.pool.fill_up()
    a.write(spec.id, "guestbook", b"at the last moment")
    cluster.run(a.core.hosting.delete(spec.id, Steps()), within_s=20.0)
    cluster.wait(5)
    assert [trash_of(cluster, name) for name in "ab"] == [{f"trash/{spec.id}"}] * 2


def test_a_node_that_was_away_obeys_later(cluster: Cluster) -> None:
    """A server that was off during a deletion, or during an undeletion, does when it returns what it missed."""
    spec = cluster.create()
    a, c = cluster.members["a"], cluster.members["c"]
    cluster.wait(15)
    c.power_cut()
    cluster.run(a.core.hosting.delete(spec.id, Steps()))
    cluster.wait(10)
    c.start()
    cluster.wait(15)
    assert trash_of(cluster, "c") == {f"trash/{spec.id}"}
    c.power_cut()
    a.core.hosting.undelete(spec.id, "anna")
    cluster.wait(10)
    c.start()
    cluster.wait(15)
    assert trash_of(cluster, "c") == set()
    assert {member.site(spec).state for member in cluster.members.values()} == {"serving"}


def test_nothing_can_be_undeleted_under_a_name_that_is_taken(cluster: Cluster) -> None:
    """Two sites never get one name; who wants the old one back first makes room."""
    spec = cluster.create()
    a = cluster.members["a"]
    cluster.run(a.core.hosting.delete(spec.id, Steps()))
    with pytest.raises(NoSuchSite, match="not in the trash"):
        a.core.hosting.undelete(SiteId("s-none"), "anna")
    cluster.create()
    cluster.wait(1)
    with pytest.raises(Conflict, match="named shop"):
        a.core.hosting.undelete(spec.id, "anna")


def test_an_unsigned_tombstone_deletes_nothing(cluster: Cluster) -> None:
    """A value in the shared map that no owner signed is ignored, whoever wrote it."""
    spec = cluster.create()
    cluster.wait(15)
    b = cluster.members["b"]
    heads = (snapshot.guid for snapshot in b.core.replicator.history(spec.id))
    stone = Tombstone(
        site=spec.id, name="shop", claim=Claim(1, b.id), buried=buried(heads), at_s=0, by=cluster.members["a"].id
    )
    b.core.shared.put(*encode(sealed(stone, MemorySeals(b.id))))
    cluster.wait(15)
    assert {member.site(spec).state for member in cluster.members.values()} == {"serving"}
    assert [trash_of(cluster, name) for name in "abc"] == [set()] * 3


def test_the_trash_keeps_what_nobody_deleted(cluster: Cluster) -> None:
    """After a week only what the tombstone buried is destroyed; holds for peers do not keep it, a doubt does."""
    spec = cluster.create()
    a, b = cluster.members["a"], cluster.members["b"]
    cluster.wait(40)
    cluster.run(a.core.hosting.delete(spec.id, Steps()))
    cluster.wait(5)
    later = cluster.wall_s() + 7.1 * 86400
    cluster.run(Purge(a.pool, lambda site: None, lambda: later).look())
    cluster.run(b.pool.snapshot(f"trash/{spec.id}", "by-hand"))
    cluster.run(Purge(b.pool, b.core.deletions.entry, lambda: later).look())
    assert [trash_of(cluster, name) for name in "ab"] == [{f"trash/{spec.id}"}] * 2
    cluster.run(Purge(a.pool, a.core.deletions.entry, lambda: later).look())
    assert trash_of(cluster, "a") == set()
