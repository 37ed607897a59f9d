"""History is set aside and brought back; nothing is ever lost, whenever a crash happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar, cast

import msgspec
import pytest
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import Clock

from hybrid.errors import Busy, Conflict, NoSuchDataset, NoSuchSnapshot, StorageSick
from hybrid.model import Claim, Fact, Guid, NodeId, SiteId, SiteSpec, Stash, Stashed, Version
from hybrid.ports import Pool
from hybrid.storage.memory import MemoryPool
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.names import JOURNAL, STASH_TAG
from hybrid_replicator.snapshots import Snapshots
from hybrid_replicator.stash import Stashes

T = TypeVar("T")
Run = Callable[[Coroutine[object, object, object]], object]
ME = NodeId("n-abcdefgh23456789")
SITE = SiteId("s-abcdefghijklmnopqrstuvwxyz")
MAIN = f"sites/{SITE}"
CLAIM = Claim(4, ME)
SPEC = SiteSpec(
    id=SITE, version=Version(4, 1), name="shop", domains=("shop.example",), image="php@1", number=7, quota_bytes=10**6
)
PROPERTIES = {"spec": msgspec.json.encode(SPEC).decode(), "claim": str(CLAIM), "seen": str(CLAIM), "custom": "kept"}
MUTATING = {"create", "clone", "snapshot", "snapshot_if_changed", "rename", "promote"}
MUTATING |= {"set_properties", "set_readonly", "set_quota", "set_record_size", "hold", "release"}


class Crash(BaseException):
    """The node lost power."""


class CrashingPool:
    """A pool whose node loses power right after the n-th change, or right before it."""

    def __init__(self, pool: MemoryPool, changes_left: int) -> None:
        self.pool, self.changes_left = pool, changes_left

    def __getattr__(self, name: str) -> object:
        attribute = getattr(self.pool, name)
        return self._counted(attribute) if name in MUTATING else attribute

    def _counted(self, call: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        async def counted(*arguments: object, **named: object) -> T:
            if self.changes_left <= 0:
                raise Crash
            self.changes_left -= 1
            result = await call(*arguments, **named)
            if self.changes_left <= 0:
                raise Crash
            return result

        return counted


async def nobody_looks(site: SiteId) -> None:
    """Nothing is open that would have to be shut."""


class Node:
    """The stashes of one node on one pool, as after a start."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self.pool, self.facts = pool, list[Fact]()
        self.index, self.writing = HistoryIndex(pool), DeferredLock()
        self.snapshots = Snapshots(pool, self.index, ME)
        self.stashes = Stashes(
            clock,
            pool,
            self.index,
            self.snapshots,
            self.facts.append,
            ME,
            lambda: 1000.0 + clock.seconds(),
            nobody_looks,
            self.entered,
        )

    @asynccontextmanager
    async def entered(self, site: SiteId) -> AsyncIterator[None]:
        """See `hybrid_replicator.ports.Fences.writing`."""
        async with self.writing:
            yield

    async def start(self) -> None:
        """What the service does at start."""
        await self.stashes.recover()
        await self.index.load()

    async def guids(self) -> list[Guid]:
        """The main line's snapshots."""
        return [snapshot.guid for snapshot in await self.pool.history(MAIN)]


async def furnish(pool: MemoryPool) -> list[Guid]:
    """A site cloned from an image, with five snapshots and one change that is in none."""
    await pool.prepare()
    await pool.create("images/php-1")
    pool.write("images/php-1", "bin/php", b"elf")
    image = await pool.snapshot("images/php-1", "image")
    await pool.clone("images/php-1", image.guid, MAIN, PROPERTIES)
    guids = []
    for number in range(1, 6):
        pool.write(MAIN, "data", b"%d" % number)
        guids.append((await pool.snapshot(MAIN, f"hyb-000004-abcdefgh-{number:07d}")).guid)
    pool.write(MAIN, "data", b"unsaved")
    return guids


async def furnished(clock: Clock) -> tuple[MemoryPool, Node, list[Guid]]:
    """A started node on such a pool."""
    pool = MemoryPool(lambda: 1000.0 + clock.seconds(), seed="a")
    guids = await furnish(pool)
    node = Node(pool, clock)
    await node.start()
    return pool, node, guids


