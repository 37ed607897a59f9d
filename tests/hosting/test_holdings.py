"""What a node holds is what its disk says, over any restart."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure

from hybrid.errors import StorageSick
from hybrid.history import History
from hybrid.hosting.holdings import Holdings, dataset_of, encode_spec, owned_properties
from hybrid.hosting.observer import Observer
from hybrid.hosting.tasks import in_background
from hybrid.model import Bid, Claim, Forgotten, Guid, NodeId, SiteId, SiteRegister, SiteSpec, Stash, Stashed, Version
from hybrid.storage.memory import MemoryPool

A, B, SITE = NodeId("n-a"), NodeId("n-b"), SiteId("s-one")
SPEC = SiteSpec(id=SITE, version=Version(1, 1), name="one", domains=("one.example",), image="static@1", number=1)


def done(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run what needs no time; raises what it raises."""
    failures: list[Failure] = []
    deferred = Deferred.fromCoroutine(coroutine)
    deferred.addErrback(failures.append)
    assert deferred.called
    for failure in failures:
        failure.raiseException()


class Nothing:
    """No history and no other nodes: neither matters here."""

    def history(self, site: SiteId) -> History:
        """See `Past`."""
        return ()

    def stashes(self, site: SiteId) -> tuple[Stash, ...]:
        """See `Past`."""
        return ()

    def acknowledged(self, site: SiteId) -> dict[NodeId, Guid]:
        """See `Past`."""
        return {}

    def publish(self, site: SiteId, register: SiteRegister) -> SiteRegister:
        """See `Registers`."""
        return register

    def seen(self, site: SiteId) -> Claim:
        """See `Registers`."""
        return Claim(1, A)

    def registers(self, site: SiteId) -> dict[NodeId, SiteRegister]:
        """See `Registers`."""
        return {}


def holdings(pool: MemoryPool) -> Holdings:
    """Those of a process that just started on `pool`."""
    made = Holdings(pool, Nothing(), Nothing(), lambda site: None)
    done(made.load())
    return made


def owned(pool: MemoryPool) -> Holdings:
    """A site owned under claim 1 of a, on `pool`."""
    done(pool.prepare())
    done(pool.create(dataset_of(SITE), owned_properties(SPEC, Claim(1, A))))
    made = holdings(pool)
    made.add(SPEC, Claim(1, A))
    return made


def test_what_was_seen_is_written_again_where_writing_failed() -> None:
    """A claim that is in mind alone, since the disk did not take it, is no reason to take a stream under it."""
    pool = MemoryPool(lambda: 0.0)
    held = owned(pool)
    pool.fail_next("set_properties", StorageSick("it does not answer"))
    with pytest.raises(StorageSick):
        done(held.saw(SITE, Claim(7, B)))
    assert (held.seen(SITE), holdings(pool).need(SITE).seen) == (Claim(7, B), Claim(1, A))
    done(held.saw(SITE, Claim(7, B)))
    assert holdings(pool).need(SITE).seen == Claim(7, B)


def test_a_site_of_which_only_stashes_are_left_may_be_sent_again() -> None:
    """What was seen cannot be written down where there is no main line; that must not keep a new one from coming."""
    pool = MemoryPool(lambda: 0.0)
    held = owned(pool)
    done(pool.rename(dataset_of(SITE), f"stash/{SITE}.000001.x.none"))
    done(held.saw(SITE, Claim(7, B)))
    assert held.seen(SITE) == Claim(7, B)
    done(pool.create(dataset_of(SITE), owned_properties(SPEC, Claim(1, A))))
    done(held.saw(SITE, Claim(7, B)))
    assert holdings(pool).need(SITE).seen == Claim(7, B)


def test_a_bid_never_changes() -> None:
    """An owner that bid and was restarted offers what it offered, whatever changed since: others may have seen it."""
    pool = MemoryPool(lambda: 0.0)
    done(owned(pool).bid(SITE, "1,n-a/2,n-b", Bid((1, 7), Claim(1, A))))
    again = holdings(pool)
    assert again.need(SITE).bids == {"1,n-a/2,n-b": Bid((1, 7), Claim(1, A))}
    done(again.bid(SITE, "1,n-a/2,n-b", Bid((1, 999), Claim(1, A))))
    assert holdings(pool).need(SITE).bids == {"1,n-a/2,n-b": Bid((1, 7), Claim(1, A))}


def test_bids_end_with_their_claim() -> None:
    """A new claim begins without bids: registers do not grow with every conflict there ever was."""
    pool = MemoryPool(lambda: 0.0)
    held = owned(pool)
    done(held.bid(SITE, "1,n-a/2,n-b", Bid((1, 7), Claim(1, A))))
    done(held.claim(SITE, Claim(3, A)))
    assert (held.need(SITE).bids, holdings(pool).need(SITE).bids) == ({}, {})


def test_waiting_for_a_person_outlives_the_process() -> None:
    """Who waits for a pick still does after a restart, until the wait is over."""
    pool = MemoryPool(lambda: 0.0)
    held = owned(pool)
    both = (Claim(1, A), Claim(2, B))
    done(held.await_pick(SITE, both))
    assert holdings(pool).need(SITE).awaiting == both
    done(held.picked(SITE))
    assert holdings(pool).need(SITE).awaiting == ()


class Telling(Nothing):
    """Notes what is published."""

    def __init__(self) -> None:
        self.published: list[tuple[SiteId, str]] = []

    def publish(self, site: SiteId, register: SiteRegister) -> SiteRegister:
        """See `Registers`."""
        self.published.append((site, register.role))
        return register

    def lag_s(self, site: SiteId) -> float | None:
        """See `Lags`."""
        return None


def test_what_is_published_is_true_after_a_history_was_thinned_out() -> None:
    """Others decide by what a node publishes of its history what they must keep: it says so when that has changed."""
    past = Telling()
    made = Holdings(MemoryPool(), past, past, lambda site: None)
    observer = Observer(made, past, in_background)
    observer.report(Forgotten(SITE))
    assert past.published == []
    made.add(SPEC, Claim(1, A))
    observer.report(Forgotten(SITE))
    assert past.published == [(SITE, "opening")] * 2


@pytest.mark.parametrize("main_line", [True, False])
def test_a_swap_of_histories_that_ends_after_the_start_gives_a_copy(main_line: bool) -> None:
    """A crash in a swap, and a pool too full to finish it at the start: once it is, the others hear of the copy."""
    pool, past = MemoryPool(lambda: 0.0), Telling()
    done(pool.prepare())
    made = Holdings(pool, past, past, lambda site: None)
    done(made.load())
    assert not made.holds(SITE)
    if main_line:
        done(pool.create(dataset_of(SITE), {"spec": encode_spec(SPEC), "seen": str(Claim(2, B))}))
    stash = Stash(id=f"{SITE}.000001.a.0", site=SITE, base=None, head=Guid(7), head_at_s=0, why="rollback")
    with capturedLogs() as logs:
        Observer(made, past, in_background).report(Stashed(stash))
    assert past.published == [(SITE, "replica")] * main_line
    assert [event["log_level"].name for event in logs if event["log_level"] > LogLevel.debug] == []
