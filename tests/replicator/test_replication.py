"""Two or three replicators on pools in memory, one network and one clock: what users are promised of replication."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

import msgspec
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hybrid.cluster.memory_peers import MemoryNetwork
from hybrid.deeds import Differences, Folder, Form, TimeMachine
from hybrid.errors import Busy, NoSuchDataset, PeerError, StorageSick
from hybrid.history import guids
from hybrid.model import (
    NO_CLAIM,
    Claim,
    Fact,
    Forgotten,
    Guid,
    NodeId,
    Received,
    Replicated,
    SendFailed,
    SiteId,
    SiteSpec,
    Snapshot,
    SnapshotFailed,
    Snapshotted,
    Stashed,
    StreamBroken,
    Version,
    image_dataset,
)
from hybrid.ports import ByteSource
from hybrid.storage.memory import MemoryPool
from hybrid.storage.memory_stream import Source
from hybrid.view import NodeView, SiteState, SiteView, View
from hybrid.wire import AskHistory, HistoryHeld, Offer, Refused, Taken
from hybrid_replicator.ports import Told, untold
from hybrid_replicator.service import Replicator

Run = Callable[[Coroutine[object, object, object]], object]
A, B, C = (NodeId(f"n-{letter * 16}") for letter in "abc")
SITE, OTHER = SiteId("s-" + "a" * 26), SiteId("s-" + "b" * 26)
IMAGE = "php@0123"
EPOCH_S = 1_800_000_000.0


def main_of(site: SiteId = SITE) -> str:
    """The dataset of a site."""
    return f"sites/{site}"


class Fences:
    """Claims, as the node keeps them."""

    def __init__(self) -> None:
        self.claims: dict[SiteId, Claim] = {}
        self.writers: set[SiteId] = set()

    def seen(self, site: SiteId) -> Claim:
        """See `hybrid_replicator.ports.Fences`."""
        return self.claims.get(site, NO_CLAIM)

    async def saw(self, site: SiteId, claim: Claim) -> None:
        """See `hybrid_replicator.ports.Fences`."""
        self.claims[site] = max(claim, self.seen(site))

    def writing(self, site: SiteId) -> AbstractAsyncContextManager[None]:
        """See `hybrid_replicator.ports.Fences`."""
        return nullcontext()

    def is_writer(self, site: SiteId) -> bool:
        """See `hybrid_replicator.ports.Fences`."""
        return site in self.writers


class NoFiles:
    """No file is touched in these tests."""

    async def folder(self, root: str, path: str, after: str, limit: int) -> Folder:
        """See `hybrid_replicator.ports.Files`."""
        return Folder(())

    async def read(self, root: str, path: str, form: Form) -> ByteSource:
        """See `hybrid_replicator.ports.Files`."""
        return Source(b"")

    async def compare(
        self, old_root: str, root: str, path: str, settled_s: int, touched: tuple[bytes, ...] | None = None
    ) -> Differences:
        """See `hybrid_replicator.ports.Files`."""
        return Differences(())

    async def tidy(self, live_root: str) -> int:
        """See `hybrid_replicator.ports.Files`."""
        return 0

    async def unite(self, base: str | None, root: str, live_root: str, path: str, tag: str) -> int:
        """See `hybrid_replicator.ports.Files`."""
        return 0

    async def copy(self, root: str, live_root: str, path: str, copy: str, told: Told = untold) -> tuple[int, str]:
        """See `hybrid_replicator.ports.Files`."""
        return 1, path


class Node:
    """One node: pool, links, replicator, and what it reported."""

    def __init__(self, world: World, name: NodeId, pool: MemoryPool | None = None) -> None:
        self.world, self.name = world, name
        self.pool = pool or MemoryPool(world.wall_s, seed=name)
        self.facts: list[Fact] = []
        self.fences = Fences()
        self.peers = world.network.join(name)
        self.heads_told: dict[NodeId, tuple[Guid, ...]] = {}
        self.replicator = Replicator(
            world.clock,
            self.pool,
            self.peers,
            self.fences,
            lambda site: world.targets.get(site.spec.id, ()),
            lambda site: f"/live/{site}",
            self.facts.append,
            name,
            files=NoFiles(),
            place=Path("/nowhere"),
            jitter=lambda: 0.5,
            now_s=world.wall_s,
            look_every_s=world.look_every_s,
            heads=lambda site: self.heads_told,
        )

    async def start(self) -> None:
        """As the node's process does."""
        await self.pool.prepare()
        await self.replicator.recover()
        self.peers.startService()
        self.replicator.startService()

    async def stop(self) -> None:
        """As the node's process does."""
        await self.replicator.stopService()
        await self.peers.stopService()

    def heads(self, site: SiteId = SITE) -> list[bytes]:
        """The content of `data` in every snapshot of the main line."""
        history = self.replicator.history(site)
        return [self.pool.files(main_of(site), snapshot.guid).get("data", b"") for snapshot in history]

    def of(self, kind: type[Fact]) -> list[Fact]:
        """The facts of one kind, in order."""
        return [fact for fact in self.facts if isinstance(fact, kind)]


