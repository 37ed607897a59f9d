"""What those who do not hold a site are told of its copies."""

from __future__ import annotations

import pytest

from hybrid.hosting.summary import late_s, safe_copies
from hybrid.model import Guid, NodeId, Snapshot

HISTORY = tuple(Snapshot(Guid(number), f"s{number}", 30 * number) for number in range(10))


@pytest.mark.parametrize(
    "lag_s, interval_s, told_s",
    [
        (None, 30.0, None),
        (0.0, 30.0, 0.0),
        (59.9, 30.0, 0.0),
        (60.1, 30.0, 60.0),
        (119.0, 30.0, 60.0),
        (500.0, 30.0, 480.0),
        (500.0, 300.0, 0.0),
        (700.0, 300.0, 600.0),
    ],
)
def test_lag_in_steps(lag_s: float | None, interval_s: float, told_s: float | None) -> None:
    """A site that is replicated as it should be is never news for all nodes; one that falls behind is, seldom."""
    assert late_s(lag_s, interval_s) == told_s


def test_a_copy_counts_while_it_is_as_near_as_usual() -> None:
    """Each snapshot makes every copy outdated for a moment: that is no loss of safety, a minute is."""
    held = {NodeId("b"): Guid(9), NodeId("c"): Guid(7), NodeId("d"): Guid(6)}
    assert safe_copies(HISTORY, held, 30.0) == 2
    assert safe_copies(HISTORY, held, 60.0) == 3


def test_a_change_after_a_long_rest_leaves_copies_safe() -> None:
    """A site that was idle for an hour and is written to keeps its copies in count until they are late."""
    history = (*HISTORY, Snapshot(Guid(10), "s10", 4000))
    assert safe_copies(history, {NodeId("b"): Guid(9), NodeId("c"): Guid(8)}, 30.0) == 1
    assert safe_copies((), {NodeId("b"): Guid(9)}, 30.0) == 0
