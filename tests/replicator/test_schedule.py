"""Which sites are looked at, and when."""

from hybrid.model import SiteId
from hybrid_replicator.schedule import Schedule

A, B, C = SiteId("s-a"), SiteId("s-b"), SiteId("s-c")


def test_a_new_site_is_looked_at_at_once_and_then_every_few_seconds() -> None:
    """A change waits at most one interval before it is noticed."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 30.0}, 100.0)
    assert schedule.next(100.0) == A
    assert schedule.next(100.0) is None
    schedule.looked(A, 100.0)
    assert schedule.next(104.9) is None
    assert schedule.next(105.0) == A


def test_a_look_that_takes_long_is_not_begun_twice() -> None:
    """One look at a site at a time, however slow the pool."""
    schedule = Schedule(look_every_s=1.0)
    schedule.follow({A: 30.0}, 0.0)
    assert schedule.next(0.0) == A
    schedule.follow({A: 0.5}, 10.0)
    assert schedule.next(100.0) is None
    schedule.looked(A, 0.0)
    assert schedule.next(100.0) == A


def test_a_tighter_promise_wins_over_the_default_interval() -> None:
    """A site that asked for one second gets one second, at once when the wish changes."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 30.0}, 0.0)
    assert schedule.next(0.0) == A
    schedule.looked(A, 0.0)
    schedule.follow({A: 1.0}, 0.5)
    assert schedule.next(1.4) is None
    assert schedule.next(1.5) == A
    schedule.looked(A, 1.5)
    assert schedule.next(2.5) == A


def test_the_longest_overdue_goes_first() -> None:
    """When there is more to do than time, nobody is left behind for ever."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 30.0, B: 30.0, C: 30.0}, 0.0)
    for _ in range(3):
        schedule.next(0.0)
    for site, at_s in ((A, 3.0), (B, 1.0), (C, 2.0)):
        schedule.looked(site, at_s)
    assert [schedule.next(60.0) for _ in range(4)] == [B, C, A, None]


def test_failures_are_retried_less_and_less_but_never_past_the_promise() -> None:
    """A failing snapshot neither hammers the pool nor is given up."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 10.0}, 0.0)
    assert schedule.next(0.0) == A
    now_s, waits = 0.0, []
    for _ in range(7):
        schedule.failed(A, now_s)
        waits.append(next(half / 2 for half in range(100) if schedule.next(now_s + half / 2)))
        now_s += waits[-1]
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    schedule.looked(A, now_s)
    assert schedule.next(now_s + 4.9) is None
    assert schedule.next(now_s + 5.0) == A


def test_a_site_that_is_no_longer_ours_is_left_alone() -> None:
    """Only the owner takes snapshots; one that comes back is looked at at once."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 30.0, B: 30.0}, 0.0)
    assert schedule.next(0.0) == A
    schedule.follow({B: 30.0}, 1.0)
    schedule.looked(A, 1.0)
    schedule.failed(A, 1.0)
    assert [schedule.next(100.0), schedule.next(100.0)] == [B, None]
    schedule.follow({A: 30.0, B: 30.0}, 101.0)
    assert schedule.next(101.0) == A
