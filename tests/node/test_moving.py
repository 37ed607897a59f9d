"""Planned moves (rule R10): whole nodes on one clock."""

from __future__ import annotations

from tests.node.cluster import Cluster, Steps


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