class World:
    """All of them."""

    look_every_s = 5.0

    def __init__(self, clock: Clock) -> None:
        self.clock, self.network = clock, MemoryNetwork(clock)
        self.nodes: dict[NodeId, Node] = {}
        self.targets: dict[SiteId, tuple[NodeId, ...]] = {}
        self.owners: dict[SiteId, Claim] = {}
        self.specs: dict[SiteId, SiteSpec] = {}
        self.states: dict[SiteId, SiteState] = {}
        self.down: set[NodeId] = set()
        self.serial, self.later_s = 0, 0.0

    def wall_s(self) -> float:
        """Wall time."""
        return EPOCH_S + self.clock.seconds() + self.later_s

    async def start(self, *names: NodeId) -> list[Node]:
        """Start these nodes and let their links come up."""
        for name in names:
            self.nodes[name] = Node(self, name)
            await self.nodes[name].start()
        await self.wait(1)
        return [self.nodes[name] for name in names]

    async def restart(self, node: Node) -> Node:
        """A new process on the disk of `node`."""
        await node.stop()
        self.nodes[node.name] = again = Node(self, node.name, node.pool)
        await again.start()
        return again

    async def site(self, owner: Node, *targets: Node, site: SiteId = SITE, every_s: float = 30.0) -> None:
        """Make a site on `owner`, cloned from an image, to be copied to `targets`."""
        image = image_dataset(IMAGE)
        if image not in {dataset.name for dataset in await owner.pool.datasets()}:
            await owner.pool.create(image, {"manifest": "php"})
            owner.pool.write(image, "bin/php", b"elf" * 1000)
            await owner.pool.snapshot(image, "image")
        origin = (await owner.pool.history(image))[0]
        await owner.pool.clone(image, origin.guid, main_of(site))
        self.specs[site] = SiteSpec(
            id=site, version=Version(1, 0), name="shop", domains=(), image=IMAGE, number=1, snapshot_every_s=every_s
        )
        self.targets[site] = tuple(target.name for target in targets)
        await self.own(owner, 1, site)

    async def own(self, owner: Node, epoch: int, site: SiteId = SITE) -> None:
        """`owner` begins a term, and everybody hears of it."""
        claim = Claim(epoch, owner.name)
        for node in self.nodes.values():
            node.fences.writers.discard(site)
            await node.fences.saw(site, claim)
        owner.fences.writers.add(site)
        await owner.pool.set_readonly(main_of(site), False)
        self.owners[site] = claim
        self.publish()

    def publish(self) -> None:
        """Tell every node the view of this moment."""
        self.serial += 1
        for node in self.nodes.values():
            node.replicator.follow(self.view(node.name))

    def view(self, me: NodeId) -> View:
        """What `me` knows."""
        sites = {
            site: SiteView(
                spec=self.specs[site],
                state=self.states.get(site, "serving"),
                owner=claim.node,
                claim=claim,
                holders=tuple(name for name in self.nodes if name not in self.down),
            )
            for site, claim in self.owners.items()
        }
        nodes = {name: _node_view(name, name not in self.down) for name in self.nodes}
        return View(me=me, serial=self.serial, zones=(), nodes=nodes, sites=sites)

    async def wait(self, seconds: float) -> None:
        """Let time pass; the `run` fixture turns the clock."""
        over: Deferred[None] = Deferred()
        self.clock.callLater(seconds, over.callback, None)
        await over


def _node_view(name: NodeId, live: bool) -> NodeView:
    return NodeView(id=name, name=name, dc="x", address="", cluster_port=1, interior_port=2, api_port=3, live=live)


Story = Callable[[World], Awaitable[None]]


@pytest.fixture
def tell(clock: Clock, run: Run) -> Callable[[Story], None]:
    """Run a story to its end in a new world."""

    def telling(story: Story) -> None:
        async def told() -> bool:
            world = World(clock)
            await story(world)
            for node in list(world.nodes.values()):
                await node.stop()
            return True

        run(told())

    return telling


Tell = Callable[[Story], None]


def as_time_machine(replicator: Replicator) -> TimeMachine:
    """For the type checker: the service is what the port asks for."""
    return replicator


# ------------------------------------------------------------------------------------------------- promises


def test_a_write_reaches_every_copy_within_the_promised_time(tell: Tell) -> None:
    """What a visitor writes is on the other servers some seconds later, however often it changes."""

    async def story(world: World) -> None:
        a, b, c = await world.start(A, B, C)
        await world.site(a, b, c)
        for number in range(5):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(world.look_every_s + 2)
            assert b.heads()[-1] == c.heads()[-1] == b"%d" % number
        assert guids(b.replicator.history(SITE)) == guids(a.replicator.history(SITE))
        assert a.replicator.acknowledged(SITE) == dict.fromkeys((B, C), a.replicator.history(SITE)[-1].guid)
        assert a.replicator.lag_s(SITE) == 0.0
        assert len(a.of(Snapshotted)) == 5 and len(a.of(Replicated)) == 10 and len(b.of(Received)) == 5
        replica = await b.pool.dataset(main_of())
        assert replica.readonly and replica.mountpoint is None
        assert msgspec.json.decode(replica.properties["spec"], type=SiteSpec) == world.specs[SITE]
        assert replica.properties["seen"] == str(world.owners[SITE])

    tell(story)


