"""Histories in their budgets, on pools in memory: what is thinned out, what never is, and what people hear."""

from __future__ import annotations

import msgspec

from hybrid.history import guids
from hybrid.model import HistoryThinned, Measured
from tests.replicator.test_replication import SITE, A, B, Tell, World, main_of

PIECE = 100_000
BUDGET = 10 * PIECE


async def written(world: World, count: int, seconds: float) -> None:
    """So many changes on a, each of which leaves a piece behind in history."""
    for number in range(count):
        world.nodes[A].pool.write(main_of(), "data", bytes([number % 256]) * PIECE)
        await world.wait(seconds)


def test_a_history_over_its_budget_loses_what_is_old_and_people_are_told(tell: Tell) -> None:
    """It comes down to its budget, though nothing of it would be old enough otherwise; the newest and bases stay."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        world.specs[SITE] = msgspec.structs.replace(
            world.specs[SITE], retention="all for 10h, daily for 30d", history_budget_bytes=BUDGET
        )
        world.publish()
        await written(world, 60, 60)
        sizes = [fact.history_bytes for fact in a.of(Measured) if isinstance(fact, Measured)]
        assert max(sizes) > BUDGET
        thinned = [fact for fact in a.of(HistoryThinned) if isinstance(fact, HistoryThinned)]
        assert thinned and thinned[0].site == SITE and thinned[0].budget_bytes == BUDGET
        await world.wait(3600)
        assert (await a.pool.dataset(main_of())).history_bytes <= BUDGET
        assert (await b.pool.dataset(main_of())).history_bytes <= BUDGET
        assert guids(a.replicator.history(SITE))[-1] == guids(b.replicator.history(SITE))[-1]

    tell(story)


def test_without_a_budget_all_that_was_asked_for_is_kept(tell: Tell) -> None:
    """The same changes, and nothing goes."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        world.specs[SITE] = msgspec.structs.replace(world.specs[SITE], retention="all for 10h, daily for 30d")
        world.publish()
        await written(world, 40, 60)
        await world.wait(1800)
        assert len(a.replicator.history(SITE)) == len(b.replicator.history(SITE)) == 40
        assert a.of(HistoryThinned) == []

    tell(story)


def test_a_base_that_a_server_needs_outlives_every_budget(tell: Tell) -> None:
    """However tight the budget, a server that was away still gets an increment."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        a.pool.write(main_of(), "data", b"base")
        await world.wait(20)
        base = guids(b.replicator.history(SITE))[-1]
        world.network.cut(A, B)
        world.down.add(B)
        world.specs[SITE] = msgspec.structs.replace(world.specs[SITE], history_budget_bytes=2 * PIECE)
        world.publish()
        await written(world, 60, 60)
        await world.wait(3600)
        assert base in guids(a.replicator.history(SITE))
        assert len(a.replicator.history(SITE)) < 20
        world.network.heal(A, B)
        world.down.clear()
        world.publish()
        await world.wait(30)
        assert guids(b.replicator.history(SITE))[-1] == guids(a.replicator.history(SITE))[-1]
        assert b.replicator.stashes(SITE) == ()

    tell(story)
