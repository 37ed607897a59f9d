"""How full a pool is, in levels, and what each means. Pure: from what a node publishes, so all nodes conclude the same.

| from | what happens there |
|---|---|
| 80 % | people are told |
| 90 % | no new copies come; old history goes twice as early |
| 95 % | no new sites, no copies of stashes; old history goes four times as early |
| 97 % | nothing is received any more; what is owned moves to where there is room; history goes eight times as early |

The reserve counts as taken: it is for what the node itself must do on a full pool (`hybrid.storage.reserved`).
"""

from __future__ import annotations

from enum import IntEnum


class Level(IntEnum):
    """The percentage from which on it holds."""

    ROOMY = 0
    FILLING = 80
    SCARCE = 90
    SHORT = 95
    FULL = 97


MEANS = {
    Level.FILLING: "free some space or add disks in time",
    Level.SCARCE: "no new copies come here and old history goes earlier; add disks, or move sites: hybrid site move",
    Level.SHORT: "no new sites or copies come here and old history goes much earlier; add disks, or move sites",
    Level.FULL: "nothing is received here and its sites move away; add disks, or delete what is not needed",
}
"""What people are told, by level."""
SHRINKS = {Level.ROOMY: 1.0, Level.FILLING: 1.0, Level.SCARCE: 0.5, Level.SHORT: 0.25, Level.FULL: 0.125}
"""By what the ages are multiplied to which history is kept. See `hybrid.grid.Grid.shrunk`."""


def percent(size_bytes: int, free_bytes: int) -> int:
    """How full it is, rounded up: 100 is full. A pool of unknown size is empty."""
    return 100 - 100 * free_bytes // size_bytes if size_bytes > 0 else 0


def level(size_bytes: int, free_bytes: int) -> Level:
    """The level of a pool. Of unknown size (its storage does not answer): `ROOMY`, other things are known of it."""
    taken = 100 * (size_bytes - free_bytes)
    if size_bytes <= 0 or taken < Level.FILLING * size_bytes:
        return Level.ROOMY
    return max(one for one in Level if taken >= one * size_bytes)
