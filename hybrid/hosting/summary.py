"""
What nodes that do not hold a site are told of its copies: coarse, so that it changes rarely however busy it is. Pure.

Those that hold it know better, from the heads themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

from hybrid.history import History
from hybrid.model import Guid, NodeId

USUAL_S = 60.0
"""A change that waits no longer than this (or two intervals of the site) for its first copy is as it should be."""


def late_s(lag_s: float | None, interval_s: float) -> float | None:
    """`lag_s` of a site with snapshots every `interval_s`: 0.0 while that is usual, else rounded down to a doubling."""
    if lag_s is None:
        return None
    usual_s = max(USUAL_S, 2 * interval_s)
    if lag_s <= usual_s:
        return 0.0
    step_s = usual_s
    while step_s * 2 <= lag_s:
        step_s *= 2
    return step_s


def safe_copies(history: History, acknowledged: Mapping[NodeId, Guid], interval_s: float) -> int:
    """
    How many nodes hold `history` but for what is usually under way.

    Args:
        history: The owner's main line, oldest first.
        acknowledged: The newest snapshot of it that each node said it holds.
        interval_s: Between two snapshots of the site.
    """
    if not history:
        return 0
    since_s = history[-1].created_at_s - max(USUAL_S, 2 * interval_s)
    enough = {history[-1].guid}
    for snapshot in reversed(history):
        enough.add(snapshot.guid)
        if snapshot.created_at_s <= since_s:
            break
    return sum(guid in enough for guid in acknowledged.values())
