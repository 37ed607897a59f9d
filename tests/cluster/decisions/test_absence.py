"""Nodes given up as places for copies: soon enough, and not for a restart."""

from hybrid.cluster.absence import Absences
from hybrid.model import NodeId

A, B, C = (NodeId(name) for name in "abc")
ALL = {A, B, C}


def looks(absences: Absences, live: set[NodeId], begin_s: float, end_s: float) -> list[float]:
    """When, looking every five seconds, somebody was lost."""
    times = [begin_s + 5.0 * step for step in range(int((end_s - begin_s) / 5) + 1)]
    return [now_s for now_s in times if lost(absences, live, now_s)]


def lost(absences: Absences, live: set[NodeId], now_s: float) -> frozenset[NodeId]:
    """Who is lost by then."""
    before = absences.lost
    assert absences.look(ALL, live, now_s) == (absences.lost != before)
    return absences.lost


def test_a_restart_is_no_loss() -> None:
    """A node back within the patience keeps its place, again and again."""
    absences = Absences(30.0)
    for begin_s in (0.0, 50.0, 100.0):
        assert looks(absences, {A, B}, begin_s, begin_s + 25) == []
        assert looks(absences, ALL, begin_s + 30, begin_s + 45) == []


def test_a_node_that_stays_away_is_lost_and_returns() -> None:
    """After the patience its copies are made elsewhere; once it is back it is a place like any other."""
    absences = Absences(30.0)
    assert looks(absences, {A, B}, 0.0, 40.0) == [30.0, 35.0, 40.0]
    assert lost(absences, {A, B}, 45.0) == {C}
    assert lost(absences, ALL, 50.0) == frozenset()


def test_who_was_stopped_has_lost_nobody() -> None:
    """After a pause of this process all seem silent: it waits anew before it copies whole sites about."""
    absences = Absences(30.0)
    assert looks(absences, ALL, 0.0, 20.0) == []
    assert looks(absences, {A}, 500.0, 525.0) == []
    assert lost(absences, {A}, 530.0) == {B, C}
