"""Scores of the fault campaign: a 3 must be earned, and every lesser one says why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hybrid.lab.faults import catalogue
from hybrid.lab.faults.evidence import Branches, Breach, Evidence
from hybrid.lab.faults.scoring import Target, judge
from hybrid.lab.faults.table import report, table
from hybrid.lab.measures import Ack, Answered, Happened, Resolved


def evidence() -> Evidence:
    """The owner died, ten seconds later another was elected, everything was kept."""
    return Evidence(
        began_s=100.0,
        fault_s=110.0,
        fault_wall_s=1110.0,
        undone_s=130.0,
        agreed_s=135.0,
        pages={"n2": [Answered(109.0, 109.1, True), Answered(111.0, 113.0, False), Answered(120.0, 121.0, True)]},
        events=[Happened(1118.0, "n2", "node-down", ""), Happened(1120.0, "n2", "elected", "")],
        acks=[Ack("a", "n1", 1109.0, 1109.5, 5, "1,x", 1), Ack("b", "n2", 1121.0, 1121.5, 5, "2,y", 2)],
        branches=Branches(["b"], {"s": ["a"]}),
    )


def test_lost_nothing_by_itself_in_time_is_a_three() -> None:
    """With all its figures."""
    verdict = judge("F1", "the owner dies", evidence(), Target(unavailable_s=20.0, elections=1))
    assert (verdict.score, verdict.detail) == (3, "")
    expected = {"seconds_unavailable": 10.0, "first_good_s": 11.0, "detected_s": 8.0, "elected_s": 10.0}
    expected |= {"healed_s": 5.0, "in_stash": 1, "in_stash_bytes": 5, "acked_lost": 0, "rpo_s": 0.5, "stashes": 1}
    assert {name: verdict.figures[name] for name in expected} == expected


def _lose(seen: Evidence) -> None:
    seen.branches = Branches(["b"], {})


def _swap(seen: Evidence) -> None:
    seen.branches = Branches(["b", "b"], {"s": ["a"]})


def _disagree(seen: Evidence) -> None:
    seen.agreed_s = None


def _unread(seen: Evidence) -> None:
    seen.branches = None


def _dawdle(seen: Evidence) -> None:
    seen.pages["n2"].append(Answered(122.0, 140.0, False))


def _storm(seen: Evidence) -> None:
    seen.events.append(Happened(1125.0, "n3", "elected", ""))


def _call(seen: Evidence) -> None:
    seen.breaches.append(Breach("person", "could not: anything"))


@pytest.mark.parametrize(
    ("spoil", "score", "why"),
    [
        (_lose, 0, "1 acknowledged writes lost: a"),
        (_swap, 0, "holds b twice"),
        (_disagree, 1, "did not agree"),
        (_unread, 1, "could not be read"),
        (_call, 1, "could not: anything"),
        (_dawdle, 2, "late"),
        (_storm, 2, "1 elections more than needed"),
    ],
)
def test_less_than_that_is_less(spoil: Callable[[Evidence], None], score: int, why: str) -> None:
    """The worst breach decides, and the line says what it was."""
    seen = evidence()
    spoil(seen)
    verdict = judge("F1", "the owner dies", seen, Target(unavailable_s=20.0, elections=1))
    assert verdict.score == score
    assert why in verdict.detail


def test_the_report_has_what_was_asked_for() -> None:
    """Each fault with its score, seconds, bytes and detail; failover over all kills; a row for people."""
    verdicts = [judge("F1-three", "the owner dies", evidence(), Target())]
    written = report(verdicts, "abc")
    wanted = {"fault", "score", "seconds_unavailable", "acked_lost_bytes", "in_stash_bytes", "detail"}
    assert wanted <= set(written["faults"][0])
    assert written["failover_s"]["all"] == {"n": 1, "p50": 11.0, "p95": 11.0, "max": 11.0}
    assert written["failover_s"]["F1-two"] == {"n": 0, "p50": None, "p95": None, "max": None}
    assert written["figures"]["elected_s"]["max"] == 10.0
    assert "1 of 1 survived" in table(verdicts)


def test_faults_are_chosen_by_name_or_id() -> None:
    """`F5` is all of its scenarios; a name that is no fault is refused, with those that are."""
    assert {fault.name for fault in catalogue.chosen("F5")} >= {"F5-two", "F5-three", "F5-dc"}
    assert [fault.name for fault in catalogue.chosen("F5-two, F2")] == ["F2", "F5-two"]
    assert len(catalogue.chosen("")) == len(catalogue.FAULTS)
    with pytest.raises(ValueError, match="F99"):
        catalogue.chosen("F99")


def test_every_fault_has_a_name_of_its_own() -> None:
    """Two lines of a report are never mistaken for each other."""
    names = [fault.name for fault in catalogue.FAULTS]
    assert len(names) == len(set(names))


def test_dns_has_moved_when_the_slowest_living_server_says_so() -> None:
    """What is heard after the lost owner is back says nothing about it any more."""
    seen = evidence()
    seen.moved = ("dead", "new")
    before, after = Resolved(112.0, ("dead", "new")), Resolved(119.0, ("new",))
    seen.names = {"n2": [before, after, Resolved(140.0, ("new", "dead"))]}
    assert judge("F1", "the owner dies", seen, Target()).figures["dns_s"] == 9.0
    seen.names["n3"] = [before]
    assert judge("F1", "the owner dies", seen, Target()).figures["dns_s"] is None