def test_what_is_found_after_trouble_was_not_sent_by_who_is_only_heard_of(tell: Tell) -> None:
    """A stream that failed is looked at again, and told under a claim that was taken: a larger one sent nothing."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(5)
        (received,) = b.of(Received)
        b.pool.fail_next("receive", StorageSick("it hangs"))
        a.pool.write(main_of(), "data", b"more")
        while not a.of(SendFailed):
            await world.wait(0.1)
        await a.peers.stopService()
        await b.fences.saw(SITE, Claim(9, C))
        await world.wait(30)
        again = b.of(Received)[-1]
        assert isinstance(received, Received) and isinstance(again, Received)
        assert again is not received and again.claim == received.claim == Claim(1, A)

    tell(story)


def test_a_second_is_a_second(tell: Tell) -> None:
    """A site that asks for one second is looked at every second."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b, every_s=1.0)
        for number in range(5):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(2.2)
            assert b.heads()[-1] == b"%d" % number

    tell(story)


def test_nothing_changed_nothing_travels(tell: Tell) -> None:
    """An idle site costs neither snapshots nor traffic."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(120)
        assert len(a.of(Snapshotted)) == 1 and len(b.of(Received)) == 1

    tell(story)


def test_the_image_goes_first_and_only_once(tell: Tell) -> None:
    """Sites stay thin clones of one image on every server."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.site(a, b, site=OTHER)
        await world.wait(10)
        image = image_dataset(IMAGE)
        assert (await b.pool.dataset(image)).properties == {"manifest": "php"}
        for site in (SITE, OTHER):
            origin = (await b.pool.dataset(main_of(site))).origin
            assert origin is not None and origin[0] == image
        sent = [fact.bytes for fact in a.of(Replicated) if isinstance(fact, Replicated)]
        assert sum(size > 3000 for size in sent) == 1
        assert not [dataset.name for dataset in await b.pool.datasets() if dataset.name.startswith("temporary")]

    tell(story)


def test_another_image_of_that_name_does_not_stop_replication(tell: Tell) -> None:
    """A server that built the same image by itself takes the site whole."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await b.pool.create(image_dataset(IMAGE))
        await b.pool.snapshot(image_dataset(IMAGE), "image")
        await world.site(a, b)
        a.pool.write(main_of(), "data", b"1")
        await world.wait(20)
        assert b.heads() == [b"1"]
        assert b.pool.read(main_of(), "bin/php") == b"elf" * 1000

    tell(story)


def test_a_link_cut_in_the_middle_of_a_stream_starts_again_cleanly(tell: Tell) -> None:
    """Half a stream leaves the old state, and the whole one follows when the link is back."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        before = b.replicator.history(SITE)
        a.pool.write(main_of(), "data", b"x" * 3_000_000)
        world.network.delay_s = 0.05
        while not b.replicator._receiver._under_way:
            await world.wait(0.1)
        world.network.cut(A, B)
        await world.wait(30)
        assert await b.pool.history(main_of()) == before
        assert (a.replicator.lag_s(SITE) or 0) >= 25
        world.network.heal(A, B)
        await world.wait(40)
        assert b.heads()[-1] == b"x" * 3_000_000
        assert a.replicator.lag_s(SITE) == 0.0
        assert a.of(SendFailed)

    tell(story)


def test_a_node_that_comes_back_is_brought_up_to_date_at_once(tell: Tell) -> None:
    """No retry timer delays the copies of a returning server."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        world.network.cut(A, B)
        world.down.add(B)
        world.publish()
        a.pool.write(main_of(), "data", b"while away")
        await world.wait(400)
        world.network.heal(A, B)
        await world.wait(1)
        world.down.clear()
        world.publish()
        await world.wait(2)
        assert b.heads()[-1] == b"while away"

    tell(story)


def test_a_dead_or_slow_peer_delays_nobody_else(tell: Tell) -> None:
    """Copies on healthy servers stay fresh whatever the others do."""

    async def story(world: World) -> None:
        a, b, c = await world.start(A, B, C)
        for letter in "abcdefgh":
            await world.site(a, b, c, site=SiteId("s-" + letter * 26))
        await world.wait(20)

        async def never() -> None:
            await Deferred()

        for _ in range(50):
            b.pool.before("receive", never)
        for round_number in range(3):
            for letter in "abcdefgh":
                a.pool.write(main_of(SiteId("s-" + letter * 26)), "data", b"%d" % round_number)
            await world.wait(8)
            for letter in "abcdefgh":
                assert c.heads(SiteId("s-" + letter * 26))[-1] == b"%d" % round_number
        world.network.cut(A, B)
        await world.wait(10)
        world.nodes.pop(B)

    tell(story)


# ------------------------------------------------------------------------------------------- fences and stashes


def test_a_stale_claim_is_refused_and_the_sender_learns_of_the_newer_one(tell: Tell) -> None:
    """An owner that was overtaken cannot change the copies any more."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        before = guids(b.replicator.history(SITE))
        await b.fences.saw(SITE, Claim(7, C))
        a.pool.write(main_of(), "data", b"stale")
        await world.wait(10)
        assert guids(b.replicator.history(SITE)) == before
        assert a.fences.seen(SITE) == Claim(7, C)
        refused = a.of(SendFailed)[0]
        assert isinstance(refused, SendFailed) and "stale" in refused.reason
        await world.own(a, 8)
        await world.wait(3)
        assert b.heads()[-1] == b"stale"

    tell(story)


