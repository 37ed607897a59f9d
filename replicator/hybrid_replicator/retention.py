"""
Decides which snapshots to forget. Pure.

A grid says how much is kept (`hybrid.grid`). Kept whatever their age: the newest, those named by the caller (common
bases with peers, origins of clones and stashes, held ones), and those whose name is not ours: a person took them. Rule
R11 of the ownership protocol.
"""

from __future__ import annotations

from collections.abc import Set
from itertools import accumulate

from hybrid.grid import DEFAULT, Grid
from hybrid.history import History
from hybrid.model import Guid, Snapshot, name_parts


def forgettable(history: History, kept: Set[Guid], now_s: float, grid: Grid = DEFAULT) -> tuple[Guid, ...]:
    """
    The snapshots of one dataset that may be destroyed now.

    Args:
        history: Oldest first. A clock that jumped is allowed for, see `Grid.keeps`.
        kept: Guids never to be given back.
        now_s: Wall time, seconds since the epoch.
        grid: What is kept of it.

    Returns:
        Guids, oldest first. What is left gives nothing more for the same `now_s`.
    """
    stay = grid.keeps(history, now_s) | kept
    stay |= {one.guid for one in history if name_parts(one.name) == (0, 0)} | {one.guid for one in history[-1:]}
    stay |= {at.guid for one, at in zip(history, accumulate(history, _later), strict=True) if one.guid in stay}
    return tuple(one.guid for one in history if one.guid not in stay)


def _later(one: Snapshot, other: Snapshot) -> Snapshot:
    return other if other.created_at_s > one.created_at_s else one
