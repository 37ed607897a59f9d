"""Which snapshots are forgotten: properties that hold for every history."""

from hypothesis import given
from hypothesis import strategies as st

from hybrid.grid import DAY_S, HOUR_S
from hybrid.history import History
from hybrid.model import Claim, Guid, NodeId, Snapshot, snapshot_name
from hybrid_replicator.retention import forgettable

MONTH_S = 30 * DAY_S
NOW_S = 1_800_000_000
CLAIM = Claim(3, NodeId("n-abcdefgh"))


def line(*ages_s: int, by_hand: frozenset[int] = frozenset()) -> History:
    """A history with snapshots of these ages, in the order given."""
    return tuple(
        Snapshot(Guid(index + 1), f"before-upgrade-{index}" if index in by_hand else snapshot_name(CLAIM, index), at_s)
        for index, at_s in enumerate(NOW_S - age for age in ages_s)
    )


ages = st.lists(st.integers(-2 * HOUR_S, 60 * DAY_S), max_size=60)
histories = st.builds(
    lambda found, by_hand: line(*found, by_hand=by_hand), ages, st.frozensets(st.integers(0, 60), max_size=4)
)
sorted_histories = st.builds(lambda found: line(*sorted(found, reverse=True)), ages)


@given(histories, st.frozensets(st.integers(1, 61).map(Guid), max_size=5))
def test_what_must_be_kept_is_kept(history: History, kept: frozenset[Guid]) -> None:
    """The newest, everything named by the caller, and what a person took are never forgotten."""
    gone = set(forgettable(history, kept, NOW_S))
    assert not gone & kept
    assert all(snapshot.guid not in gone for snapshot in history[-1:])
    assert all(snapshot.guid not in gone for snapshot in history if snapshot.name.startswith("before"))


@given(sorted_histories)
def test_all_of_the_last_hour_stays(history: History) -> None:
    """Every change of the last hour can be undone exactly."""
    gone = set(forgettable(history, frozenset(), NOW_S))
    assert all(snapshot.guid not in gone for snapshot in history if NOW_S - snapshot.created_at_s <= HOUR_S)


@given(sorted_histories)
def test_one_of_each_hour_of_a_day_and_of_each_day_of_a_month_stays(history: History) -> None:
    """Wherever there was a snapshot in an hour (a day), one of that hour (day) can still be reached."""
    gone = set(forgettable(history, frozenset(), NOW_S))
    left = [snapshot for snapshot in history if snapshot.guid not in gone]
    for snapshot in history:
        age_s = NOW_S - snapshot.created_at_s
        width_s = HOUR_S if age_s <= DAY_S else DAY_S
        if age_s <= MONTH_S - DAY_S:
            assert any(abs(other.created_at_s - snapshot.created_at_s) < width_s for other in left)


@given(histories, st.frozensets(st.integers(1, 61).map(Guid), max_size=5))
def test_forgetting_twice_forgets_nothing_more(history: History, kept: frozenset[Guid]) -> None:
    """What is kept at one moment does not depend on how often one looked."""
    gone = set(forgettable(history, kept, NOW_S))
    left = tuple(snapshot for snapshot in history if snapshot.guid not in gone)
    assert forgettable(left, kept, NOW_S) == ()


@given(sorted_histories, st.integers(0, 40 * DAY_S))
def test_forgetting_step_by_step_keeps_what_one_step_would_keep(history: History, later_s: int) -> None:
    """A node that runs all the time has at the end what one that slept has."""
    first = set(forgettable(history, frozenset(), NOW_S))
    left = tuple(snapshot for snapshot in history if snapshot.guid not in first)
    gone_in_steps = first | set(forgettable(left, frozenset(), NOW_S + later_s))
    assert gone_in_steps >= set(forgettable(history, frozenset(), NOW_S + later_s))


def test_a_month_of_changes_every_five_seconds_becomes_a_short_list() -> None:
    """Retention bounds the number of snapshots, whatever the rate of changes."""
    history = line(*range(40 * DAY_S, 0, -600))
    left = len(history) - len(forgettable(history, frozenset(), NOW_S))
    assert 6 + 23 + 29 <= left <= 7 + 25 + 31


def test_a_clock_that_jumped_back_does_not_make_new_snapshots_old() -> None:
    """Snapshots after one "from the future" count as at least as new as that."""
    history = line(10 * DAY_S, -HOUR_S, 5 * DAY_S, 4 * DAY_S)
    assert forgettable(history, frozenset(), NOW_S) == ()


def test_nothing_to_forget_of_an_empty_history() -> None:
    """A new site is no special case."""
    assert forgettable((), frozenset(), NOW_S) == ()