def test_what_was_seen_outlives_a_main_line_that_a_crash_left_out(tell: Tell) -> None:
    """A crash between the setting aside of a copy and its replacement makes no server listen to an outdated owner."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        await b.pool.set_properties(main_of(), {"seen": str(Claim(5, C))})
        await b.replicator.stash(SITE, None, "conflict")
        b.fences.claims.clear()
        b = await world.restart(b)
        await world.wait(1)
        assert b.replicator.history(SITE) == ()
        with pytest.raises(PeerError, match="stale"):
            await a.replicator.push(world.specs[SITE], world.owners[SITE], B)
        await a.replicator.push(world.specs[SITE], Claim(6, A), B)
        assert b.replicator.history(SITE) == a.replicator.history(SITE)

    tell(story)


def test_an_owner_takes_no_stream(tell: Tell) -> None:
    """Live data is never overwritten by another server."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        b.fences.writers.add(SITE)
        a.pool.write(main_of(), "data", b"no")
        await world.wait(10)
        refused = a.of(SendFailed)[0]
        assert isinstance(refused, SendFailed) and "owner" in refused.reason
        assert len(b.replicator.history(SITE)) == 1

    tell(story)


def test_both_sides_wrote_nothing_is_lost_and_all_converge(tell: Tell) -> None:
    """After a partition the loser's writes are kept as a stash, and every copy ends with the winner's history."""

    async def story(world: World) -> None:
        a, b, c = await world.start(A, B, C)
        await world.site(a, b, c)
        a.pool.write(main_of(), "data", b"common")
        await world.wait(10)
        await b.pool.set_readonly(main_of(), False)
        b.pool.write(main_of(), "data", b"loser")
        await b.replicator.snapshot(SITE, Claim(2, B))
        b.pool.write(main_of(), "data", b"loser, unsaved")
        a.pool.write(main_of(), "data", b"winner")
        await world.own(a, 3)
        await world.wait(12)
        assert a.heads()[-1] == b.heads()[-1] == c.heads()[-1] == b"winner"
        assert guids(b.replicator.history(SITE)) == guids(a.replicator.history(SITE))
        (stash,) = b.replicator.stashes(SITE)
        aside = f"stash/{stash.id}"
        assert [b.pool.read(aside, "data", one.guid) for one in await b.pool.history(aside)] == [
            b"loser",
            b"loser, unsaved",
        ]
        assert stash.why == "conflict" and b.of(Stashed) == [Stashed(stash)]
        assert c.replicator.stashes(SITE) == ()
        assert (await b.pool.dataset(main_of())).readonly

    tell(story)


def test_a_stash_is_copied_to_the_other_holders(tell: Tell) -> None:
    """What lost a conflict survives the disk it was written to."""

    async def story(world: World) -> None:
        a, b, c = await world.start(A, B, C)
        await world.site(a, b, c)
        a.pool.write(main_of(), "data", b"common")
        await world.wait(10)
        await b.pool.set_readonly(main_of(), False)
        b.pool.write(main_of(), "data", b"loser")
        await b.replicator.snapshot(SITE, Claim(2, B))
        await world.own(a, 3)
        await world.wait(60)
        (stash,) = b.replicator.stashes(SITE)
        for node in (a, c):
            assert node.replicator.stashes(SITE) == (stash,)
            assert node.pool.read(f"stash/{stash.id}", "data", stash.head) == b"loser"
            origin = (await node.pool.dataset(f"stash/{stash.id}")).origin
            assert origin is not None and origin[0] == main_of()
        a.pool.write(main_of(), "data", b"goes on")
        await world.wait(40)
        assert b.heads()[-1] == c.heads()[-1] == b"goes on"

    tell(story)


def test_a_stash_is_copied_again_to_a_disk_that_was_replaced(tell: Tell) -> None:
    """A server that lost its disk between two looks at it gets what was set aside once more."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        base = a.replicator.history(SITE)[-1].guid
        a.pool.write(main_of(), "data", b"set aside")
        await world.wait(10)
        stash = await a.replicator.stash(SITE, base, "rollback")
        await world.wait(70)
        assert [one.head for one in b.replicator.stashes(SITE)] == [stash.head]
        await b.stop()
        world.nodes[B] = again = Node(world, B)
        await again.start()
        await world.wait(400)
        assert [one.head for one in again.replicator.stashes(SITE)] == [stash.head]

    tell(story)


def test_a_stash_that_came_whole_goes_on_whole(tell: Tell) -> None:
    """A server that was given a stash, and lacks where it began, gives it to others all the same."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        a.pool.write(main_of(), "data", b"common")
        await world.wait(10)
        a.pool.write(main_of(), "data", b"set aside")
        await world.wait(10)
        base = a.replicator.history(SITE)[0].guid
        stash = await a.replicator.stash(SITE, base, "rollback")
        name = f"stash/{stash.id}"
        parts: list[bytes] = []
        source = await a.pool.send(name, stash.head, None)
        while data := await source.read():
            parts.append(data)
        (c,) = await world.start(C)
        sink = await c.pool.receive(name)
        for data in parts:
            await sink.write(data)
        await sink.finish()
        await c.pool.set_properties(name, (await a.pool.dataset(name)).properties)
        await a.stop()
        await b.stop()
        world.nodes = {C: await world.restart(c)}
        (d,) = await world.start(B)
        world.publish()
        await world.wait(70)
        assert d.replicator.stashes(SITE) == (stash,)

    tell(story)


