"""How the history of each site is kept: what was asked for, and less where room is short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.cluster.room import SHRINKS, Level
from hybrid.grid import DEFAULT, parse
from hybrid.model import HistoryThinned, NodeId, SiteId, SiteSpec, Version
from hybrid.view import NodeView, SiteView, View
from hybrid_replicator.keeping import LEAST_SHARE, Keeping, read, share_of

SITE = SiteId("s-" + "a" * 26)
ME = NodeId("n-" + "a" * 16)
ASKED, COMMON = "all for 2h, daily for 10d", "all for 1h, weekly for 1y"


def view_of(free: int = 900, retention: str = "", budget: int | None = None) -> View:
    """One node with a pool of 1000 bytes, and a site."""
    spec = SiteSpec(
        id=SITE,
        version=Version(1, 0),
        name="shop",
        domains=(),
        image="",
        number=1,
        retention=retention,
        history_budget_bytes=budget,
    )
    node = NodeView(
        id=ME,
        name="a",
        dc="",
        address="",
        cluster_port=1,
        interior_port=2,
        api_port=3,
        live=True,
        size_bytes=1000,
        free_bytes=free,
    )
    return View(me=ME, serial=1, zones=(), nodes={ME: node}, sites={SITE: SiteView(spec=spec, state="serving")})


def keeping(view: View, default: str = "") -> Keeping:
    """Of that node."""
    made = Keeping(lambda: default)
    made.follow(view)
    return made


def test_the_sites_own_wish_comes_first_then_the_clusters() -> None:
    """A site that says nothing is kept as the cluster says; a cluster that says nothing as is usual."""
    assert keeping(view_of(retention=ASKED), COMMON).grid(SITE) == parse(ASKED)
    assert keeping(view_of(), COMMON).grid(SITE) == parse(COMMON)
    assert keeping(view_of()).grid(SITE) == DEFAULT
    assert keeping(view_of(), COMMON).grid(SiteId("s-unknown")) == parse(COMMON)


def test_what_a_later_release_wrote_keeps_as_much_as_usual() -> None:
    """A grid that this release cannot read never deletes more than the default would."""
    assert read("all for 1h, fortnightly for 1y") == DEFAULT


@pytest.mark.parametrize(
    ("free", "level"), [(900, Level.ROOMY), (90, Level.SCARCE), (40, Level.SHORT), (0, Level.FULL)]
)
def test_the_fuller_the_pool_the_earlier_history_goes(free: int, level: Level) -> None:
    """At 90, 95 and 97 % history is kept for a half, a quarter, an eighth of the time."""
    made = keeping(view_of(free, ASKED))
    assert made.shrink == SHRINKS[level]
    assert made.grid(SITE) == (parse(ASKED) if level is Level.ROOMY else parse(ASKED).shrunk(SHRINKS[level]))


def test_over_its_budget_a_history_gets_shorter_until_it_fits() -> None:
    """Each time it is measured over the budget it is kept half as long, and people are told; below it grows again."""
    made = keeping(view_of(retention=ASKED, budget=100))
    assert made.measured(SITE, 100) is None
    assert made.measured(SITE, 250) == HistoryThinned(SITE, 250, 100)
    assert made.grid(SITE) == parse(ASKED).shrunk(0.5)
    assert made.measured(SITE, 130) == HistoryThinned(SITE, 130, 100)
    assert made.grid(SITE) == parse(ASKED).shrunk(0.25)
    assert made.measured(SITE, 90) is None
    assert made.grid(SITE) == parse(ASKED).shrunk(0.25)
    assert made.measured(SITE, 10) is None
    assert made.measured(SITE, 10) is None
    assert made.grid(SITE) == parse(ASKED)


def test_without_a_budget_nothing_is_shortened() -> None:
    """Also not any more once the budget is taken away."""
    made = keeping(view_of(retention=ASKED, budget=100))
    assert made.budgeted(SITE)
    made.measured(SITE, 1000)
    made.follow(view_of(retention=ASKED))
    assert not made.budgeted(SITE)
    assert made.measured(SITE, 1000) is None
    assert made.grid(SITE) == parse(ASKED)


@given(st.floats(LEAST_SHARE, 1.0), st.integers(0, 10**12), st.integers(1, 10**12))
def test_a_share_stays_between_its_bounds(before: float, history: int, budget: int) -> None:
    """However long a history stays over its budget, something of it is kept."""
    share = share_of(before, history, budget)
    assert LEAST_SHARE <= share <= 1.0
    assert (share < before) == (history > budget and before > LEAST_SHARE) or share >= before
