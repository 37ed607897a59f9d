"""A history as people read it: one moment of each minute, hour or day, with those that stand out. Pure."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from hybrid.history import History
from hybrid.model import Guid, Snapshot

Per = Literal["all", "age", "minute", "hour", "day"]
"""`age`: each minute of the last hour, each hour of the last day, each day before that."""
PERS: tuple[Per, ...] = ("all", "age", "minute", "hour", "day")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the list."""

    snapshot: Snapshot
    stands_for: int
    """Snapshots of the same time that have no line of their own, and this one."""


def collapsed(history: History, per: Per, alone: Set[Guid], now_s: float) -> list[Moment]:
    """
    The lines for `history` (oldest first), newest first.

    Args:
        alone: Snapshots that have a line of their own whatever their age.
    """
    if per == "all":
        return [Moment(snapshot, 1) for snapshot in reversed(history)]
    lines: list[Moment] = []
    last: tuple[str, int] | None = None
    for snapshot in reversed(history):
        bucket = _bucket(snapshot, per, now_s)
        if snapshot.guid in alone:
            lines.append(Moment(snapshot, 1))
            last = None
        elif bucket == last:
            lines[-1] = Moment(lines[-1].snapshot, lines[-1].stands_for + 1)
        else:
            lines.append(Moment(snapshot, 1))
            last = bucket
    return lines


def _bucket(snapshot: Snapshot, per: Per, now_s: float) -> tuple[str, int]:
    age_s = now_s - snapshot.created_at_s
    unit = ("minute" if age_s <= 3600 else "hour" if age_s <= 86400 else "day") if per == "age" else str(per)
    return unit, snapshot.created_at_s // _SECONDS[unit]
