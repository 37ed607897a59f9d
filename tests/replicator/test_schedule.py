"""Which sites are looked at, and when."""

from hybrid.model import SiteId
from hybrid_replicator.schedule import Schedule

A, B, C = SiteId("s-a"), SiteId("s-b"), SiteId("s-c")


def test_a_new_site_is_looked_at_at_once_and_then_every_few_seconds() -> None:
    """A change waits at most one interval before it is noticed."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 30.0}, 100.0)
    assert schedule.due(100.0) == [A]
    assert schedule.due(100.0) == []
    schedule.looked(A, 100.0)
    assert schedule.due(104.9) == []
    assert schedule.due(105.0) == [A]


def test_a_look_that_takes_long_is_not_begun_twice() -> None:
    """One look at a site at a time, however slow the pool."""
    schedule = Schedule(look_every_s=1.0)
    schedule.follow({A: 30.0}, 0.0)
    assert schedule.due(0.0) == [A]
    schedule.follow({A: 0.5}, 10.0)
    assert schedule.due(100.0) == []
    schedule.looked(A, 0.0)
    assert schedule.due(100.0) == [A]


def test_a_tighter_promise_wins_over_the_default_interval() -> None:
    """A site that asked for one second gets one second, at once when the wish changes."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 30.0}, 0.0)
    assert schedule.due(0.0) == [A]
    schedule.looked(A, 0.0)
    schedule.follow({A: 1.0}, 0.5)
    assert schedule.due(1.4) == []
    assert schedule.due(1.5) == [A]
    schedule.looked(A, 1.5)
    assert schedule.due(2.5) == [A]


def test_the_longest_overdue_goes_first() -> None:
    """When there is more to do than time, nobody is left behind for ever."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 30.0, B: 30.0, C: 30.0}, 0.0)
    schedule.due(0.0)
    for site, at_s in ((A, 3.0), (B, 1.0), (C, 2.0)):
        schedule.looked(site, at_s)
    assert schedule.due(60.0) == [B, C, A]


def test_who_is_due_in_a_moment_comes_along() -> None:
    """Asking about a thousand sites costs little more than about one, so their looks are drawn together."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 30.0, B: 30.0, C: 30.0}, 0.0)
    schedule.due(0.0)
    for site, at_s in ((A, 0.0), (B, 1.0), (C, 2.0)):
        schedule.looked(site, at_s)
    assert schedule.due(4.9) == []
    assert schedule.due(5.0) == [A, B]
    assert schedule.due(7.0) == [C]


def test_looks_that_take_long_are_a_tenth_of_the_time_and_keep_the_promise() -> None:
    """A slow pool is not kept busy by questions; yet every change is noticed within a third of what was promised."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 30.0, B: 12.0, C: 2.0}, 0.0)
    assert schedule.due(0.0) == [A, B, C]
    for site in (A, B, C):
        schedule.looked(site, 0.0, took_s=0.8)
    assert [schedule.interval_s(site) for site in (A, B, C)] == [8.0, 5.0, 2.0]
    for site in schedule.due(60.0):
        schedule.looked(site, 60.0, took_s=20.0)
    assert [schedule.interval_s(site) for site in (A, B, C)] == [10.0, 5.0, 2.0]
    for site in schedule.due(120.0):
        schedule.looked(site, 120.0, took_s=0.1)
    assert [schedule.interval_s(site) for site in (A, B, C)] == [5.0, 5.0, 2.0]


def test_failures_are_retried_less_and_less_but_never_past_the_promise() -> None:
    """A failing snapshot neither hammers the pool nor is given up."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 10.0}, 0.0)
    assert schedule.due(0.0) == [A]
    now_s, waits = 0.0, []
    for _ in range(7):
        schedule.failed(A, now_s)
        waits.append(next(half / 2 for half in range(100) if schedule.due(now_s + half / 2)))
        now_s += waits[-1]
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    schedule.looked(A, now_s)
    assert schedule.due(now_s + 4.9) == []
    assert schedule.due(now_s + 5.0) == [A]


def test_a_site_that_is_no_longer_ours_is_left_alone() -> None:
    """Only the owner takes snapshots; one that comes back is looked at at once."""
    schedule = Schedule(look_every_s=5.0)
    schedule.follow({A: 30.0, B: 30.0}, 0.0)
    assert schedule.due(0.0) == [A, B]
    schedule.follow({B: 30.0}, 1.0)
    schedule.looked(A, 1.0)
    schedule.failed(A, 1.0)
    schedule.looked(B, 1.0)
    assert schedule.due(100.0) == [B]
    schedule.follow({A: 30.0, B: 30.0}, 101.0)
    assert schedule.due(101.0) == [A]
