"""Histories that outlive the process: what is believed at a start is true, however the last life ended."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hybrid.errors import HybridError, OutOfSpace
from hybrid.model import Snapshot
from hybrid.storage.memory import MemoryPool
from hybrid.storage.witnessed import witnessed
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.kept import REST_S, Kept
from tests.replicator.conftest import Run

ONE, TWO = "sites/s-one", "sites/s-two"


class Shelf:
    """What is on disk."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.writes = 0

    def histories(self) -> dict[str, bytes]:
        """See `hybrid_replicator.kept.Shelf`."""
        return dict(self.records)

    def keep_histories(self, records: Mapping[str, bytes]) -> None:
        """See `hybrid_replicator.kept.Shelf`."""
        self.records |= records
        self.writes += 1

    def drop_histories(self, datasets: Iterable[str]) -> None:
        """See `hybrid_replicator.kept.Shelf`."""
        for dataset in datasets:
            self.records.pop(dataset, None)
        self.writes += 1


class Counting(MemoryPool):
    """Counts how many histories are read."""

    reads = 0

    async def history(self, name: str) -> tuple[Snapshot, ...]:
        """See `hybrid.ports.Pool`."""
        self.reads += 1
        return await super().history(name)


class Life:
    """From one start to the next."""

    def __init__(self, disk: MemoryPool, shelf: Shelf, clock: Clock) -> None:
        self.kept = Kept(shelf, clock.seconds)
        self.pool = witnessed(disk, self.kept)
        self.index = HistoryIndex(self.pool, self.kept)

    async def snapshot(self, dataset: str, name: str) -> Snapshot:
        """As the replicator does."""
        taken = await self.pool.snapshot(dataset, name)
        self.index.took(dataset, taken)
        return taken


async def furnished(disk: MemoryPool, shelf: Shelf, clock: Clock) -> Life:
    """Two sites with a snapshot each, written down."""
    await disk.prepare()
    life = Life(disk, shelf, clock)
    await life.index.load()
    for dataset in (ONE, TWO):
        await life.pool.create(dataset)
        await life.snapshot(dataset, "a")
    clock.advance(REST_S)
    assert life.index.settle() == 2
    return life


def test_a_restart_reads_only_what_had_not_rested(clock: Clock, run: Run[bool]) -> None:
    """A node with thousands of sites is back in a moment; what was at work when it died is read from the pool."""

    async def story() -> bool:
        disk, shelf = Counting(), Shelf()
        life = await furnished(disk, shelf, clock)
        await life.snapshot(TWO, "b")
        disk.reads = 0
        again = Life(disk, shelf, clock)
        await again.index.load()
        assert disk.reads == 1
        assert {name: again.index.history(name) for name in (ONE, TWO)} == {
            name: await disk.history(name) for name in (ONE, TWO)
        }
        return True

    assert run(story())


def test_a_doubt_is_on_disk_before_the_change(clock: Clock, run: Run[bool]) -> None:
    """A power cut in the middle of a snapshot leaves nothing that is not so."""

    async def story() -> bool:
        disk, shelf = MemoryPool(), Shelf()
        life = await furnished(disk, shelf, clock)
        stood: list[bool] = []

        async def look() -> None:
            stood.append(ONE in shelf.records)

        for call in ("snapshot", "destroy_snapshot", "rename"):
            disk.before(call, look)
        taken = await life.snapshot(ONE, "b")
        await life.pool.destroy_snapshot(ONE, taken.guid)
        await life.pool.rename(ONE, "trash/s-one")
        assert stood == [False] * 3
        assert TWO in shelf.records
        return True

    assert run(story())


def test_what_failed_is_not_written_down_before_it_was_read_again(clock: Clock, run: Run[bool]) -> None:
    """An error may come after the deed."""

    async def story() -> bool:
        disk, shelf = MemoryPool(), Shelf()
        life = await furnished(disk, shelf, clock)
        disk.fail_next("snapshot", OutOfSpace("full"))
        with pytest.raises(OutOfSpace):
            await life.snapshot(ONE, "b")
        clock.advance(REST_S)
        assert life.index.settle() == 0
        await life.index.reread(ONE)
        assert life.index.settle() == 1
        return True

    assert run(story())


def test_what_was_read_while_it_changed_is_read_again(clock: Clock, run: Run[bool]) -> None:
    """Of two calls at once nobody knows which saw what."""

    async def story() -> bool:
        disk, shelf = MemoryPool(), Shelf()
        life = await furnished(disk, shelf, clock)
        waiting: Deferred[None] = Deferred()

        async def wait() -> None:
            await waiting

        disk.before("history", wait)
        reading = Deferred.fromCoroutine(life.index.reread(ONE))
        await life.snapshot(ONE, "b")
        waiting.callback(None)
        await reading
        clock.advance(REST_S)
        assert life.index.settle() == 0
        return True

    assert run(story())