def test_nothing_in_common_keeps_both_lines(tell: Tell) -> None:
    """A server that holds a quite different line of a site keeps it beside the owner's."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await b.pool.create(main_of())
        b.pool.write(main_of(), "data", b"foreign")
        await b.pool.snapshot(main_of(), "hyb-000001-zzzzzzzz-0000001")
        await world.site(a, b)
        a.pool.write(main_of(), "data", b"ours")
        await world.wait(10)
        assert b.heads() == [b"ours"]
        (stash,) = b.replicator.stashes(SITE)
        assert stash.base is None
        assert b.pool.read(f"stash/{stash.id}", "data") == b"foreign"

    tell(story)


def test_a_modified_replica_is_set_aside_and_goes_on(tell: Tell) -> None:
    """Somebody wrote into a copy by hand: that is kept, and replication does not stop."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        await b.pool.set_readonly(main_of(), False)
        b.pool.write(main_of(), "data", b"by hand")
        a.pool.write(main_of(), "data", b"ours")
        await world.wait(12)
        assert b.heads()[-1] == b"ours"
        (stash,) = b.replicator.stashes(SITE)
        assert stash.why == "modified" and b.pool.read(f"stash/{stash.id}", "data") == b"by hand"

    tell(story)


def test_a_rollback_reaches_the_copies(tell: Tell) -> None:
    """After a rollback no copy goes on with the history that was rolled back, and undo brings it back everywhere."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        for number in range(3):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(8)
        target = a.replicator.history(SITE)[0]
        async with a.replicator.exclusive(SITE):
            stash = await a.replicator.stash(SITE, target.guid, "rollback")
        await world.own(a, 2)
        await world.wait(5)
        assert a.heads() == b.heads() == [b"0"]
        async with a.replicator.exclusive(SITE):
            await a.replicator.unstash(stash.id, "undo")
        await world.own(a, 3)
        await world.wait(5)
        assert a.heads() == [b"0", b"1", b"2"]
        assert b.heads()[0] == b"0" and b.heads()[-1] == b"2"

    tell(story)


def test_a_rollback_under_the_same_claim_reaches_the_copies_as_well(tell: Tell) -> None:
    """What the sender remembers of a peer does not mislead it after a rollback."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        for number in range(3):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(8)
        async with a.replicator.exclusive(SITE):
            await a.replicator.stash(SITE, a.replicator.history(SITE)[0].guid, "rollback")
        await world.wait(8)
        assert a.heads() == b.heads() == [b"0"]
        assert [stash.base for stash in b.replicator.stashes(SITE)] == [a.replicator.history(SITE)[0].guid]

    tell(story)


def test_a_server_that_lost_its_copy_gets_it_again(tell: Tell) -> None:
    """A replaced disk fills up by itself, without waiting for the next change."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        a.pool.write(main_of(), "data", b"1")
        await world.wait(10)
        await b.stop()
        world.down.add(B)
        world.publish()
        world.nodes[B] = b = Node(world, B)
        await b.start()
        world.down.clear()
        await world.wait(1)
        world.publish()
        await world.wait(3)
        assert b.heads() == [b"1"]

    tell(story)


def test_a_new_owner_goes_on_without_a_full_copy(tell: Tell) -> None:
    """After a take-over the other copies, and the former owner, get increments; nobody is stashed needlessly."""

    async def story(world: World) -> None:
        a, b, c = await world.start(A, B, C)
        await world.site(a, b, c)
        a.pool.write(main_of(), "data", b"1")
        await world.wait(10)
        for epoch, owner in ((2, b), (3, a), (4, c), (5, b)):
            await a.pool.set_readonly(main_of(), True)
            world.targets[SITE] = tuple(name for name in (A, B, C) if name != owner.name)
            await world.own(owner, epoch)
            owner.pool.write(main_of(), "data", b"%d" % epoch)
            await world.wait(10)
            assert a.heads()[-1] == b.heads()[-1] == c.heads()[-1] == b"%d" % epoch
        assert not [node.replicator.stashes(SITE) for node in (a, b, c) if node.replicator.stashes(SITE)]
        sent = [fact.bytes for node in (b, c) for fact in node.of(Replicated) if isinstance(fact, Replicated)]
        assert max(sent) < 2000

    tell(story)


# ------------------------------------------------------------------------------------------------- refusals


async def offered(node: Node, peer: Node, offer: Offer) -> object:
    """What `peer` answers to an offer of bytes that are no stream."""

    class Garbage:
        def __init__(self) -> None:
            self.left = [b"garbage" * 100]

        async def read(self) -> bytes:
            return self.left.pop() if self.left else b""

        async def abort(self) -> None:
            self.left.clear()

    return await node.peers.offer(peer.name, offer, Garbage())


def test_what_is_not_as_announced_never_reaches_the_pool(tell: Tell) -> None:
    """Garbage, foreign datasets, foreign claims and foreign specs are refused with the reason."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        graph = await b.pool.datasets()
        claim, head = world.owners[SITE], b.replicator.history(SITE)[-1]
        good = Offer(dataset=main_of(), claim=claim, base=head.guid, to=Snapshot(Guid(5), "x", 0), size_bytes=9)
        for offer, reason in (
            (good, "broken"),
            (msgspec.structs.replace(good, base=Guid(99)), "base"),
            (msgspec.structs.replace(good, dataset="sites/../etc"), "broken"),
            (msgspec.structs.replace(good, dataset="trash/x"), "broken"),
            (msgspec.structs.replace(good, claim=Claim(9, C)), "broken"),
            (msgspec.structs.replace(good, claim=NO_CLAIM), "stale"),
            (msgspec.structs.replace(good, spec=msgspec.structs.replace(world.specs[SITE], id=OTHER)), "broken"),
            (msgspec.structs.replace(good, size_bytes=1 << 50), "space"),
            (msgspec.structs.replace(good, dataset=main_of(OTHER), base=None), "broken"),
        ):
            answer = await offered(a, b, offer)
            assert isinstance(answer, Refused) and answer.reason == reason, (offer, answer)
        assert await b.pool.datasets() == graph
        told = [fact for fact in b.facts if isinstance(fact, StreamBroken)]
        assert len(told) >= 3 and {fact.node for fact in told} == {A}
        assert await offered(a, b, msgspec.structs.replace(good, to=head)) == Taken(head.guid)

    tell(story)


