"""
Decides which snapshots to forget. Pure.

Everything of the last hour stays, then the newest of each hour for a day, then the newest of each day for thirty days.
Kept whatever their age: the newest, those named by the caller (common bases with peers, origins of clones and stashes,
held ones), and those whose name is not ours: a person took them. Rule R11 of the ownership protocol.
"""

from __future__ import annotations

from collections.abc import Set
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
        history: Oldest first. A clock that jumped is allowed for: a snapshot counts as at least as new as all before
            it, so one "from the future" is kept, and so are those after it until time has caught up.
        kept: Guids never to be given back.
        now_s: Wall time, seconds since the epoch.

    Returns:
        Guids, oldest first. What is left gives nothing more for the same `now_s`.
    """
    latest = tuple(accumulate(history, _later))
    buckets = {_bucket(one, at.created_at_s, now_s): one.guid for one, at in zip(history, latest, strict=True)}
    stay = {guid for bucket, guid in buckets.items() if bucket is not None} | kept
    stay |= {one.guid for one in history if name_parts(one.name) == (0, 0)} | {one.guid for one in history[-1:]}
    stay |= {at.guid for one, at in zip(history, latest, strict=True) if one.guid in stay}
    return tuple(one.guid for one in history if one.guid not in stay)


def _later(one: Snapshot, other: Snapshot) -> Snapshot:
    return other if other.created_at_s > one.created_at_s else one


def _bucket(snapshot: Snapshot, at_s: int, now_s: float) -> tuple[str, int] | None:
    """Of each bucket the newest stays; `None` is the bucket of those too old for any."""
    age_s = now_s - at_s
    if age_s <= HOUR_S:
        return "each", snapshot.guid
    if age_s <= DAY_S:
        return "hour", at_s // HOUR_S
    return ("day", at_s // DAY_S) if age_s <= MONTH_S else None
