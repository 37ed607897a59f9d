"""How old the oldest unprotected change may be."""

from hybrid.model import Guid, NodeId, Snapshot
from hybrid_replicator.protection import SEEN_WITHIN_S, Protection

PEER, OTHER = NodeId("n-peer"), NodeId("n-other")
HISTORY = tuple(Snapshot(Guid(number), f"s{number}", 1000 + number) for number in (1, 2, 3))


def lag_s(protection: Protection, now_s: float, *live: NodeId) -> float:
    """The lag at a moment, with wall time 1000 s ahead."""
    return protection.lag_s(HISTORY, set(live), now_s, now_s + 1000, patience_s=10)


def test_all_is_safe_when_a_live_node_holds_the_newest() -> None:
    """No lag is shown when nothing can be lost."""
    protection = Protection()
    protection.looked(Guid(3), 50.0)
    protection.acknowledged(PEER, Guid(3), 51.0)
    assert lag_s(protection, 55.0, PEER, OTHER) == 0.0


def test_a_dead_node_does_not_count() -> None:
    """What only a dead node holds is not protected: the age of the whole history."""
    protection = Protection()
    protection.looked(Guid(3), 50.0)
    protection.acknowledged(PEER, Guid(3), 51.0)
    assert lag_s(protection, 55.0, OTHER) == 54.0


def test_an_unsent_change_may_be_as_old_as_the_look_before() -> None:
    """The figure is never smaller than the truth."""
    protection = Protection()
    protection.looked(Guid(2), 40.0)
    protection.looked(Guid(2), 45.0)
    protection.looked(Guid(3), 50.0)
    protection.acknowledged(PEER, Guid(2), 46.0)
    assert lag_s(protection, 52.0, PEER) == 7.0


def test_looks_that_are_overdue_show() -> None:
    """When snapshots fail, the lag grows even if the last one is safe."""
    protection = Protection()
    protection.looked(Guid(3), 50.0)
    protection.acknowledged(PEER, Guid(3), 50.0)
    assert lag_s(protection, 60.0, PEER) == 0.0
    assert lag_s(protection, 61.0, PEER) == 11.0


def test_unknown_means_old() -> None:
    """After a restart nothing is taken for safe before a peer said so, and then only up to what it said."""
    protection = Protection()
    assert lag_s(protection, 10.0, PEER) == 9.0
    protection.acknowledged(PEER, Guid(2), 10.0)
    assert lag_s(protection, 10.0, PEER) == 8.0
    protection.acknowledged(PEER, Guid(999), 10.0)
    assert lag_s(protection, 10.0, PEER) == 9.0


def test_bases_are_kept_for_thirty_days() -> None:
    """A peer that was away for a holiday still gets an increment."""
    protection = Protection()
    protection.acknowledged(PEER, Guid(1), 0.0)
    protection.acknowledged(OTHER, Guid(2), 10.0)
    assert protection.bases(SEEN_WITHIN_S) == {1, 2}
    assert protection.bases(SEEN_WITHIN_S + 5.0) == {2}
    assert protection.heads() == {PEER: Guid(1), OTHER: Guid(2)}