async def graph(pool: MemoryPool) -> dict[str, object]:
    """Everything that matters of a pool, for comparison: histories with contents, origins, properties, holds."""
    found: dict[str, object] = {}
    for dataset in await pool.datasets():
        history = await pool.history(dataset.name)
        found[dataset.name] = (
            [(one.guid, pool.read(dataset.name, "data", one.guid)) for one in history if "images" not in dataset.name],
            dataset.origin,
            {key: value for key, value in dataset.properties.items() if key not in ("claim", "stashed-at")},
            dataset.readonly,
            [sorted(await pool.holds(dataset.name, one.guid)) for one in history],
        )
    return found


def test_stash_cuts_the_main_line_and_keeps_the_rest(clock: Clock, run: Run) -> None:
    """After a rollback the site is as it was, and everything newer is kept beside it, also what was in no snapshot."""

    async def story() -> None:
        pool, node, guids = await furnished(clock)
        stash = await node.stashes.stash(SITE, guids[1], "rollback")
        assert await node.guids() == guids[:2]
        assert pool.read(MAIN, "data") == b"2"
        aside = f"stash/{stash.id}"
        assert [snapshot.guid for snapshot in await pool.history(aside)] == [*guids[2:], stash.head]
        assert pool.read(aside, "data", stash.head) == b"unsaved"
        assert stash.id == f"{SITE}.000004.abcdefgh.{guids[1]:016x}"[: len(stash.id)]
        assert (stash.base, stash.why) == (guids[1], "rollback")
        assert node.facts == [Stashed(stash)]
        assert node.index.stashes(SITE) == (stash,)
        assert await pool.holds(aside, stash.head) == {STASH_TAG}
        main = await pool.dataset(MAIN)
        assert (main.properties, main.readonly, main.origin) == (PROPERTIES, True, (await pool.dataset(MAIN)).origin)
        assert main.origin is not None and main.origin[0] == "images/php-1"
        assert (await pool.dataset(JOURNAL)).properties == {}

    run(story())


def test_undo_swaps_and_undo_of_undo_swaps_back(clock: Clock, run: Run) -> None:
    """Whoever regrets a rollback gets everything back, and may regret that too."""

    async def story() -> None:
        pool, node, guids = await furnished(clock)
        first = await node.stashes.stash(SITE, guids[1], "rollback")
        await pool.set_readonly(MAIN, False)
        pool.write(MAIN, "data", b"after the rollback")
        clock.advance(1)
        second = await node.stashes.unstash(first.id, "undo")
        assert await node.guids() == [*guids, first.head]
        assert pool.read(MAIN, "data") == b"unsaved"
        assert (second.base, second.why) == (guids[1], "undo")
        assert node.index.stashes(SITE) == (second,)
        assert await pool.holds(MAIN, first.head) == frozenset()
        assert (await pool.dataset(MAIN)).properties == PROPERTIES
        clock.advance(1)
        third = await node.stashes.unstash(second.id, "undo")
        assert await node.guids() == [*guids[:2], second.head]
        assert pool.read(MAIN, "data") == b"after the rollback"
        assert third.head == first.head and third.base == guids[1]

    run(story())


def test_undo_right_after_a_rollback_leaves_something_to_go_back_to(clock: Clock, run: Run) -> None:
    """Even when nothing was written in between, the undo itself can be undone."""

    async def story() -> None:
        _, node, guids = await furnished(clock)
        first = await node.stashes.stash(SITE, guids[1], "rollback")
        second = await node.stashes.unstash(first.id, "undo")
        assert await node.guids() == [*guids, first.head]
        await node.stashes.unstash(second.id, "undo")
        assert await node.guids() == [*guids[:2], second.head]

    run(story())


def test_stashes_of_stashes_come_back_whole(clock: Clock, run: Run) -> None:
    """Rolled back twice, further each time, then the first rollback undone: its whole past is there again."""

    async def story() -> None:
        pool, node, guids = await furnished(clock)
        first = await node.stashes.stash(SITE, guids[3], "rollback")
        clock.advance(1)
        second = await node.stashes.stash(SITE, guids[0], "rollback")
        assert [stash.id for stash in node.index.stashes(SITE)] == [first.id, second.id]
        assert await node.guids() == guids[:1]
        await node.stashes.unstash(first.id, "undo")
        assert await node.guids() == [*guids, first.head]
        origin = (await pool.dataset(MAIN)).origin
        assert origin is not None and origin[0] == "images/php-1"
        clock.advance(1)
        await node.stashes.unstash(second.id, "undo")
        assert await node.guids() == guids[:4]

    run(story())


