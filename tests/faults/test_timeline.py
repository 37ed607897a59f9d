"""Times of the fault campaign: they flatter nobody."""

from __future__ import annotations

import pytest

from hybrid.lab.faults.evidence import Window
from hybrid.lab.faults.timeline import first_good_s, overlap_s, rpo_s, unavailable_s
from hybrid.lab.measures import Ack, Answered

GOOD, MISS, LATE = Answered(1.0, 1.1, True), Answered(2.0, 4.0, False), Answered(5.0, 8.0, True)
AGAIN = Answered(9.0, 9.5, True)


def test_a_page_is_away_from_the_first_miss_to_the_end_of_the_next_good_answer() -> None:
    """An answer after more than two seconds is a miss too; without a good one at the end it lasts to the end."""
    assert unavailable_s([GOOD, MISS, LATE, AGAIN]) == 7.5
    assert unavailable_s([GOOD, MISS, LATE]) == 6.0
    assert unavailable_s([GOOD, AGAIN]) == 0.0


def test_a_dead_node_need_not_answer() -> None:
    """While it is excused; afterwards it must."""
    assert unavailable_s([GOOD, MISS, AGAIN], [Window(1.5, 4.5)]) == 0.0
    assert unavailable_s([GOOD, MISS, LATE, AGAIN], [Window(1.5, 4.5)]) == 4.5


def test_the_first_good_answer_is_one_after_a_miss() -> None:
    """What was answered before anybody noticed the fault says nothing about the recovery."""
    assert first_good_s([GOOD, MISS, AGAIN], 0.5) == 9.0
    assert first_good_s([GOOD], 0.5) == 0.0
    assert first_good_s([GOOD, MISS], 0.5) is None
    assert first_good_s([GOOD], 1.05) is None


def ack(acked_s: float, claim: str) -> Ack:
    """A write under a claim."""
    return Ack(f"{acked_s}", "n1", acked_s - 0.1, acked_s, 1, claim)


@pytest.mark.parametrize(
    ("acks", "apart", "seconds"),
    [
        ([ack(1, "1,a"), ack(2, "1,a"), ack(3, "2,b"), ack(4, "2,b")], [], 0.0),
        ([ack(1, "1,a"), ack(2, "2,b"), ack(4, "1,a"), ack(5, "2,b")], [], 2.0),
        ([ack(1, "1,a"), ack(2, "2,b"), ack(4, "1,a"), ack(5, "2,b")], [Window(1.5, 4.5)], 0.0),
        ([ack(1, "1,a"), ack(2, "2,b"), ack(4, "1,a"), ack(5, "2,b")], [Window(1.5, 3.5)], 0.0),
        ([ack(4, "1,a"), ack(5, "2,b"), ack(6, "1,a"), ack(7, "2,b")], [Window(1.5, 3.5)], 1.0),
        ([ack(1, ""), ack(2, "2,b"), ack(3, "")], [], 0.0),
    ],
)
def test_two_writers_overlap_while_both_write_and_hear_each_other(
    acks: list[Ack], apart: list[Window], seconds: float
) -> None:
    """Two owners of two components are as they should be; one after the other is no overlap."""
    assert overlap_s(acks, apart) == seconds


def test_the_recovery_point_is_as_old_as_the_oldest_write_that_went_missing() -> None:
    """Only writes from before the fault count, and only those that the main line went on without."""
    acks = [ack(1, ""), ack(2, ""), ack(3, ""), ack(9, "")]
    assert rpo_s(acks, 5.0, ["1", "3"]) == 3.0
    assert rpo_s(acks, 5.0, ["1", "2", "3"]) == 0.0
