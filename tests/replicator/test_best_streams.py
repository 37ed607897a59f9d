"""Replicators on pools that can do what OpenZFS can: cut streams go on, lost bases do no harm, streams are small."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from twisted.internet.task import Clock

from hybrid.errors import StorageError
from hybrid.model import Guid, NodeId, Replicated, SendFailed, image_dataset
from hybrid.ports import ByteSink, ByteSource, Capabilities, Partial
from hybrid.storage import features
from hybrid.storage.begin import LENGTH, parse
from hybrid.storage.memory import MEMORY, MemoryPool
from hybrid.storage.openzfs import OPENZFS
from hybrid_replicator.parts import KEPT_S, Parts, received_at
from tests.replicator.test_replication import IMAGE, OTHER, SITE, A, B, Node, Run, Story, World, main_of

BIG = bytes(range(256)) * 16_000
PIECE = 256 * 1024


class Tap:
    """See `hybrid.ports.ByteSource`: notes what passes, and breaks after so many bytes."""

    def __init__(self, source: ByteSource, sent: list[bytes], breaks_after: int) -> None:
        self._source, self._sent, self._left = source, sent, breaks_after
        sent.append(b"")

    async def read(self) -> bytes:
        """The next piece, until it breaks."""
        data = await self._source.read()
        if self._left <= 0:
            raise StorageError("the stream broke", "its disk was pulled")
        self._left -= len(data)
        self._sent[-1] += data
        return data

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`."""
        await self._source.abort()


class TappedPool(MemoryPool):
    """A pool whose streams are noted, and break as often as `breaks` says (each after so many bytes)."""

    def __init__(self, now: Callable[[], float], seed: str, capabilities: Capabilities) -> None:
        super().__init__(now, seed, capabilities=capabilities)
        self.sent: list[bytes] = []
        self.breaks: list[int] = []

    async def send(
        self, name: str, guid: Guid, base: Guid | None, takes: int = 0, resume: Partial | None = None
    ) -> ByteSource:
        """See `hybrid.ports.Pool`."""
        source = await super().send(name, guid, base, takes, resume)
        return Tap(source, self.sent, self.breaks.pop(0) if self.breaks else 1 << 40)

    def begins(self) -> list[tuple[int, bool]]:
        """Of each stream so far: its length, and whether it went on with another."""
        return [(len(data), bool(parse(data[:LENGTH]).features & features.RESUMING)) for data in self.sent if data]


class BestWorld(World):
    """Nodes on such pools; the capabilities of each may be given."""

    def __init__(self, clock: Clock, given: dict[NodeId, Capabilities]) -> None:
        super().__init__(clock)
        self.given = given
        self.pools: dict[NodeId, TappedPool] = {}

    async def start(self, *names: NodeId) -> list[Node]:
        """Start these nodes and let their links come up."""
        for name in names:
            self.pools[name] = TappedPool(self.wall_s, name, self.given.get(name, OPENZFS))
            self.nodes[name] = Node(self, name, self.pools[name])
            await self.nodes[name].start()
        await self.wait(1)
        return [self.nodes[name] for name in names]


@pytest.fixture
def tell_of(clock: Clock, run: Run) -> Callable[..., None]:
    """Run a story to its end in a new world whose pools can do what is given, or all."""

    def telling(story: Story, given: dict[NodeId, Capabilities] | None = None) -> None:
        async def told() -> bool:
            world = BestWorld(clock, given or {})
            await story(world)
            for node in list(world.nodes.values()):
                await node.stop()
            return True

        run(told())

    return telling


def test_a_whole_copy_that_is_cut_goes_on(tell_of: Callable[..., None]) -> None:
    """A first copy of gigabytes over a link that breaks arrives in the end, and no part of it travels twice."""

    async def story(world: BestWorld) -> None:
        a, b = await world.start(A, B)
        pool = world.pools[A]
        pool.breaks = [1 << 40, 6 * PIECE, 3 * PIECE]  # the image arrives, then two cuts
        await world.site(a, b)
        a.pool.write(main_of(), "data", BIG)
        await world.wait(120)
        assert b.heads()[-1] == BIG
        (_, image_again), *streams = pool.begins()
        assert [again for _, again in streams] == [False, True, True]
        assert not image_again
        assert sum(length for length, _ in streams) < len(BIG) + 3 * PIECE
        assert a.of(SendFailed) and a.replicator.lag_s(SITE) == 0.0
        assert [one.name for one in await b.pool.datasets()] == [
            image_dataset(IMAGE),
            main_of(),
            "stash/journal",
        ]

    tell_of(story)


def test_a_part_outlives_the_receivers_process(tell_of: Callable[..., None]) -> None:
    """A server that is upgraded in the middle of a long copy does not begin anew; an image is no exception."""

    async def story(world: BestWorld) -> None:
        a, b = await world.start(A, B)
        pool = world.pools[A]
        pool.breaks = [2000, 1 << 40, 6 * PIECE]
        await world.site(a, b)
        a.pool.write(main_of(), "data", BIG)
        await world.wait(2)
        await world.restart(b)
        world.publish()
        await world.wait(120)
        assert world.nodes[B].heads()[-1] == BIG
        assert [again for _, again in pool.begins()] == [False, True, False, True]

    tell_of(story)


