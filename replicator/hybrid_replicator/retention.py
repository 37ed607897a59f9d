"""
Decides which snapshots to forget. Pure.

Everything of the last hour stays, then the newest of each hour for a day, then the newest of each day for thirty days.
Kept whatever their age: the newest, those named by the caller (common bases with peers, origins of clones and stashes,
held ones), and those whose name is not ours: a person took them. Rule R11 of the ownership protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from itertools import accumulate

from hybrid.history import History
from hybrid.model import Guid, Snapshot, name_parts

HOUR_S = 3600
DAY_S = 24 * HOUR_S
MONTH_S = 30 * DAY_S


def forgettable(history: History, kept: Set[Guid], now_s: float) -> tuple[Guid, ...]:
    """
    The snapshots of one dataset that may be destroyed now.

    Args:
        history: Oldest first. A clock that jumped is allowed for: a snapshot counts as at least as new as the one
            before it, so one "from the future" is kept, and so are those after it until time has caught up.
        kept: Guids never to be given back.
        now_s: Wall time, seconds since the epoch.

    Returns:
        Guids, oldest first. What is left gives nothing more for the same `now_s`.
    """
    newest_of_bucket = dict(_bucketed(history, now_s))
    stay = {snapshot.guid for bucket, snapshot in newest_of_bucket.items() if bucket is not None}
    stay |= {snapshot.guid for snapshot in history[-1:]} | kept
    return tuple(
        snapshot.guid for snapshot in history if snapshot.guid not in stay and name_parts(snapshot.name) != (0, 0)
    )


def _bucketed(history: History, now_s: float) -> Iterator[tuple[tuple[str, int] | None, Snapshot]]:
    """Each snapshot with its bucket, oldest first; `None` is the bucket of those too old for any."""
    times = accumulate((snapshot.created_at_s for snapshot in history), max)
    for snapshot, at_s in zip(history, times, strict=True):
        yield _bucket(snapshot, at_s, now_s), snapshot


def _bucket(snapshot: Snapshot, at_s: int, now_s: float) -> tuple[str, int] | None:
    age_s = now_s - at_s
    if age_s <= HOUR_S:
        return "each", snapshot.guid
    if age_s <= DAY_S:
        return "hour", at_s // HOUR_S
    return ("day", at_s // DAY_S) if age_s <= MONTH_S else None