def test_stash_of_everything_leaves_no_main_line(clock: Clock, run: Run) -> None:
    """A line with nothing in common with the owner's is kept whole, as a stash."""

    async def story() -> None:
        pool, node, guids = await furnished(clock)
        stash = await node.stashes.stash(SITE, None, "conflict")
        assert stash.base is None and stash.id.endswith(".none")
        assert node.index.history(MAIN) == ()
        with pytest.raises(NoSuchDataset):
            await pool.dataset(MAIN)
        assert [one.guid for one in await pool.history(f"stash/{stash.id}")] == [*guids, stash.head]

    run(story())


def test_refusals_change_nothing(clock: Clock, run: Run) -> None:
    """What cannot be done says why, and leaves no half-done work behind."""

    async def story() -> None:
        pool, node, guids = await furnished(clock)
        with pytest.raises(NoSuchSnapshot):
            await node.stashes.stash(SITE, Guid(5), "rollback")
        head = (await node.guids())[-1]
        with pytest.raises(Conflict, match="nothing"):
            await node.stashes.stash(SITE, head, "rollback")
        with pytest.raises(NoSuchDataset):
            await node.stashes.unstash(f"{SITE}.000001.abcdefgh.00000000", "undo")
        await pool.mount(MAIN, "/somewhere")
        with pytest.raises(Busy):
            await node.stashes.stash(SITE, guids[0], "rollback")
        assert (await pool.dataset(JOURNAL)).properties == {}
        assert await node.guids() == [*guids, head]
        assert node.stashes.unfinished == set()

    run(story())


def test_a_name_on_both_sides_is_seen_before_anything_is_begun(clock: Clock, run: Run) -> None:
    """Snapshots that a person named alike on both lines do not leave the site without a main line."""

    async def story() -> None:
        pool, node, guids = await furnished(clock)
        stash = await node.stashes.stash(SITE, guids[1], "rollback")
        await pool.snapshot(f"stash/{stash.id}", "hyb-000004-abcdefgh-0000001")
        with pytest.raises(Conflict, match="both sides"):
            await node.stashes.unstash(stash.id, "undo")
        assert await node.guids() == guids[:2]
        assert (await pool.dataset(JOURNAL)).properties == {}

    run(story())


def test_storage_that_fails_half_way_is_finished_later(clock: Clock, run: Run) -> None:
    """A pool that stops answering in the middle leaves a site that recovers by itself."""

    async def story() -> None:
        pool, node, guids = await furnished(clock)
        pool.fail_next("promote", StorageSick("the pool does not answer"))
        with pytest.raises(StorageSick):
            await node.stashes.stash(SITE, guids[1], "rollback")
        assert node.stashes.unfinished == {SITE}
        await node.stashes.finish(SITE)
        assert node.stashes.unfinished == set()
        assert await node.guids() == guids[:2]
        assert len(node.index.stashes(SITE)) == 1

    run(story())


def test_a_stash_made_by_failing_storage_is_known(clock: Clock, run: Run) -> None:
    """Whichever call fails, once it was finished the stash is in the index: one that is not is given to nobody."""

    async def attempt(at: int) -> bool:
        """Whether call number `at` came to fail."""
        pool, node, guids = await furnished(clock)
        calls = 0

        async def fail() -> None:
            nonlocal calls
            calls += 1
            if calls == at:
                raise StorageSick("the pool does not answer")

        pool.before_each("*", fail)
        try:
            await node.stashes.stash(SITE, guids[1], "rollback")
        except StorageSick:
            pool.before_each("*", None)
            await node.stashes.finish(SITE)
        pool.before_each("*", None)
        aside = {dataset.name for dataset in await pool.datasets() if dataset.name.startswith(f"stash/{SITE}.")}
        assert {f"stash/{stash.id}" for stash in node.index.stashes(SITE)} == aside, f"after call {at}"
        return calls >= at

    async def story() -> None:
        at = 1
        while await attempt(at):
            at += 1
        assert at > 20

    run(story())


async def rolled_back(node: Node, guids: list[Guid]) -> Stash:
    """One rollback."""
    return await node.stashes.stash(SITE, guids[1], "rollback")


async def undone(node: Node, guids: list[Guid]) -> Stash:
    """The undo of the rollback that stands."""
    return await node.stashes.unstash(node.index.stashes(SITE)[0].id, "undo")