def test_an_increment_that_is_cut_goes_on_and_the_newest_follows(tell_of: Callable[..., None]) -> None:
    """What was written meanwhile comes after it, as an increment."""

    async def story(world: BestWorld) -> None:
        a, b = await world.start(A, B)
        pool = world.pools[A]
        await world.site(a, b)
        await world.wait(10)
        pool.sent.clear()
        pool.breaks = [6 * PIECE]
        a.pool.write(main_of(), "data", BIG)
        await world.wait(5)
        a.pool.write(main_of(), "later", b"more")
        await world.wait(60)
        assert b.heads()[-1] == BIG and b.pool.read(main_of(), "later", b.replicator.history(SITE)[-1].guid) == b"more"
        assert sum(length for length, _ in pool.begins()) < len(BIG) + 2 * PIECE
        assert any(again for _, again in pool.begins())
        assert guids_of(b) == guids_of(a)[-len(guids_of(b)) :]

    tell_of(story)


def test_a_part_of_a_forgotten_snapshot_is_no_obstacle(tell_of: Callable[..., None]) -> None:
    """The snapshot was destroyed by hand between two tries: the copy begins anew, and the part goes."""

    async def story(world: BestWorld) -> None:
        a, b = await world.start(A, B)
        pool = world.pools[A]
        pool.breaks = [1 << 40, 6 * PIECE]
        await world.site(a, b)
        a.pool.write(main_of(), "data", BIG)
        await world.wait(1)
        cut_at = a.replicator.history(SITE)[-1]
        a.pool.write(main_of(), "later", b"more")
        await a.pool.snapshot(main_of(), "by-hand")
        await a.pool.destroy_snapshot(main_of(), cut_at.guid)
        await a.replicator._index.refresh(main_of())
        await world.wait(120)
        assert b.heads()[-1] == BIG
        assert await b.pool.partial(received_at(main_of())) is None

    tell_of(story)


def test_a_part_that_nobody_goes_on_with_goes(clock: Clock, run: Run) -> None:
    """The site moved elsewhere in the meantime: what is here of it does not take room for ever, what is whole stays."""

    async def story() -> bool:
        here, there = MemoryPool(seed="a", capabilities=OPENZFS), MemoryPool(seed="b", capabilities=OPENZFS)
        parts, old, new = Parts(clock, there), main_of(), received_at(main_of(OTHER))
        for pool in (here, there):
            await pool.prepare()
        await here.create(old)
        first = await here.snapshot(old, "first")
        await _pour(await here.send(old, first.guid, None), await there.receive(old))
        here.write(old, "data", BIG)
        head = await here.snapshot(old, "head")
        for name, base in ((old, first.guid), (new, None)):
            sink = await there.receive(name, resumable=True)
            await sink.write(await (await here.send(old, head.guid, base)).read())
            await sink.abort()
            assert await parts.kept(name) and await parts.left(name) == (name == new)
        clock.advance(KEPT_S - 1)
        await parts.sweep()
        assert await parts.of(old) is not None
        clock.advance(2)
        await parts.sweep()
        assert (await parts.of(old), await parts.of(new)) == (None, None)
        assert await there.history(old) == (first,)
        return True

    run(story())


async def _pour(source: ByteSource, sink: ByteSink) -> None:
    while data := await source.read():
        await sink.write(data)
    await sink.finish()


def test_the_common_base_was_destroyed_by_hand(tell_of: Callable[..., None]) -> None:
    """Hold and all; a bookmark stands where it was, so an increment is enough and nothing is set aside."""

    async def story(world: BestWorld) -> None:
        a, b = await world.start(A, B)
        pool = world.pools[A]
        await world.site(a, b)
        a.pool.write(main_of(), "data", BIG)
        await world.wait(400)  # holds follow after five minutes
        base = a.replicator.history(SITE)[-1]
        for tag in await a.pool.holds(main_of(), base.guid):
            await a.pool.release(main_of(), base.guid, tag)
        world.network.cut(A, B)
        a.pool.write(main_of(), "later", b"more")
        await world.wait(30)
        await a.pool.destroy_snapshot(main_of(), base.guid)
        await a.replicator._index.refresh(main_of())
        pool.sent.clear()
        world.network.heal(A, B)
        await world.wait(90)
        assert b.replicator.history(SITE)[-1] == a.replicator.history(SITE)[-1]
        assert base in b.replicator.history(SITE)
        assert sum(length for length, _ in pool.begins()) < PIECE
        assert b.replicator.stashes(SITE) == ()

    tell_of(story)


def test_streams_are_as_small_as_the_receiver_allows(tell_of: Callable[..., None]) -> None:
    """Compressed to a pool of OpenZFS, plain to another."""
    small = msgspec.structs.replace(OPENZFS, takes=features.SPILL)
    for given, compressed in (({}, True), ({B: small}, False), ({B: MEMORY}, False)):

        async def story(world: BestWorld, compressed: bool = compressed) -> None:
            a, b = await world.start(A, B)
            await world.site(a, b)
            a.pool.write(main_of(), "data", b"x")
            await world.wait(20)
            assert b.heads()[-1] == b"x"
            flags = {parse(data[:LENGTH]).features & features.COMPRESSED for data in world.pools[A].sent}
            assert flags == ({features.COMPRESSED} if compressed else {0})
            assert len(a.of(Replicated)) >= 1

        tell_of(story, given)


def guids_of(node: Node) -> list[Guid]:
    """Of the main line."""
    return [snapshot.guid for snapshot in node.replicator.history(SITE)]
