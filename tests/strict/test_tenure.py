"""How long a node may be sure of its sites: never longer than anybody else waits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from hybrid.model import SiteId
from hybrid.strict.tenure import CLOCK_RATE, Spans, Tenures

SITE, OTHER = SiteId("s-one"), SiteId("s-other")


def tenures() -> Tenures:
    """With lease 7, affirmed at 100, on which `SITE` hangs."""
    made = Tenures(15.0)
    made.affirmed(7, 100.0)
    made.took(SITE, 42, 7)
    return made


def test_an_owner_stops_at_half_the_ttl() -> None:
    """Counted from when the last renewal was asked for, however late its answer came."""
    tenure = tenures()
    assert tenure.sure(SITE, 107.4)
    assert not tenure.sure(SITE, 107.5)
    assert tenure.freeze_at_s(SITE) == 111.25
    tenure.affirmed(7, 103.0)
    assert tenure.sure(SITE, 110.4)
    assert not tenure.sure(SITE, 110.5)


def test_an_answer_that_was_overtaken_takes_nothing_back() -> None:
    """Two renewals may answer in any order."""
    tenure = tenures()
    tenure.affirmed(7, 103.0)
    tenure.affirmed(7, 101.0)
    assert tenure.affirmed_s(SITE) == 103.0


def test_what_is_not_held_is_never_sure() -> None:
    """Neither a site never claimed, nor one given up, nor one whose key hung on a lease that ran out."""
    tenure = tenures()
    assert not tenure.sure(OTHER, 100.0)
    assert tenure.freeze_at_s(OTHER) == 0.0
    tenure = tenures()
    tenure.let_go(SITE)
    assert not tenure.sure(SITE, 101.0)
    assert tenure.sites == []


def test_what_a_lost_lease_affirmed_stands_for_its_time_only() -> None:
    """The key is gone, or hung on another lease: no later renewal makes it last longer, whatever its id."""
    for lose in (
        lambda tenure: tenure.lost(),
        lambda tenure: tenure.gone(SITE),
        lambda tenure: tenure.affirmed(8, 101.0),
    ):
        tenure = tenures()
        lose(tenure)
        tenure.affirmed(7, 106.0)
        assert not tenure.in_etcd(SITE)
        assert tenure.sure(SITE, 107.4)
        assert not tenure.sure(SITE, 107.5)
        assert tenure.freeze_at_s(SITE) == 111.25


def test_what_all_holders_agreed_to_is_as_good_for_that_site_only() -> None:
    """An agreement of the holders of one site says nothing about another."""
    tenure = tenures()
    tenure.took(OTHER, 43, 7)
    tenure.agreed(SITE, 106.0)
    assert tenure.sure(SITE, 113.0)
    assert not tenure.sure(OTHER, 113.0)
    assert not tenure.by_agreement(SITE, 107.0)
    assert tenure.by_agreement(SITE, 113.0)
    tenure.lost()
    assert tenure.sure(SITE, 113.0)


def test_a_renewal_after_half_the_ttl_brings_nothing_back() -> None:
    """A member of etcd that hung with this machine may renew a lease that ran out: another may own the site."""
    tenure = tenures()
    tenure.affirmed(7, 160.0)
    assert not tenure.sure(SITE, 160.0)
    assert not tenure.in_etcd(SITE)
    tenure.took(SITE, 50, 7)
    assert tenure.sure(SITE, 160.0)


def test_an_agreement_after_half_the_ttl_brings_nothing_back() -> None:
    """Whoever was not sure any more when it asked has to stop."""
    tenure = tenures()
    tenure.agreed(SITE, 107.6)
    assert not tenure.sure(SITE, 107.7)


def test_nobody_can_agree_to_what_was_given_up() -> None:
    """An agreement that comes after the site was let go does not bring it back."""
    tenure = tenures()
    tenure.let_go(SITE)
    tenure.agreed(SITE, 106.0)
    assert not tenure.sure(SITE, 106.0)


@given(some.floats(5.0, 600.0), some.floats(1 / CLOCK_RATE, CLOCK_RATE), some.floats(0.0, 5.0))
def test_the_guardian_has_frozen_before_anybody_may_stand(ttl_s: float, rate: float, way_s: float) -> None:
    """Whatever the clocks' rates and however long messages take: stop, freeze, and only then another owner."""
    spans = Spans(ttl_s)
    assert spans.renew_s <= ttl_s / 3
    frozen_s = spans.freeze_s * max(rate, 1.0)
    assert spans.renew_s < spans.fence_s < spans.freeze_s
    by_etcd_s = way_s + ttl_s / CLOCK_RATE + spans.lock_delay_s / CLOCK_RATE
    by_promise_s = way_s + spans.promise_s / CLOCK_RATE
    by_amnesia_s = way_s + spans.amnesia_s / CLOCK_RATE
    assert frozen_s < min(by_etcd_s, by_promise_s, by_amnesia_s)
