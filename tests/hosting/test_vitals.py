"""Which sites are asked whether they work, and which are started again: decisions alone."""

from __future__ import annotations

from itertools import pairwise

from hybrid.hosting.vitals import AT_ONCE, FIRST_PAUSE_S, LONGEST_PAUSE_S, WELL_S, Vitals
from hybrid.manifest import Health
from hybrid.model import SiteId

SITE = SiteId("s-a")
HEALTH = Health(every_s=10.0, within_s=60.0)


def restarts(vitals: Vitals, works: bool, begin_s: float, seconds: float) -> list[float]:
    """When `SITE` is started again, asked each second of some time whether it is due."""
    found, now_s = [], begin_s
    while now_s < begin_s + seconds:
        if vitals.due({SITE: HEALTH}, {SITE}, now_s) and vitals.heard(SITE, HEALTH, works, now_s):
            found.append(now_s)
        now_s += 1.0
    return found


def test_only_who_says_how_often_is_asked() -> None:
    """Images that say nothing cost nothing; one that just started has its time before the first question."""
    vitals = Vitals()
    assert vitals.due({SITE: Health()}, {SITE}, 1e6) == []
    assert vitals.due({SITE: HEALTH}, {SITE}, 0.0) == []
    assert vitals.due({SITE: HEALTH}, {SITE}, 59.0) == []
    assert vitals.due({SITE: HEALTH}, set(), 60.0) == []
    assert vitals.due({SITE: HEALTH}, {SITE}, 60.0) == [SITE]
    assert vitals.due({SITE: HEALTH}, {SITE}, 100.0) == []
    assert not vitals.heard(SITE, HEALTH, True, 101.0)
    assert vitals.due({SITE: HEALTH}, {SITE}, 110.0) == []
    assert vitals.due({SITE: HEALTH}, {SITE}, 111.0) == [SITE]


def test_a_few_at_a_time() -> None:
    """A thousand sites are asked one after the other, and none is left out."""
    vitals, sites = Vitals(), {SiteId(f"s-{number}"): HEALTH for number in range(10)}
    vitals.due(sites, sites, 0.0)
    asked = set()
    for _ in range(3):
        turn = vitals.due(sites, sites, 60.0)
        assert len(turn) <= AT_ONCE
        asked |= set(turn)
        for site in turn:
            vitals.heard(site, HEALTH, True, 60.0)
    assert asked == set(sites)


def test_three_failures_in_a_row_restart_it() -> None:
    """Two do not, nor any number with good answers between."""
    vitals = Vitals()
    for number, works in enumerate([True, False, False, True, False, False, True]):
        vitals.due({SITE: HEALTH}, {SITE}, 0.0)
        vitals.due({SITE: HEALTH}, {SITE}, 100.0 * (number + 1))
        assert not vitals.heard(SITE, HEALTH, works, 100.0 * (number + 1))
    assert len(restarts(vitals, False, 1000.0, 25.0)) == 1


def test_what_no_restart_mends_is_left_in_peace_for_longer_each_time() -> None:
    """The pauses double up to an hour, also over moments in which it does not serve; working for a while ends that."""
    vitals = Vitals()
    found = restarts(vitals, False, 0.0, 8 * 3600.0)
    pauses = [after - before for before, after in pairwise(found)]
    assert pauses[0] >= FIRST_PAUSE_S
    assert pauses == sorted(pauses)
    assert pauses[-1] >= LONGEST_PAUSE_S
    assert len(found) < 15
    assert vitals.due({SITE: HEALTH}, set(), 8 * 3600.0) == []  # being started
    assert len(restarts(vitals, False, 8 * 3600.0, LONGEST_PAUSE_S / 2)) <= 1
    assert restarts(vitals, True, 9 * 3600.0, WELL_S + 60.0) == []
    again = restarts(vitals, False, 10 * 3600.0, 600.0)
    assert again[1] - again[0] < 4 * FIRST_PAUSE_S
    vitals.due({}, set(), 0.0)
    assert not vitals.heard(SITE, HEALTH, False, 0.0)