def test_two_streams_for_one_dataset_do_not_meet(tell: Tell) -> None:
    """The second sender is told to wait."""

    async def story(world: World) -> None:
        a, b, c = await world.start(A, B, C)
        go: Deferred[None] = Deferred()

        async def wait() -> None:
            await go

        b.pool.before("receive", wait)
        await world.site(a, b)
        await world.wait(7)
        offer = Offer(dataset=image_dataset(IMAGE), claim=NO_CLAIM, base=None, to=Snapshot(Guid(5), "x", 0))
        answer = await offered(c, b, offer)
        assert isinstance(answer, Refused) and answer.reason == "busy"
        go.callback(None)
        await world.wait(3)
        assert len(b.replicator.history(SITE)) == 1

    tell(story)


def test_a_full_peer_says_so_and_the_others_go_on(tell: Tell) -> None:
    """No room is a reason that people read, not a broken stream."""

    async def story(world: World) -> None:
        a, b, c = await world.start(A, B, C)
        await world.site(a, b, c)
        await world.wait(10)
        b.pool.size_bytes = 1 << 20
        a.pool.write(main_of(), "data", b"x" * (2 << 20))
        await world.wait(10)
        assert c.heads()[-1] == b"x" * (2 << 20)
        refused = a.of(SendFailed)[0]
        assert isinstance(refused, SendFailed) and refused.node == B and "space" in refused.reason
        assert len(b.replicator.history(SITE)) == 1

    tell(story)


def test_snapshots_that_fail_are_told_and_tried_again(tell: Tell) -> None:
    """An unprotected site is shown as such, and is protected again once the pool is well."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        a.pool.sick = "the daemon is stopped"
        await world.wait(60)
        failed = a.of(SnapshotFailed)
        assert 2 <= len(failed) <= 10
        assert (a.replicator.lag_s(SITE) or 0) > 50
        a.pool.sick = ""
        a.pool.write(main_of(), "data", b"well again")
        await world.wait(35)
        assert b.heads()[-1] == b"well again"
        assert a.replicator.lag_s(SITE) == 0.0

    tell(story)


# ------------------------------------------------------------------------------------- time machine and upkeep


def test_exclusive_cuts_what_is_under_way_and_keeps_new_work_away(tell: Tell) -> None:
    """A take-over does not wait for a stream from a dead server."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        before = b.replicator.history(SITE)
        a.pool.write(main_of(), "data", b"x" * 3_000_000)
        world.network.delay_s = 0.05
        while not b.replicator._receiver._under_way:
            await world.wait(0.1)
        world.network.cut(A, B)
        began_s = world.clock.seconds()
        async with b.replicator.exclusive(SITE):
            assert world.clock.seconds() - began_s < 0.5
            assert await b.pool.history(main_of()) == before
            world.network.heal(A, B)
            await world.wait(20)
            assert await b.pool.history(main_of()) == before
        await world.wait(30)
        assert b.heads()[-1] == b"x" * 3_000_000

    tell(story)


def test_push_brings_one_peer_to_the_head_now(tell: Tell) -> None:
    """A planned move need not wait for the next round, and says when it cannot be done."""

    async def story(world: World) -> None:
        a, b, _ = await world.start(A, B, C)
        await world.site(a)
        await world.wait(6)
        a.pool.write(main_of(), "data", b"now")
        claim = world.owners[SITE]
        async with a.replicator.exclusive(SITE):
            snapshot = await a.replicator.snapshot(SITE, claim, only_if_changed=True)
            assert snapshot is not None
            assert await a.replicator.push(world.specs[SITE], claim, B) == snapshot.guid
        assert b.heads()[-1] == b"now"
        assert await a.replicator.snapshot(SITE, claim, only_if_changed=True) is None
        world.network.cut(A, C)
        await world.wait(6)
        with pytest.raises(PeerError):
            await a.replicator.push(world.specs[SITE], claim, C)

    tell(story)


