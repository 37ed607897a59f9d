"""Back in time and back again: whole nodes on one clock."""

from __future__ import annotations

from tests.node.cluster import Cluster, Steps


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
