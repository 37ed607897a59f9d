"""The cluster's key on whole nodes: all have the same, it is replaced without a gap, who was removed loses it."""

from __future__ import annotations

from hybrid.cluster.keyring import HURRIED_DROP_MS, HURRIED_SPREAD_MS, Keyring
from tests.node.cluster import Cluster

ROTATED_S = (HURRIED_SPREAD_MS + HURRIED_DROP_MS) / 1000 + 30


def ring(cluster: Cluster, name: str) -> Keyring:
    """The keys that node uses."""
    found = cluster.members[name].core.presence.keys.ring()
    assert found is not None
    return found


def test_all_have_one_key(cluster: Cluster) -> None:
    """Whoever made the first one: nodes that met agree, also over a restart."""
    assert ring(cluster, "a") == ring(cluster, "b") == ring(cluster, "c")
    before = ring(cluster, "a")
    cluster.members["b"].power_cut()
    cluster.members["b"].start()
    assert ring(cluster, "b") == before


def test_replaced_while_one_is_away(cluster: Cluster) -> None:
    """A node that was off for a whole replacement comes back with the old key and is given the new one."""
    before = ring(cluster, "a")
    cluster.members["c"].power_cut()
    cluster.members["b"].core.presence.keys.rotate(hurried=True)
    cluster.wait(ROTATED_S)
    after = ring(cluster, "a")
    assert after == ring(cluster, "b")
    assert len(after.keys) == 1 and after.keys[0] not in before.keys
    cluster.members["c"].start()
    assert ring(cluster, "c") == before
    cluster.wait(5)
    assert ring(cluster, "c") == after


def test_both_halves_replace_it(cluster: Cluster) -> None:
    """Each half of a partition may have got another key meanwhile; once it heals there is one, known to all."""
    ids = {name: member.id for name, member in cluster.members.items()}
    cluster.network.partition({ids["a"], ids["b"]}, {ids["c"]})
    cluster.wait(15)
    for name in ("a", "c"):
        cluster.members[name].core.presence.keys.rotate(hurried=True)
    cluster.wait(ROTATED_S)
    assert ring(cluster, "a") != ring(cluster, "c")
    cluster.network.heal_all()
    cluster.wait(10)
    assert ring(cluster, "a") == ring(cluster, "b") == ring(cluster, "c")


def test_a_removed_node_does_not_learn_the_new_key(cluster: Cluster) -> None:
    """Removal replaces the key within a minute, and who was removed is not told."""
    before = ring(cluster, "c")
    cluster.members["a"].core.presence.departures.remove(cluster.members["c"].id, "admin", True)
    cluster.wait(ROTATED_S)
    after = ring(cluster, "a")
    assert after == ring(cluster, "b")
    assert len(after.keys) == 1 and after.keys[0] not in before.keys
    assert after.keys[0] not in ring(cluster, "c").keys
