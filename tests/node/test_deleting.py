"""Deletion, trash, and what survives both (rule R12): whole nodes on one clock."""

from __future__ import annotations

from hybrid.hosting.purge import Purge
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
    purge = Purge(a.pool, lambda: cluster.wall_s() + 6.9 * 86400)
    cluster.run(purge.look())
    assert f"trash/{spec.id}" in {dataset.name for dataset in cluster.run(a.pool.datasets())}
    purge = Purge(a.pool, lambda: cluster.wall_s() + 7.1 * 86400)
    cluster.run(purge.look())
    assert f"trash/{spec.id}" not in {dataset.name for dataset in cluster.run(a.pool.datasets())}
    assert "images/static-1" in {dataset.name for dataset in cluster.run(a.pool.datasets())}