def test_changes_by_hand_are_found(clock: Clock, run: Run[bool]) -> None:
    """Somebody made a snapshot while the node was down: it is noticed one site after another, and told."""

    async def story() -> bool:
        disk, shelf = MemoryPool(), Shelf()
        await furnished(disk, shelf, clock)
        await disk.snapshot(ONE, "by-hand")
        again = Life(disk, shelf, clock)
        await again.index.load()
        assert [one.name for one in again.index.history(ONE)] == ["a"]
        for _ in range(3):
            await again.index.verify_next()
        assert [one.name for one in again.index.history(ONE)] == ["a", "by-hand"]
        assert ONE not in shelf.records
        return True

    assert run(story())


def test_what_cannot_be_read_and_what_is_gone(clock: Clock, run: Run[bool]) -> None:
    """A broken record costs one look at the pool; one of a dataset that is gone is dropped."""

    async def story() -> bool:
        disk, shelf = MemoryPool(), Shelf()
        await furnished(disk, shelf, clock)
        shelf.records[ONE] = b"broken"
        await disk.destroy(TWO, with_history=True)
        again = Life(disk, shelf, clock)
        await again.index.load()
        assert again.index.history(ONE) == await disk.history(ONE)
        assert TWO not in again.index
        assert TWO not in shelf.records
        return True

    assert run(story())


Op = Callable[[Life, random.Random], Awaitable[object]]


async def _snapshot(life: Life, chance: random.Random) -> object:
    return await life.snapshot(_any(life, chance), f"x{chance.random()}")


async def _destroy_snapshot(life: Life, chance: random.Random) -> None:
    name = _any(life, chance)
    history = life.index.history(name)
    if history:
        guid = chance.choice(history).guid
        await life.pool.destroy_snapshot(name, guid)
        life.index.dropped(name, guid)


async def _set_aside(life: Life, chance: random.Random) -> None:
    """As a stash does: the line is renamed, and a clone of some moment of it takes its place and is promoted."""
    name = _any(life, chance)
    history = life.index.history(name)
    if name.startswith("sites/") and history:
        aside = name.replace("sites/", "stash/") + f".{chance.randrange(10**9)}"
        await life.pool.rename(name, aside)
        await life.pool.clone(aside, chance.choice(history).guid, name)
        await life.pool.promote(name)
        await _refresh(life, [name, aside])


async def _refresh(life: Life, names: Sequence[str]) -> None:
    for name in names:
        await life.index.refresh(name)


async def _stream(life: Life, chance: random.Random) -> None:
    name, copy = _any(life, chance), f"sites/s-{chance.randrange(10**9)}"
    history = life.index.history(name)
    if history:
        source, sink = await life.pool.send(name, history[0].guid, None), await life.pool.receive(copy)
        while data := await source.read():
            await sink.write(data)
        await sink.finish()
        await _refresh(life, [copy])


def _any(life: Life, chance: random.Random) -> str:
    return chance.choice(sorted(name for name in (ONE, TWO, *_names(life)) if name in life.index))


def _names(life: Life) -> list[str]:
    return [f"sites/{site}" for site in life.index.sites()] + [f"stash/{one.id}" for one in life.index.all_stashes()]


OPS: tuple[Op, ...] = (_snapshot, _destroy_snapshot, _set_aside, _stream)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_was_done_what_stands_is_true(clock: Clock, run: Run[bool], seed: int) -> None:
    """After each call that may be the last one of this life, all that a next one would believe is as the pool says."""
    chance = random.Random(seed)

    async def story() -> bool:
        disk, shelf = MemoryPool(seed=str(seed)), Shelf()
        life = await furnished(disk, shelf, clock)

        async def check() -> None:
            for name, history in Kept(shelf_copy(shelf), clock.seconds).read().items():
                assert history == tuple(moment.snapshot for moment in disk._volume(name).moments), name

        for call in ("snapshot", "destroy_snapshot", "rename", "clone", "promote", "receive"):
            for _ in range(200):
                disk.before(call, check)
        for _ in range(60):
            try:
                await chance.choice(OPS)(life, chance)
            except HybridError:
                pass
            await check()
            clock.advance(chance.choice((1.0, REST_S)))
            life.index.settle()
            await check()
            if chance.random() < 0.1:
                life = Life(disk, shelf, clock)
                await life.index.load()
        assert shelf.writes > 10
        return True

    assert run(story())


def shelf_copy(shelf: Shelf) -> Shelf:
    """The same records, for one who only reads."""
    copy = Shelf()
    copy.records = dict(shelf.records)
    return copy