def test_a_disk_that_was_replaced_unnoticed_is_no_copy(tell: Tell) -> None:
    """Who holds everything says so itself: a server whose disk was replaced within a second gets all of it again."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(6)
        assert await b.pool.history(main_of())
        await b.stop()
        world.nodes[B] = again = Node(world, B)
        await again.start()
        await world.wait(1)
        await a.replicator.push(world.specs[SITE], world.owners[SITE], B)
        assert guids(await again.pool.history(main_of())) == guids(a.replicator.history(SITE))

    tell(story)


def test_what_came_whole_in_a_stream_that_failed_is_found(tell: Tell) -> None:
    """A copy that is complete on disk, but whose end its server did not see, is known there before long."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b, site=OTHER)
        await world.wait(6)
        await world.site(a)
        await world.wait(6)
        b.facts.clear()
        b.pool.fail_next("history", StorageSick("no answer"))
        with pytest.raises(PeerError):
            await a.replicator.push(world.specs[SITE], world.owners[SITE], B)
        assert b.of(Received) == [] and b.replicator.history(SITE) == ()
        assert await b.pool.history(main_of())
        await world.wait(25)
        assert b.replicator.history(SITE) == a.replicator.history(SITE)
        assert b.of(Received) == [Received(SITE, world.owners[SITE], a.replicator.history(SITE)[-1].guid)]

    tell(story)


def test_where_two_lines_part_is_asked_for_when_nothing_published_is_known(tell: Tell) -> None:
    """A copy on a line of its own publishes only its newest snapshots, and can yet be brought up to date for ever."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        a.pool.write(main_of(), "data", b"common")
        await world.wait(10)
        fork = a.replicator.history(SITE)[-1].guid
        world.targets[SITE] = ()
        world.publish()
        for number in range(10):
            await b.pool.snapshot(main_of(), f"hyb-000002-bbbbbbbb-{number:07}")
        b = await world.restart(b)
        await world.own(a, 3)
        a = await world.restart(a)
        for tag in await a.pool.holds(main_of(), fork):
            await a.pool.release(main_of(), fork, tag)
        await world.own(a, 3)
        a.heads_told = {B: guids(b.replicator.history(SITE))[:-9:-1]}
        for number in range(30):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(300)
        assert fork in guids(a.replicator.history(SITE))
        assert len(a.replicator.history(SITE)) < 25

    tell(story)


def test_who_cannot_be_asked_keeps_all_it_may_have(tell: Tell) -> None:
    """While a server is cut off nobody knows what of the past it still needs: it stays; what came since may go."""

    async def story(world: World) -> None:
        a, _ = await world.start(A, B)
        await world.site(a)
        for number in range(10):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(30)
        before = guids(a.replicator.history(SITE))
        a.heads_told = {B: (Guid(7),)}
        world.network.cut(A, B)
        for number in range(40):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(300)
        after = guids(a.replicator.history(SITE))
        assert after[: len(before)] == before
        assert len(after) < len(before) + 25
        world.network.heal(A, B)
        await world.wait(700)
        assert len(a.replicator.history(SITE)) < 25

    tell(story)


def test_what_was_forgotten_is_told(tell: Tell) -> None:
    """What a node publishes of its history is true also after it was thinned out."""

    async def story(world: World) -> None:
        (a,) = await world.start(A)
        await world.site(a)
        for number in range(20):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(300)
        assert Forgotten(SITE) in a.facts

    tell(story)


def test_old_snapshots_go_and_common_bases_stay(tell: Tell) -> None:
    """Histories stay short, and a server that was away for days still gets an increment."""

    async def story(world: World) -> None:
        a, b, c = await world.start(A, B, C)
        await world.site(a, b, c)
        a.pool.write(main_of(), "data", b"base")
        await world.wait(70)
        base = a.replicator.history(SITE)[-1].guid
        world.network.cut(A, C)
        world.down.add(C)
        world.publish()
        for number in range(40):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(300)
        assert 13 <= len(a.replicator.history(SITE)) <= 22
        assert 13 <= len(b.replicator.history(SITE)) <= 22
        assert base in guids(a.replicator.history(SITE))
        assert guids(await a.pool.history(main_of())) == guids(a.replicator.history(SITE))
        held = await a.pool.holds(main_of(), base)
        assert held == {f"hyb-base-{C}"}
        world.network.heal(A, C)
        world.down.clear()
        await world.wait(1)
        world.publish()
        await world.wait(5)
        assert c.heads()[-1] == b"39"
        increments = [fact.bytes for fact in a.of(Replicated) if isinstance(fact, Replicated) and fact.node == C]
        assert len(increments) == 2 and increments[-1] < 2000

    tell(story)


def test_a_hold_left_by_an_earlier_process_does_not_last_for_ever(tell: Tell) -> None:
    """Restarts do not leave snapshots behind that nothing can remove."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(310)
        first = a.replicator.history(SITE)[0].guid
        a = await world.restart(a)
        await world.own(a, 2)
        assert await a.pool.holds(main_of(), first) == {f"hyb-base-{B}"}
        for number in range(30):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(300)
        assert first not in guids(a.replicator.history(SITE))

    tell(story)


