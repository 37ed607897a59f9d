"""What is sent next, and to whom."""

from hybrid.model import NodeId, SiteId
from hybrid_replicator.outbox import Outbox

A, B, C, D = (SiteId(f"s-{letter}") for letter in "abcd")
P, Q, R = (NodeId(f"n-{letter}") for letter in "pqr")


def outbox(per_peer: int = 2, in_all: int = 3) -> Outbox:
    """An outbox without jitter."""
    return Outbox(lambda: 0.5, per_peer, in_all)


def test_one_entry_per_site_and_peer_however_often_it_changes() -> None:
    """A slow peer never builds a backlog."""
    box = outbox()
    for now_s in range(100):
        box.want(A, P, float(now_s))
    assert box.start(100.0) == [(A, P)]
    box.want(A, P, 101.0)
    assert box.start(101.0) == []
    box.sent(A, P)
    assert box.start(101.0) == []


def test_longest_waiting_first_within_the_peers_slots() -> None:
    """Sites take turns."""
    box = outbox()
    for now_s, site in enumerate((C, A, B)):
        box.want(site, P, float(now_s))
    assert box.start(9.0) == [(C, P), (A, P)]
    box.sent(C, P)
    assert box.start(9.0) == [(B, P)]


def test_slow_peers_never_take_the_last_slot_of_a_healthy_one() -> None:
    """A peer with nothing under way may always begin."""
    box = outbox(per_peer=2, in_all=3)
    for peer in (P, Q):
        for site in (A, B, C):
            box.want(site, peer, 0.0)
    assert len(box.start(0.0)) == 3
    box.want(D, R, 1.0)
    assert box.start(1.0) == [(D, R)]


def test_a_refused_site_waits_longer_each_time_while_others_go_on() -> None:
    """One site's trouble is its own."""
    box = outbox()
    box.want(A, P, 0.0)
    box.start(0.0)
    now_s, waits = 0.0, []
    for _ in range(8):
        box.failed(A, P, now_s)
        waits.append(next(float(wait_s) for wait_s in range(400) if box.start(now_s + wait_s)))
        now_s += waits[-1]
    assert waits == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


def test_an_unreachable_peer_waits_as_a_whole_and_goes_at_once_when_it_is_back() -> None:
    """A returning node gets its snapshots without waiting for the next retry."""
    box = outbox()
    box.want(A, P, 0.0)
    box.want(B, P, 0.0)
    box.start(0.0)
    box.unreachable(A, P, 0.0)
    box.unreachable(B, P, 0.0)
    assert box.start(4.9) == []
    assert box.start(5.0) == [(A, P), (B, P)]
    box.unreachable(A, P, 5.0)
    box.unreachable(B, P, 5.0)
    assert box.start(14.0) == []
    box.revive(P)
    assert box.start(14.0) == [(A, P), (B, P)]


def test_what_is_no_longer_wanted_is_dropped() -> None:
    """A site that moved away, or a peer that is no longer a target, is not sent to."""
    box = outbox()
    box.want(A, P, 0.0)
    box.want(B, P, 0.0)
    box.keep([(B, P)])
    assert box.start(0.0) == [(B, P)]
    assert box.under_way() == 1


def test_whole_copies_never_delay_what_changed() -> None:
    """While a lost server's sites are copied elsewhere, one to each peer and two in all, increments go on."""
    box = outbox(per_peer=2, in_all=6)
    for peer in (P, Q, R):
        for site in (A, B, C):
            box.want(site, peer, 0.0, whole=True)
        box.want(D, peer, 5.0)
    assert sorted(box.start(6.0)) == [(A, P), (A, Q), (D, P), (D, Q), (D, R)]
    box.sent(A, P)
    assert box.start(7.0) == [(A, R)]
    box.sent(A, Q)
    assert box.start(7.0) == [(B, P)]
