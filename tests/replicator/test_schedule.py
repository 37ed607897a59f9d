"""Which sites are looked at, and when."""

from hybrid.model import SiteId
from hybrid_replicator.schedule import Schedule

A, B, C = SiteId("s-a"), SiteId("s-b"), SiteId("s-c")


def test_a_new_site_is_looked_at_at_once_and_then_every_few_seconds() -> None:
    """A change waits at most one interval before it is noticed."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 30.0}, 100.0)
    assert schedule.due(100.0) == [A]
    schedule.began(A)
    assert schedule.due(100.0) == []
    schedule.looked(A, 100.0)
    assert schedule.due(104.9) == []
    assert schedule.due(105.0) == [A]


def test_a_tighter_promise_wins_over_the_default_interval() -> None:
    """A site that asked for one second gets one second."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 1.0}, 0.0)
    schedule.looked(A, 0.0)
    assert schedule.due(1.0) == [A]
    schedule.follow({A: 0.5}, 1.0)
    schedule.looked(A, 1.0)
    assert schedule.due(1.5) == [A]


def test_the_longest_overdue_goes_first() -> None:
    """When there is more to do than time, nobody is left behind for ever."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 30.0, B: 30.0, C: 30.0}, 0.0)
    for site, at_s in ((A, 3.0), (B, 1.0), (C, 2.0)):
        schedule.looked(site, at_s)
    assert schedule.due(60.0) == [B, C, A]


def test_failures_are_retried_less_and_less_but_never_past_the_promise() -> None:
    """A failing snapshot neither hammers the pool nor is given up."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 10.0}, 0.0)
    now_s, waits = 0.0, []
    for _ in range(7):
        schedule.began(A)
        schedule.failed(A, now_s)
        wait_s = next(s / 2 for s in range(100) if schedule.due(now_s + s / 2))
        waits.append(wait_s)
        now_s += wait_s
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_a_site_that_is_no_longer_ours_is_left_alone() -> None:
    """Only the owner takes snapshots."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 30.0, B: 30.0}, 0.0)
    schedule.began(A)
    schedule.follow({B: 30.0}, 1.0)
    schedule.looked(A, 1.0)
    schedule.failed(A, 1.0)
    schedule.hurry(A, 1.0)
    assert schedule.due(100.0) == [B]


def test_hurry_brings_a_look_forward() -> None:
    """Who knows of a change need not wait for the next round."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 30.0}, 0.0)
    schedule.looked(A, 0.0)
    schedule.hurry(A, 1.0)
    assert schedule.due(1.0) == [A]
