"""The checker of the fault campaign: it finds every way in which an acknowledged write can go missing."""

from __future__ import annotations

import pytest

from hybrid.lab.faults.checking import check
from hybrid.lab.faults.evidence import Branches
from hybrid.lab.measures import Ack


def ack(number: int, node: str = "n1") -> Ack:
    """A write of ten bytes."""
    return Ack(f"{node}-{number}", node, number, number + 0.1, 10, "1,a", number)


def test_each_write_counts_where_it_is() -> None:
    """On the main line, only in a stash, or nowhere: with numbers and bytes."""
    kept = check([ack(1), ack(2), ack(3), ack(4)], Branches(["n1-1", "n1-2"], {"s": ["n1-1", "n1-3"]}))
    assert (kept.acked, kept.on_main_line, kept.in_stash, kept.in_stash_bytes) == (4, 2, 1, 10)
    assert (kept.lost, kept.lost_bytes, kept.wrong) == (("n1-4",), 10, ())


@pytest.mark.parametrize(
    ("branches", "wrong"),
    [
        (Branches(["n1-1", "n1-2", "n1-1"], {}), "the main line holds n1-1 twice"),
        (Branches(["n1-2", "n1-1"], {}), "the main line holds n1-1 after n1-2"),
        (Branches(["n1-1", "n1-2"], {"s": ["n1-2", "n1-1"]}), "stash s holds n1-1 after n1-2"),
    ],
)
def test_a_branch_that_is_no_history_is_wrong(branches: Branches, wrong: str) -> None:
    """A write that is there twice, or one that stands before an older one of the same writer."""
    assert any(wrong in one for one in check([ack(1), ack(2)], branches).wrong)


def test_writers_may_overtake_each_other_and_unacknowledged_writes_may_be_there() -> None:
    """Order is promised to each writer, not between them; what was not acknowledged proves nothing."""
    kept = check([ack(1), ack(2, "n2")], Branches(["n2-2", "n9-7", "n1-1"], {}))
    assert (kept.lost, kept.wrong) == ((), ())
