"""Membership: who is taken for alive, whom the heartbeats go to, when a node mistrusts itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hybrid.cluster.membership import Membership
from hybrid.model import NodeId
from hybrid.settings import Timing

A, B, C, D = (NodeId(name) for name in "abcd")
TIMING = Timing()


@pytest.fixture
def membership() -> Membership:
    """That of node `a`, started at 0 in its third life."""
    return Membership(A, 3, TIMING, 0.0)


def first(sequence: Sequence[NodeId], count: int) -> Sequence[NodeId]:
    """Chance, without any."""
    return sequence[:count]


def test_alone(membership: Membership) -> None:
    """A node always lives for itself."""
    assert membership.live(1000.0) == {A}
    assert membership.beat(0.5) == {A: (3, 1)}
    assert membership.beat(1.0) == {A: (3, 2)}


def test_configured_node_is_not_live_before_it_speaks(membership: Membership) -> None:
    """Being in the settings proves nothing."""
    membership.know(B, 0.0)
    assert membership.live(0.0) == {A}
    assert membership.known == {A, B}
    assert membership.silent_s(B, 5.0) is None


def test_lives_while_its_counter_advances(membership: Membership) -> None:
    """A node is dead once nobody has passed on a newer heartbeat for `fail_s`."""
    assert membership.received({B: (1, 5)}, 10.0, sender=B) == {B}
    assert membership.live(17.9) == {A, B}
    assert membership.live(18.0) == {A}
    assert membership.received({B: (1, 5)}, 18.0, sender=B) == set()
    assert membership.live(18.0) == {A}
    assert membership.received({B: (1, 6)}, 19.0) == {B}
    assert membership.received({B: (1, 7)}, 20.0) == set()
    assert membership.live(27.9) == {A, B}
    assert membership.silent_s(B, 27.0) == 7.0


def test_relayed_heartbeats_keep_alive(membership: Membership) -> None:
    """Two nodes whose direct link is cut live for each other as long as a third hears both."""
    for second in range(60):
        membership.received({B: (1, second), C: (1, second)}, float(second), sender=C)
    assert membership.live(60.0) == {A, B, C}


def test_last_word_of_the_dead_is_no_life(membership: Membership) -> None:
    """A node that starts does not take long-dead nodes for alive because others remember them."""
    assert membership.received({B: (1, 5), C: (1, 9)}, 0.0, sender=C) == {C}
    assert membership.live(0.0) == {A, C}
    membership.received({B: (1, 6)}, 1.0, sender=C)
    assert membership.live(1.0) == {A, B, C}


def test_new_life_counts_from_one(membership: Membership) -> None:
    """A node that restarted is heard again though its counter began anew."""
    membership.received({B: (1, 500)}, 0.0, sender=B)
    assert membership.received({B: (2, 1)}, 100.0) == {B}
    assert membership.live(100.0) == {A, B}
    assert membership.received({B: (1, 900)}, 120.0) == set()


def test_relays_what_it_heard(membership: Membership) -> None:
    """What a node passes on is what it heard, never more."""
    membership.received({B: (1, 5)}, 0.0, sender=B)
    membership.received({B: (1, 4)}, 1.0, sender=C)
    membership.know(D, 1.0)
    assert membership.beat(1.0) == {A: (3, 1), B: (1, 5)}


def test_refutes_what_it_never_said(membership: Membership) -> None:
    """A node whose own counter is told larger than it is (restored from a backup, say) outdoes it, and says so."""
    membership.beat(0.5)
    assert membership.received({A: (3, 1)}, 1.0) == set()
    assert membership.incarnation == 3
    assert membership.received({A: (7, 20)}, 1.0) == {A}
    assert membership.incarnation == 8
    assert membership.beat(1.5)[A] == (8, 1)


def test_small_cluster_tells_everybody(membership: Membership) -> None:
    """Up to eight nodes, each hears from each at every heartbeat."""
    for name in "bcdefgh":
        membership.know(NodeId(name), 0.0)
    assert membership.targets(0.0, (), first) == [NodeId(name) for name in "bcdefgh"]


def test_large_cluster_tells_some(membership: Membership) -> None:
    """In a large one: two that live, one that seems dead, and who shares sites with this node."""
    for number in range(20):
        membership.know(NodeId(f"n{number:02}"), 0.0)
    for number in range(10, 20):
        membership.received({NodeId(f"n{number:02}"): (1, 1)}, 0.0, sender=NodeId(f"n{number:02}"))
    chosen = membership.targets(1.0, [NodeId("n15"), NodeId("n05"), A], first)
    assert chosen == ["n00", "n05", "n10", "n11", "n15"]


def test_forgets_who_was_removed(membership: Membership) -> None:
    """A removed node is neither told nor counted; this node cannot be removed."""
    membership.received({B: (1, 5)}, 0.0, sender=B)
    membership.forget(B)
    membership.forget(A)
    assert membership.known == {A}
    assert membership.live(0.0) == {A}


@pytest.mark.parametrize(
    "lag_s, unfit_s",
    [(0.1, 0.0), (0.25, 0.0), (0.3, 1.3), (5.0, 6.0), (60.0, 9.0)],
)
def test_lag_makes_unfit(membership: Membership, lag_s: float, unfit_s: float) -> None:
    """After the event loop was late, a node trusts its idea of who is dead only when it has listened again."""
    membership.lagged(lag_s, 100.0)
    assert membership.fit(100.0 + unfit_s)
    if unfit_s:
        assert not membership.fit(100.0 + unfit_s - 0.01)


def test_late_heartbeat_is_lag(membership: Membership) -> None:
    """A node that was stopped for a while notices by itself."""
    membership.beat(0.5)
    membership.beat(1.0)
    assert membership.fit(1.0)
    membership.beat(9.0)
    assert not membership.fit(9.0)
