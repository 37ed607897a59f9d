"""What is kept for a peer is kept as long as that may need it, and no longer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from hybrid.model import Guid, NodeId, Snapshot
from hybrid.storage.memory import MemoryPool
from hybrid_replicator.holds import BaseHolds

DAY_S = 86400.0
PEER = NodeId("n-bbbbbbbbbbbbbbbb")
MAIN = "sites/s-x"


@pytest.fixture
def pool(run: Callable[[Any], Any]) -> MemoryPool:
    """A site with three snapshots, the first held for the peer by an earlier process."""
    made = MemoryPool(seed="a")

    async def furnish() -> None:
        await made.prepare()
        await made.create(MAIN)
        for name in "abc":
            await made.snapshot(MAIN, name)
        await made.hold(MAIN, (await made.history(MAIN))[0].guid, f"hyb-base-{PEER}")

    run(furnish())
    return made


@pytest.mark.parametrize(
    ("members", "age_s", "cleared"),
    [
        ({PEER}, 0.9 * DAY_S, False),
        ({PEER}, 29.9 * DAY_S, False),
        ({PEER}, 30.1 * DAY_S, True),
        (set(), 0.9 * DAY_S, False),
        (set(), 1.1 * DAY_S, True),
    ],
)
def test_how_long_a_silent_peer_is_waited_for(
    pool: MemoryPool, clock: Clock, run: Callable[[Any], Any], members: set[NodeId], age_s: float, cleared: bool
) -> None:
    """A member of the cluster for thirty days, whatever happened to this process; one that left it, for a day."""
    holds = BaseHolds(clock, pool)
    holds.follow(members)
    clock.advance(age_s)
    assert run(holds.clear(MAIN, run(pool.history(MAIN))[0].guid)) == cleared


def test_a_hold_follows_what_the_peer_says(pool: MemoryPool, clock: Clock, run: Callable[[Any], Any]) -> None:
    """The newest snapshot in common is held; older news and strange heads move nothing."""
    holds, history = BaseHolds(clock, pool), run(pool.history(MAIN))

    def held() -> list[bool]:
        return [bool(run(pool.holds(MAIN, snapshot.guid))) for snapshot in history]

    holds.heard(MAIN, history, PEER, (history[1].guid,))
    run(holds.settle())
    assert held() == [True, True, False]
    assert run(holds.clear(MAIN, history[0].guid))
    for head in (history[0].guid, Guid(7)):
        holds.heard(MAIN, history, PEER, (head,))
    run(holds.settle())
    assert held() == [False, True, False]
    holds.heard(MAIN, history, PEER, (history[2].guid,))
    run(holds.settle())
    assert held() == [False, False, True]


def test_a_hold_that_is_no_peers_stays(pool: MemoryPool, clock: Clock, run: Callable[[Any], Any]) -> None:
    """What a person held is never let go."""
    history: tuple[Snapshot, ...] = run(pool.history(MAIN))
    run(pool.hold(MAIN, history[1].guid, "by-hand"))
    holds = BaseHolds(clock, pool)
    clock.advance(100 * DAY_S)
    assert not run(holds.clear(MAIN, history[1].guid))
    assert run(pool.holds(MAIN, history[1].guid)) == {"by-hand"}
