"""Looking at many sites: what it costs the pool, and whose trouble is whose."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hybrid.errors import OutOfSpace, StorageSick
from hybrid.model import SiteId, Snapshot, SnapshotFailed, Snapshotted
from hybrid.storage.memory import MemoryPool
from hybrid_replicator.rounds import AT_ONCE
from tests.replicator.conftest import Run
from tests.replicator.test_replication import A, Node, World, main_of

SITES = [SiteId(f"s-{number:026d}") for number in range(50)]


class Counting(MemoryPool):
    """Notes what it is asked, and takes a while."""

    def __init__(self, world: World) -> None:
        super().__init__(world.wall_s, seed="counting")
        self._world = world
        self.asked: list[tuple[float, int]] = []
        self.looks_s = self.takes_s = 0.0
        self.taking = self.most = 0

    async def changed(self, names: Sequence[str]) -> frozenset[str]:
        """See `hybrid.ports.Pool`."""
        self.asked.append((self._world.clock.seconds(), len(names)))
        await self._world.wait(self.looks_s)
        return await super().changed(names)

    async def snapshot(self, name: str, snapshot_name: str) -> Snapshot:
        """See `hybrid.ports.Pool`."""
        self.taking += 1
        self.most = max(self.most, self.taking)
        await self._world.wait(self.takes_s)
        self.taking -= 1
        return await super().snapshot(name, snapshot_name)


def told_of(node: Node, kind: type[Snapshotted] | type[SnapshotFailed]) -> list[SiteId]:
    """The sites of its facts of one kind, in order."""
    return [fact.site for fact in node.facts if isinstance(fact, kind)]


async def settled(world: World) -> tuple[Node, Counting]:
    """A node that owns all the sites, each snapshotted once."""
    pool = Counting(world)
    world.nodes[A] = node = Node(world, A, pool)
    await node.start()
    for site in SITES:
        await world.site(node, site=site)
    await world.wait(3.0)
    assert sorted(told_of(node, Snapshotted)) == SITES
    return node, pool


def test_all_that_are_due_are_one_question(clock: Clock, run: Run[bool]) -> None:
    """A thousand sites that do not change cost the pool one call every few seconds."""

    async def story() -> bool:
        world = World(clock)
        node, pool = await settled(world)
        pool.asked.clear()
        await world.wait(25.5)
        assert [count for _, count in pool.asked] == [len(SITES)] * 5
        await node.stop()
        return True

    assert run(story())


def test_what_changed_is_snapshotted_a_few_at_a_time(clock: Clock, run: Run[bool]) -> None:
    """Many changes at once neither overrun the pool nor wait for each other; the others are left alone."""

    async def story() -> bool:
        world = World(clock)
        node, pool = await settled(world)
        node.facts.clear()
        pool.takes_s, pool.most = 0.5, 0
        for site in SITES[:20]:
            pool.write(main_of(site), "data", b"new")
        await world.wait(9.0)
        assert set(told_of(node, Snapshotted)) == set(SITES[:20])
        assert len(told_of(node, Snapshotted)) == 20
        assert pool.most == AT_ONCE
        await node.stop()
        return True

    assert run(story())


def test_a_pool_that_is_slow_to_tell_is_asked_less_often(clock: Clock, run: Run[bool]) -> None:
    """Looking is a tenth of the time at most, until the promise of thirty seconds would suffer."""

    async def story() -> bool:
        world = World(clock)
        node, pool = await settled(world)
        pool.looks_s = 0.8
        await world.wait(20.0)
        pool.asked.clear()
        await world.wait(40.0)
        assert 4 <= len(pool.asked) <= 6
        await node.stop()
        return True

    assert run(story())


def test_one_site_that_cannot_be_snapshotted_is_its_own_trouble(clock: Clock, run: Run[bool]) -> None:
    """The others are snapshotted on time; it is tried again, and said."""

    async def story() -> bool:
        world = World(clock)
        node, pool = await settled(world)
        node.facts.clear()
        pool.fail_next("snapshot", OutOfSpace("the pool is full"))
        for site in SITES[:3]:
            pool.write(main_of(site), "data", b"new")
        await world.wait(8.0)
        assert told_of(node, SnapshotFailed) == [SITES[0]]
        assert told_of(node, Snapshotted) == [SITES[1], SITES[2], SITES[0]]
        await node.stop()
        return True

    assert run(story())


def test_a_pool_that_does_not_answer_is_said_of_every_site_and_asked_again(clock: Clock, run: Run[bool]) -> None:
    """Nobody takes silence for "nothing changed"."""

    async def story() -> bool:
        world = World(clock)
        node, pool = await settled(world)
        node.facts.clear()
        pool.fail_next("changed", StorageSick("the pool does not answer"))
        pool.write(main_of(SITES[7]), "data", b"new")
        await world.wait(8.0)
        assert sorted(told_of(node, SnapshotFailed)) == SITES
        assert told_of(node, Snapshotted) == [SITES[7]]
        await node.stop()
        return True

    assert run(story())


def test_a_site_that_is_being_opened_or_closed_does_not_count_as_looked_at(clock: Clock, run: Run[bool]) -> None:
    """An answer that came while somebody worked on the site alone says nothing about it."""

    async def story() -> bool:
        world = World(clock)
        node, pool = await settled(world)
        await world.wait(5.0)
        entered, leave = Deferred[None](), Deferred[None]()

        async def work() -> None:
            async with node.replicator.exclusive(SITES[0]):
                entered.callback(None)
                await leave
                pool.write(main_of(SITES[0]), "data", b"written meanwhile")

        pool.looks_s = 1.0
        before = len(pool.asked)
        working = Deferred.fromCoroutine(work())
        await entered
        while len(pool.asked) == before:
            await world.wait(0.5)
        await world.wait(1.5)
        leave.callback(None)
        await working
        node.facts.clear()
        await world.wait(4.0)
        assert told_of(node, Snapshotted) == [SITES[0]]
        await node.stop()
        return True

    assert run(story())