def test_the_base_of_a_server_that_is_away_outlives_restarts_and_its_age(tell: Tell) -> None:
    """A site that rests for weeks, a server that is cut off, a restart: it still gets an increment when it is back."""

    async def story(world: World) -> None:
        a, b, c = await world.start(A, B, C)
        await world.site(a, b, c)
        await world.wait(310)
        base = a.replicator.history(SITE)[-1].guid
        world.later_s = 40 * 86400.0
        world.network.cut(A, C)
        world.down.add(C)
        a = await world.restart(a)
        await world.own(a, 2)
        for number in range(30):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(300)
        assert a.replicator.history(SITE)[0].guid == base
        assert len(a.replicator.history(SITE)) < 25

    tell(story)


def test_a_replica_keeps_what_a_third_node_will_need(tell: Tell) -> None:
    """Two copies never talk to each other, and yet either can bring the other up to date one day, restarts or not."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        told = b.replicator.history(SITE)[0].guid
        b.heads_told = {C: (told,)}
        await world.wait(310)
        b = await world.restart(b)
        for number in range(30):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(300)
        assert told in guids(b.replicator.history(SITE))
        assert len(b.replicator.history(SITE)) < 25

    tell(story)


def test_what_other_nodes_publish_as_their_head_is_kept(tell: Tell) -> None:
    """A copy keeps what it may one day need, as an owner, to bring another copy up to date."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        told = b.replicator.history(SITE)[0].guid
        b.heads_told = {C: (told,)}
        for number in range(30):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(300)
        assert told in guids(b.replicator.history(SITE))
        assert len(b.replicator.history(SITE)) < 25

    tell(story)


def test_the_trash_keeps_everything(tell: Tell) -> None:
    """A deleted site is put aside whole, twice if need be."""

    async def story(world: World) -> None:
        (a,) = await world.start(A)
        for _ in range(2):
            await world.site(a)
            await world.wait(6)
            history = a.replicator.history(SITE)
            world.owners.clear()
            world.publish()
            async with a.replicator.exclusive(SITE):
                await a.replicator.trash(SITE)
            assert a.replicator.history(SITE) == ()
        assert await a.pool.history(f"trash/{SITE}.2") == history
        assert (await a.pool.dataset(f"trash/{SITE}")).properties["trashed"] == f"{EPOCH_S + 7:.0f}"
        with pytest.raises(NoSuchDataset):
            await a.pool.dataset(main_of())

    tell(story)


def test_what_a_crash_left_half_done_is_removed_at_start(tell: Tell) -> None:
    """Clones and half-received datasets of an earlier process do not pile up."""

    async def story(world: World) -> None:
        (a,) = await world.start(A)
        await world.site(a)
        await world.wait(6)
        guid = a.replicator.history(SITE)[0].guid
        await a.pool.clone(main_of(), guid, "temporary/look-1")
        await a.pool.mount("temporary/look-1", "/nowhere/look-1")
        await a.pool.create("temporary/receive-sites-s-x")
        await a.pool.snapshot("temporary/receive-sites-s-x", "x")
        await a.stop()
        world.nodes[A] = a = Node(world, A, a.pool)
        await a.start()
        assert [one.name for one in await a.pool.datasets() if one.name.startswith("temporary/")] == []
        assert guids(a.replicator.history(SITE)) == (guid,)

    tell(story)


def test_a_node_that_starts_asks_its_peers_to_wait(tell: Tell) -> None:
    """Nobody is told that a site is not here while the index is still being read."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        b.replicator._recovered = False
        with pytest.raises(PeerError, match="starting"):
            await a.peers.request(B, AskHistory(main_of()))
        offer = Offer(dataset=image_dataset(IMAGE), claim=NO_CLAIM, base=None, to=Snapshot(Guid(5), "x", 0))
        answer = await offered(a, b, offer)
        assert isinstance(answer, Refused) and answer.reason == "busy"
        b.replicator._recovered = True
        assert await a.peers.request(B, AskHistory(main_of())) == HistoryHeld(None)
        assert await a.peers.request(B, AskHistory("../etc")) == HistoryHeld(None)

    tell(story)


def test_an_unfinished_stash_keeps_the_site_closed_until_it_is_finished(tell: Tell) -> None:
    """A storage failure in the middle of a rollback ends in a whole site, without anybody's help."""

    async def story(world: World) -> None:
        (a,) = await world.start(A)
        await world.site(a)
        await world.wait(6)
        a.pool.write(main_of(), "data", b"later")
        await world.wait(6)
        base = a.replicator.history(SITE)[0].guid
        a.pool.fail_next("promote", StorageSick("no"))
        async with a.replicator.exclusive(SITE):
            with pytest.raises(StorageSick):
                await a.replicator.stash(SITE, base, "rollback")
            with pytest.raises(Busy):
                await a.replicator.snapshot(SITE, world.owners[SITE])
        await world.wait(30)
        assert [one.base for one in a.replicator.stashes(SITE)] == [base]
        assert a.replicator.history(SITE)[0].guid == base

    tell(story)
