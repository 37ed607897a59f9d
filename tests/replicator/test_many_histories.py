"""
Three servers, one site, and everything that goes wrong, from a seed: writes, cuts, take-overs, both sides writing,
rollbacks, restarts, power failures. In the end all copies agree, and every write that was snapshotted is somewhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hybrid.cluster.memory_peers import MemoryNetwork, MemoryPeers
from hybrid.deeds import Differences, Folder, Form
from hybrid.errors import Conflict
from hybrid.history import guids
from hybrid.model import NO_CLAIM, Claim, Fact, NodeId, SiteId, SiteSpec, Version
from hybrid.ports import ByteSource
from hybrid.storage.memory import MemoryPool
from hybrid.storage.memory_stream import Source
from hybrid.view import NodeView, SiteView, View
from hybrid_replicator.ports import Told, untold
from hybrid_replicator.service import Replicator

Run = Callable[[Coroutine[object, object, object]], object]
SITE = SiteId("s-" + "a" * 26)
MAIN, IMAGE = f"sites/{SITE}", "images/php-0123"
NAMES = [NodeId(f"n-{letter * 16}") for letter in "abc"]
SPEC = SiteSpec(id=SITE, version=Version(1, 0), name="shop", domains=(), image="php@0123", number=1)
SEEDS, STEPS = 25, 30


class PowerFailure(Exception):
    """The pool of a node that lost power answers nothing any more."""


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
        return 0, path


class Powered:
    """A pool that its process reaches only while the node has power."""

    def __init__(self, pool: MemoryPool) -> None:
        self.pool, self.on, self.calls_left = pool, True, -1

    def __getattr__(self, name: str) -> object:
        attribute = getattr(self.pool, name)
        if name == "capabilities":
            return attribute

        async def call(*arguments: object, **named: object) -> object:
            if self.calls_left == 0 or not self.on:
                self.on = False
                raise PowerFailure
            self.calls_left -= 1
            return await attribute(*arguments, **named)

        return call


class Server:
    """One node over its lives: pool and fences stay, processes come and go."""

    def __init__(self, world: World, name: NodeId) -> None:
        self.world, self.name = world, name
        self.pool = MemoryPool(world.wall_s, seed=name)
        self.largest, self.claim = NO_CLAIM, NO_CLAIM
        self.facts: list[Fact] = []
        self.up = False
        self.replicator: Replicator
        self.peers: MemoryPeers
        self.power: Powered

    # ------------------------------------------------------------------------------------------------- fences

    def seen(self, site: SiteId) -> Claim:
        """See `hybrid_replicator.ports.Fences`."""
        return self.largest

    async def saw(self, site: SiteId, claim: Claim) -> None:
        """See `hybrid_replicator.ports.Fences`."""
        self.largest = max(self.largest, claim)

    def writing(self, site: SiteId) -> AbstractAsyncContextManager[None]:
        """See `hybrid_replicator.ports.Fences`."""
        return nullcontext()

    def is_writer(self, site: SiteId) -> bool:
        """See `hybrid_replicator.ports.Fences`."""
        return self.claim != NO_CLAIM

    # --------------------------------------------------------------------------------------------------- life

    async def boot(self) -> None:
        """A new process on the old pool; who owned the site keeps what it wrote, and is a replica."""
        self.power, self.peers = Powered(self.pool), self.world.network.join(self.name)
        self.replicator = Replicator(
            self.world.clock,
            self.power,  # type: ignore[arg-type]  # answers every call of the port by delegation
            self.peers,
            self,
            lambda site: tuple(name for name in NAMES if name != self.name),
            lambda site: None,
            self.facts.append,
            self.name,
            files=NoFiles(),
            place=Path("/nowhere"),
            jitter=self.world.chance.random,
            now_s=self.world.wall_s,
            look_every_s=2.0,
        )
        await self.pool.prepare()
        await self.replicator.recover()
        self.up = True
        await self.close()
        self.peers.startService()
        self.replicator.startService()

    async def lose_power(self, calls: int) -> None:
        """The process stops dead, after some more calls to its pool, maybe in the middle of a rollback."""
        self.power.calls_left = calls
        if self.claim != NO_CLAIM and self.world.chance.random() < 0.5:
            with suppress(PowerFailure):
                await self.roll_back()
        await self.world.wait(2.5)
        self.power.on, self.up = False, False
        self.replicator._loops.stop()
        await self.peers.stopService()

    async def open(self) -> None:
        """Take the site over, if there is a line of it here."""
        if not self.replicator.history(SITE):
            return
        async with self.replicator.exclusive(SITE):
            self.claim = Claim(max(server.largest.epoch for server in self.world.servers.values()) + 1, self.name)
            await self.saw(SITE, self.claim)
            await self.pool.set_readonly(MAIN, False)
            await self.replicator.snapshot(SITE, self.claim)

    async def close(self) -> None:
        """Give the site up: what was written is in a snapshot first."""
        claim, self.claim = self.claim, NO_CLAIM
        if claim != NO_CLAIM:
            async with self.replicator.exclusive(SITE):
                await self.pool.set_readonly(MAIN, True)
                await self.replicator.snapshot(SITE, claim, only_if_changed=True)

    async def roll_back(self) -> None:
        """To some moment, or undo the newest of that."""
        history, stashes = self.replicator.history(SITE), self.replicator.stashes(SITE)
        with suppress(Conflict):
            async with self.replicator.exclusive(SITE):
                if stashes and self.world.chance.random() < 0.5:
                    await self.replicator.unstash(self.world.chance.choice(stashes).id, "undo")
                elif len(history) > 1:
                    await self.replicator.stash(SITE, self.world.chance.choice(history[:-1]).guid, "rollback")
        await self.open()

    async def contents(self) -> set[bytes]:
        """All that is in any snapshot here."""
        found = set()
        for dataset in await self.pool.datasets():
            for snapshot in await self.pool.history(dataset.name):
                found |= set(self.pool.files(dataset.name, snapshot.guid).values())
        return found


class World:
    """The servers, and what was ever written to them."""

    def __init__(self, clock: Clock, seed: int) -> None:
        self.clock, self.chance = clock, random.Random(seed)
        self.network = MemoryNetwork(clock, delay_s=0.01, dead_s=2.0)
        self.servers = {name: Server(self, name) for name in NAMES}
        self.written: set[bytes] = set()

    def wall_s(self) -> float:
        """Wall time."""
        return 1_800_000_000.0 + self.clock.seconds()

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        over: Deferred[None] = Deferred()
        self.clock.callLater(seconds, over.callback, None)
        await over

    def publish(self) -> None:
        """Each server sees those it reaches, and the largest claim among them."""
        for server in self.servers.values():
            if server.up:
                server.replicator.follow(self.view(server))

    def view(self, me: Server) -> View:
        """What `me` knows."""
        live = {name for name in NAMES if name == me.name or name in self.network.connected(me.name)}
        claims = [self.servers[name].claim for name in live if self.servers[name].claim != NO_CLAIM]
        claim = max(claims, default=None)
        nodes = {
            name: NodeView(
                id=name, name=name, dc="", address="", cluster_port=1, interior_port=2, api_port=3, live=name in live
            )
            for name in NAMES
        }
        owner = claim.node if claim else None
        sites = {SITE: SiteView(spec=SPEC, state="serving", owner=owner, claim=claim)}
        return View(me=me.name, serial=0, zones=(), nodes=nodes, sites=sites)

    async def found(self) -> None:
        """The first owner, its image, its site."""
        for server in self.servers.values():
            await server.boot()
        first = self.servers[NAMES[0]]
        await first.pool.create(IMAGE)
        image = await first.pool.snapshot(IMAGE, "image")
        await first.pool.clone(IMAGE, image.guid, MAIN)
        first.claim = Claim(1, first.name)
        await self.wait(1)

    async def step(self) -> None:
        """Something happens."""
        chance = self.chance
        server = chance.choice(list(self.servers.values()))
        other = chance.choice([name for name in NAMES if name != server.name])
        what = chance.choice(["write"] * 8 + ["cut", "cut", "heal", "heal", "open", "roll back", "restart", "power"])
        if what == "cut":
            self.network.cut(server.name, other)
        elif what == "heal":
            self.network.heal_all()
        elif what == "restart":
            await server.replicator.stopService()
            await server.peers.stopService()
            await server.boot()
        elif what == "power":
            await server.lose_power(chance.randrange(25))
            await server.boot()
        elif what == "open" and server.claim == NO_CLAIM:
            await server.open()
        elif what == "roll back" and server.claim != NO_CLAIM:
            await server.roll_back()
        await self.wait(chance.uniform(0, 4))
        self.write()
        self.publish()

    def write(self) -> None:
        """Every owner is written to, a new file each time."""
        for server in self.servers.values():
            if server.claim != NO_CLAIM:
                data = b"%d" % len(self.written)
                self.written.add(data)
                server.pool.write(MAIN, data.decode(), data)

    async def settle(self) -> None:
        """Losers close; nobody owns it: somebody opens it."""
        owners = [server for server in self.servers.values() if server.claim != NO_CLAIM]
        winner = max(owners, key=lambda server: server.claim, default=None)
        for server in owners:
            if server is not winner:
                await server.close()
        if winner is None:
            await max(self.servers.values(), key=lambda server: len(server.replicator.history(SITE))).open()
        self.publish()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_all_copies_agree_and_nothing_written_is_lost(clock: Clock, run: Run, seed: int) -> None:
    """Whatever happened, every write is in the main line or in a stash of some server, and the copies are equal."""

    async def story() -> bool:
        world = World(clock, seed)
        await world.found()
        for _ in range(STEPS):
            await world.step()
            if world.chance.random() < 0.3:
                await world.settle()
        world.network.heal_all()
        await world.wait(5)
        await world.settle()
        await world.wait(2)
        owner = next(server for server in world.servers.values() if server.claim != NO_CLAIM)
        await owner.close()
        await owner.open()
        for _ in range(30):
            await world.wait(10)
            world.publish()
        lines = {name: guids(server.replicator.history(SITE)) for name, server in world.servers.items()}
        assert len({line[-1] for line in lines.values()}) == 1, lines
        kept = set().union(*[await server.contents() for server in world.servers.values()])
        assert world.written <= kept
        for server in world.servers.values():
            assert guids(await server.pool.history(MAIN)) == guids(server.replicator.history(SITE))
            assert (await server.pool.dataset("stash/journal")).properties == {}
            assert not [one.name for one in await server.pool.datasets() if one.name.startswith("temporary/")]
            assert server.replicator._stashes.unfinished == set()
        return True

    run(story())
