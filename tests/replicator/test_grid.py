"""The grid by which histories are kept: its text, and what it keeps."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.errors import BadRequest
from hybrid.grid import DAY_S, DEFAULT, DEFAULT_TEXT, HOUR_S, LEAST_S, Grid, Step, parse
from hybrid.history import History
from hybrid.model import Claim, Guid, NodeId, Snapshot, snapshot_name

NOW_S = 1_800_000_000
CLAIM = Claim(3, NodeId("n-abcdefgh"))
MINUTE_S = 60


def line(*ages_s: int) -> History:
    """A history with snapshots of these ages, in the order given."""
    return tuple(
        Snapshot(Guid(index + 1), snapshot_name(CLAIM, index), NOW_S - age) for index, age in enumerate(ages_s)
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is no step"),
        (",", "'' is no step"),
        ("all", "'all' is no step"),
        ("all for", "'all for' is no step"),
        ("all for ever", "no step"),
        ("all for 1h,", "'' is no step"),
        ("hourly for 1d", "begins with `all for`"),
        ("all for 9min", "at least 10min"),
        ("all for 0h", "no length of time"),
        ("all for 999999999y", "no length of time"),
        ("all for -1h", "no step"),
        ("all for 1.5h", "no step"),
        ("all for 10m", "'m' is no unit"),
        ("all for 1h, hourly for 1mo", "write min for minutes"),
        ("all for 1h, fortnightly for 1y", "'fortnightly' is not one of"),
        ("all for 1h, 0 per 1h for 1d", "no whole number"),
        ("all for 1h, 7 per 1min for 1d", "no whole number"),
        ("all for 1h, hourly for 1h", "keeps nothing"),
        ("all for 1h, daily for 30d, hourly for 60d", "keeps nothing"),
        ("all for 1h, all for 2h", "keeps nothing"),
        ("all for 1h; hourly for 24h", "no step"),
        ("all for 1h\x00, hourly for 24h", "no step"),
        (", ".join(f"all for {hours}h" for hours in range(1, 20)), "too long"),
        ("all for " + "1" * 500 + "h", "too long"),
    ],
)
def test_what_is_no_grid_is_refused_with_the_reason(text: str, why: str) -> None:
    """A typing error never silently keeps less than was meant: the message names the part and what to write."""
    with pytest.raises(BadRequest) as refused:
        parse(text)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("all for 1h", [(0, HOUR_S)]),
        ("all 1h, hourly 7d", [(0, HOUR_S), (HOUR_S, 7 * DAY_S)]),
        ("ALL  for 1 h ,\nDaily for 4w", [(0, HOUR_S), (DAY_S, 28 * DAY_S)]),
        ("all for 1h, 1 per 10 min for 24h", [(0, HOUR_S), (600, DAY_S)]),
        ("all for 1h, 6 per 1h for 24h", [(0, HOUR_S), (600, DAY_S)]),
        (
            "all for 2h, 1 every 90s for 1d, weekly for 1y, monthly for 7y",
            [(0, 7200), (90, DAY_S), (604800, 31536000), (2592000, 220752000)],
        ),
    ],
)
def test_a_grid_is_read_as_people_write_it(text: str, steps: list[tuple[int, int]]) -> None:
    """Spaces, capitals and a missing `for` do not matter."""
    assert parse(text) == Grid(tuple(Step(*step) for step in steps))


spans = st.lists(st.integers(1, 40), min_size=1, max_size=5, unique=True).map(sorted)
grids = st.builds(
    lambda ages, widths: Grid(
        tuple(
            Step(0 if not place else 300 * width, age * HOUR_S)
            for place, (age, width) in enumerate(zip(ages, sorted(widths), strict=False))
        )
    ),
    spans,
    st.lists(st.integers(1, 300), min_size=5, max_size=5, unique=True),
)
ages = st.lists(st.integers(-HOUR_S, 60 * HOUR_S), max_size=60)


@given(grids)
def test_a_grid_is_shown_as_it_is_read(grid: Grid) -> None:
    """What `hybrid site show` prints can be given to `hybrid site set`."""
    assert parse(str(grid)) == grid


def test_the_default_says_what_it_is() -> None:
    """The documented default is the one in use."""
    assert parse(DEFAULT_TEXT) == DEFAULT
    assert str(DEFAULT) == DEFAULT_TEXT


@given(grids, ages.map(lambda found: line(*sorted(found, reverse=True))))
def test_in_each_interval_one_can_be_reached(grid: Grid, history: History) -> None:
    """Wherever there was a snapshot, one no farther away than the interval of its step is left."""
    kept = grid.keeps(history, NOW_S)
    left = [one for one in history if one.guid in kept]
    for one in history:
        step = next((step for step in grid.steps if NOW_S - one.created_at_s <= step.until_s), None)
        if step is not None:
            assert any(abs(other.created_at_s - one.created_at_s) <= step.interval_s for other in left)


@given(grids, ages.map(lambda found: line(*found)))
def test_keeping_twice_keeps_the_same(grid: Grid, history: History) -> None:
    """What is kept at one moment does not depend on how often one looked, nor on clocks that jumped."""
    kept = grid.keeps(history, NOW_S)
    left = tuple(one for one in history if one.guid in kept)
    if all(before.created_at_s <= after.created_at_s for before, after in pairwise(history)):
        assert grid.keeps(left, NOW_S) == kept


@given(grids, st.floats(0.01, 1.0), ages.map(lambda found: line(*sorted(found, reverse=True))))
def test_a_grid_under_pressure_keeps_the_last_minutes_and_a_grid(grid: Grid, factor: float, history: History) -> None:
    """When room is short less is kept, never more, and what was changed a moment ago can still be undone exactly."""
    shrunk = grid.shrunk(factor)
    assert shrunk.steps[-1].until_s <= max(LEAST_S, grid.steps[-1].until_s)
    assert [step.until_s for step in shrunk.steps] == sorted({step.until_s for step in shrunk.steps})
    kept = shrunk.keeps(history, NOW_S)
    assert all(one.guid in kept for one in history if NOW_S - one.created_at_s <= LEAST_S)


def test_a_snapshot_from_the_future_stays_and_keeps_what_follows() -> None:
    """Snapshots after one "from the future" count as at least as new as that, until time has caught up."""
    history = line(10 * DAY_S, -HOUR_S, 5 * DAY_S, 4 * DAY_S)
    assert DEFAULT.keeps(history, NOW_S) == {one.guid for one in history}


def test_a_day_of_changes_every_half_minute() -> None:
    """`1 per 10min for 24h`: 120 of the last hour, and six of each hour before."""
    grid = parse("all for 1h, 1 per 10min for 24h")
    history = line(*range(2 * DAY_S, 0, -30))
    assert len(grid.keeps(history, NOW_S)) == 120 + 138
