"""Removing a node for good: refused while something would be lost, then everybody forgets it and keeps it out."""

from __future__ import annotations

import pytest
from twisted.logger import capturedLogs

from hybrid.api.status import summarise
from hybrid.cluster.removal import REMOVED
from hybrid.errors import Conflict
from hybrid.model import Shared
from hybrid.wire import Gossip
from tests.node.cluster import Cluster


def names(cluster: Cluster, seen_by: str) -> set[str]:
    """The nodes that a node knows."""
    return {node.name for node in cluster.members[seen_by].core.outlook.view.nodes.values()}


def remove(cluster: Cluster, name: str, at: str, force: bool = False) -> None:
    """As an operator does."""
    cluster.members[at].core.presence.departures.remove(cluster.members[name].id, "admin", force)
    cluster.wait(2)


def test_a_removed_node_is_forgotten_by_all_and_kept_out(cluster: Cluster) -> None:
    """It is told once, at one node; also after restarts on every side nobody knows it or speaks with it."""
    remove(cluster, "c", at="a")
    assert names(cluster, "a") == names(cluster, "b") == {"a", "b"}
    for name in ("c", "b"):
        cluster.members[name].power_cut()
        cluster.members[name].start()
        cluster.wait(15)
    assert names(cluster, "a") == names(cluster, "b") == {"a", "b"}
    others = {cluster.members[name].id for name in "ab"}
    assert not cluster.members["c"].links.connected() & others
    assert cluster.members["a"].core.outlook.view.nodes.keys() == others


def test_its_sites_go_on_elsewhere(cluster: Cluster) -> None:
    """What a removed node owned is served by a node that holds it; while it owns something, it is not removed."""
    spec = cluster.create(on="a")
    cluster.wait(15)
    with pytest.raises(Conflict, match="shop is on it: move it"):
        remove(cluster, "a", at="b")
    assert names(cluster, "b") == {"a", "b", "c"}
    cluster.members["a"].power_cut()
    cluster.wait(10)
    remove(cluster, "a", at="b")
    cluster.wait(20)
    assert cluster.members["b"].site(spec).state == "serving"
    assert cluster.owners(spec)["b"] in {"b", "c"}


def test_the_last_copy_is_not_removed_by_mistake(cluster: Cluster) -> None:
    """A node that is down may hold what nobody else does: that is said, and only force removes it."""
    spec = cluster.create(on="a", copies=1)
    cluster.wait(15)
    holding = [name for name in "abc" if cluster.members[name].id in cluster.members["a"].site(spec).holders]
    spare = next(name for name in "abc" if name not in holding)
    for name in holding:
        cluster.members[name].power_cut()
    cluster.wait(15)
    with pytest.raises(Conflict, match="no other node that is up holds shop") as caught:
        remove(cluster, holding[0], at=spare)
    assert "--force" in caught.value.try_
    remove(cluster, holding[0], at=spare, force=True)
    assert holding[0] not in names(cluster, spare)


def test_a_node_does_not_remove_itself(cluster: Cluster) -> None:
    """The one that is asked is the one that stays."""
    with pytest.raises(Conflict, match="ask another node"):
        remove(cluster, "a", at="a", force=True)


def test_a_removal_is_never_taken_back(cluster: Cluster) -> None:
    """Neither a late write nor a deletion of the note brings a removed node's key back."""
    remove(cluster, "c", at="a")
    a, b = cluster.members["a"], cluster.members["b"]
    key = REMOVED + cluster.members["c"].id
    with pytest.raises(ValueError, match="for ever"):
        a.core.shared.put(key, None)
    late = Gossip(shared={key: Shared(stamp=(2**60, 0, a.id), value=None)})
    assert a.links.send(b.id, late)
    cluster.wait(5)
    assert cluster.members["c"].id in b.core.presence.departures.removals
    b.power_cut()
    b.start()
    cluster.wait(15)
    assert names(cluster, "b") == {"a", "b"}


def test_a_node_learns_of_its_own_removal(cluster: Cluster) -> None:
    """Its own log says what happened, and what to do."""
    with capturedLogs() as logged:
        note = cluster.members["a"].core.shared
        remove(cluster, "c", at="a")
        entry = note.entries([REMOVED + cluster.members["c"].id])
        assert all(isinstance(value, Shared) for value in entry.values())
        cluster.members["c"].notes.keep_shared(entry)
        cluster.members["c"].power_cut()
        cluster.members["c"].start()
        cluster.wait(1)
    assert any("is kept out by others" in str(event.get("text")) for event in logged)
    findings = summarise(cluster.members["c"].core.outlook.view, 0.0).findings
    assert any("c was removed from this cluster by admin at a" in finding for finding in findings)
