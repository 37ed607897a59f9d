"""Thinning a history out takes a while, in which news may come of what others need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from hybrid.grid import parse
from hybrid.model import Claim, Guid, NodeId, snapshot_name
from hybrid.storage.memory import MemoryPool
from hybrid_replicator.forgetting import Forgetting
from hybrid_replicator.holds import BaseHolds
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.retention import forgettable

MAIN = "sites/s-x"
DAY_S = 86400
GRID = parse("all for 1h")
CLAIM = Claim(1, NodeId("n-aaaaaaaaaaaaaaaa"))


def test_what_became_needed_meanwhile_stays(clock: Clock, run: Callable[[Any], Any]) -> None:
    """A node that was rolled back tells of it when half of a round is over: where both lines meet is still there."""
    pool = MemoryPool(seed="a")
    index = HistoryIndex(pool)
    asked = 0

    async def furnish() -> None:
        await pool.prepare()
        await pool.create(MAIN)
        for number in range(6):
            await pool.snapshot(MAIN, snapshot_name(CLAIM, number))
        await index.refresh(MAIN)

    run(furnish())
    history = run(pool.history(MAIN))
    base = history[3].guid

    def kept() -> set[Guid]:
        nonlocal asked
        asked += 1
        return {base} if asked > 3 else set()

    later_s = history[0].created_at_s + DAY_S
    forgetting = Forgetting(pool, index, BaseHolds(clock, pool), lambda: float(later_s))
    going = forgettable(history, frozenset(), float(later_s), GRID)
    assert base in going
    assert run(forgetting.tidy(MAIN, kept, GRID)) == len(going) - 1
    assert {one.guid for one in history} - set(going) | {base} == {one.guid for one in run(pool.history(MAIN))}