async def all_aside(node: Node, guids: list[Guid]) -> Stash:
    """Nothing in common."""
    return await node.stashes.stash(SITE, None, "conflict")


@pytest.mark.parametrize("deed", [rolled_back, undone, all_aside])
def test_a_crash_at_any_step_is_finished_at_the_next_start(
    clock: Clock, run: Run, deed: Callable[[Node, list[Guid]], Awaitable[Stash]]
) -> None:
    """Power may fail after any change to the pool: the end is that of no crash, or as if it had not begun."""

    async def prepared() -> tuple[MemoryPool, Node, list[Guid]]:
        pool, node, guids = await furnished(clock)
        if deed is undone:
            await rolled_back(node, guids)
            await pool.set_readonly(MAIN, False)
            pool.write(MAIN, "data", b"since")
        return pool, node, guids

    async def story() -> None:
        pool, node, guids = await prepared()
        await deed(node, guids)
        wanted = await graph(pool)
        crashes = finished = 0
        for changes in range(1, 30):
            pool, node, guids = await prepared()
            crashing = CrashingPool(pool, changes)
            broken = Node(crashing, clock)  # type: ignore[arg-type]  # answers every call of the port by delegation
            await broken.index.load()
            try:
                await deed(broken, guids)
                break
            except Crash:
                crashes += 1
            begun = any(key.startswith("intent") for key in (await pool.dataset(JOURNAL)).properties)
            again = Node(pool, clock)
            await again.start()
            if begun or again.index.stashes(SITE) != node.index.stashes(SITE):
                finished += 1
            else:
                await deed(again, guids)
            assert await graph(pool) == wanted, f"after {changes} changes"
            assert again.stashes.unfinished == set()
        assert crashes >= 7 and finished >= crashes - 2

    run(story())


def test_recovery_does_not_bring_a_claim_back(clock: Clock, run: Run) -> None:
    """Who comes back from a crash is a replica first; it must not find itself the owner."""

    async def story() -> None:
        pool, _, guids = await furnished(clock)
        crashing = Node(CrashingPool(pool, 3), clock)  # type: ignore[arg-type]  # see above
        await crashing.index.load()
        with pytest.raises(Crash):
            await crashing.stashes.stash(SITE, guids[1], "rollback")
        again = Node(pool, clock)
        await again.start()
        properties = (await pool.dataset(MAIN)).properties
        assert "claim" not in properties
        assert (properties["seen"], properties["custom"]) == (str(CLAIM), "kept")

    run(story())


def test_a_claim_heard_of_in_the_middle_is_not_forgotten(clock: Clock, run: Run) -> None:
    """What was seen while a swap of histories lay unfinished counts afterwards: no claim is used twice."""

    async def story() -> None:
        pool = MemoryPool(seed="a")
        await pool.prepare()
        await pool.create(MAIN, PROPERTIES)
        for number in range(3):
            pool.write(MAIN, "data", b"%d" % number)
            await pool.snapshot(MAIN, f"hyb-000004-abcdefgh-000000{number}")
        base = (await pool.history(MAIN))[0].guid
        await Node(pool, clock).start()
        crashing = Node(cast(Pool, CrashingPool(pool, 2)), clock)
        await crashing.index.load()
        with pytest.raises(Crash):
            await crashing.stashes.stash(SITE, base, "rollback")
        assert await pool.history(MAIN), "it was written down, and nothing else"
        await pool.set_properties(MAIN, {"seen": str(Claim(9, ME))})
        await Node(pool, clock).start()
        assert len(await pool.history(MAIN)) == 1
        assert (await pool.dataset(MAIN)).properties["seen"] == str(Claim(9, ME))

    run(story())


def test_a_claim_heard_of_while_the_new_main_line_is_written_to_is_not_forgotten(clock: Clock, run: Run) -> None:
    """Two write down the largest claim that was seen, the swap of histories and the fence: one after the other."""

    async def story() -> None:
        pool, node, guids = await furnished(clock)
        await node.writing.acquire()
        swap = Deferred.fromCoroutine(node.stashes.stash(SITE, guids[2], "rollback"))
        assert not swap.called
        await pool.set_properties(MAIN, {"seen": str(Claim(9, ME))})
        node.writing.release()
        await swap
        assert (await pool.dataset(MAIN)).properties["seen"] == str(Claim(9, ME))

    run(story())
