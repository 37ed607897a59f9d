"""
Whole nodes in one process: the real `Core`, on fakes for disks, containers and sockets, on one clock.

A node's life can end at any moment, also within a call to its disk: from then on nothing of that life does anything.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from hybrid.away.memory import MemoryObjects
from hybrid.cluster.loads import Gauge
from hybrid.cluster.memory_datagrams import MemoryAir
from hybrid.cluster.memory_peers import MemoryNetwork
from hybrid.cluster.sealing import MemorySeals
from hybrid.core import Core
from hybrid.deeds import CreateSite, Differences, Folder, Form
from hybrid.drivers import Drivers
from hybrid.errors import OutOfSpace
from hybrid.hosting.holdings import dataset_of
from hybrid.model import Guid, NodeId, NodeRegister, Shared, SiteId, SiteSpec
from hybrid.ports import ByteSource
from hybrid.settings import Settings, Strict
from hybrid.storage.memory import MemoryPool
from hybrid.storage.memory_stream import Source
from hybrid.storage.reserved import ReservedPool
from hybrid.strict.ports import StrictDrivers
from hybrid.view import SiteView
from hybrid_containers.memory import MemoryContainers
from hybrid_replicator.ports import Told, untold
from tests.node.lives import Life, LifeClock

T = TypeVar("T")
MANIFEST = '{"name": "static"}'


class Notes:
    """What a node remembers over a restart, in memory. See `hybrid.adapters.Memory`."""

    def __init__(self) -> None:
        self._nodes: dict[NodeId, NodeRegister] = {}
        self._shared: dict[str, Shared] = {}
        self._histories: dict[str, bytes] = {}
        self.starts = 0

    def nodes(self) -> dict[NodeId, NodeRegister]:
        """See `hybrid.adapters.Memory`."""
        return dict(self._nodes)

    def keep_nodes(self, registers: Iterable[NodeRegister]) -> None:
        """See `hybrid.adapters.Memory`."""
        self._nodes.update({register.id: register for register in registers})

    def forget_node(self, node: NodeId) -> None:
        """See `hybrid.adapters.Memory`."""
        self._nodes.pop(node, None)

    def shared(self) -> dict[str, Shared]:
        """See `hybrid.adapters.Memory`."""
        return dict(self._shared)

    def keep_shared(self, entries: Mapping[str, Shared]) -> None:
        """See `hybrid.adapters.Memory`."""
        self._shared.update(entries)

    def histories(self) -> dict[str, bytes]:
        """See `hybrid.adapters.Memory`."""
        return dict(self._histories)

    def keep_histories(self, records: Mapping[str, bytes]) -> None:
        """See `hybrid.adapters.Memory`."""
        self._histories.update(records)

    def drop_histories(self, datasets: Iterable[str]) -> None:
        """See `hybrid.adapters.Memory`."""
        for dataset in datasets:
            self._histories.pop(dataset, None)


class NoFiles:
    """Content is looked at in the pool directly; what was to be united is only listed."""

    def __init__(self) -> None:
        self.united: list[str] = []
        self.fails_to_unite = False
        self.copied: Callable[[], None] = lambda: None
        """What bringing a file back does to the live data."""

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
        self.united.append(tag)
        if self.fails_to_unite:
            raise OutOfSpace("no room")
        return 3

    async def copy(self, root: str, live_root: str, path: str, copy: str, told: Told = untold) -> tuple[int, str]:
        """See `hybrid_replicator.ports.Files`."""
        self.copied()
        return 1, path


class Steps:
    """A `Progress` that remembers."""

    def __init__(self) -> None:
        self.done: list[str] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """See `hybrid.deeds.Progress`."""
        yield
        self.done.append(name)


class Member:
    """One node: what survives a power cut (pool, notes), and what does not (core, containers, links)."""

    state_dir = "/state"

    def __init__(self, cluster: Cluster, name: str, dc: str) -> None:
        self.cluster, self.name, self.dc = cluster, name, dc
        self.id = NodeId(f"n-{name * 16}"[:18])
        self.pool = MemoryPool(cluster.wall_s, seed=name)
        self.notes = Notes()
        self.containers = MemoryContainers()
        self.content = NoFiles()
        self.up = False
        self.refuses_connections = False
        self.logs: dict[SiteId, bytes] = {}
        """Access logs written here."""
        self.no_room = ""
        """Why none can be written."""
        self.gauge: Gauge | None = None

    def start(self) -> None:
        """Come to life, on the disk there is."""
        self.begin()
        self.cluster.run(self.core.live())
        self.links.startService()

    def begin(self) -> None:
        """A new life, in which nothing happened yet."""
        self.notes.starts += 1
        self.life = Life(LifeClock(self.cluster.clock), self._lost_power)
        self.cluster.lives.append(self.life)
        self.links = self.cluster.network.join(self.id)
        settings = Settings(
            name=self.name,
            dc=self.dc,
            address=f"10.9.9.{ord(self.name)}",
            state_dir=self.state_dir,
            strict=self.cluster.strict,
        )
        drivers = Drivers(
            pool=ReservedPool(self.life.sees(self.pool)),
            containers=self.life.sees(self.containers),
            links=self.links,
            datagrams=self.cluster.air.join(self.id),
            entropy=random.Random(self.name).randbytes,
            files=self.content,
            memory=self.notes,
            seals=MemorySeals(self.id),
            accepts=self._accepts,
            shift_owners=self._shift_owners,
            append=self._append,
            wall_s=self.cluster.wall_s,
            random=random.Random(self.name),
            load=lambda: 0.0,
            objects=lambda store: self.cluster.bucket,
            gauge=self.gauge,
            strict=self.strict_drivers(),
        )
        self.core = Core(self.life.clock, settings, self.id, self.notes.starts, ("hybrid.test",), drivers)
        self.up = True

    def strict_drivers(self) -> StrictDrivers | None:
        """etcd and a guardian; a plain node has none."""
        return None

    async def _accepts(self, address: str, port: int) -> bool:
        listening = any(spec.address == address for spec in self.containers.specs().values())
        return listening and not self.refuses_connections

    async def _append(self, portions: Sequence[tuple[str, int, bytes]]) -> list[str]:
        if not self.no_room:
            for root, _, data in portions:
                site = SiteId(root.rpartition("/")[2])
                self.logs[site] = self.logs.get(site, b"") + data
        return [self.no_room] * len(portions)

    async def _shift_owners(self, path: str, id_base: int) -> int:
        return 0

    def power_cut(self) -> None:
        """Everything that is not on disk is gone, at once."""
        self.life.end()
        self._lost_power()

    def _lost_power(self) -> None:
        self.kill_process()
        self.containers = MemoryContainers()
        self.pool.lose_power()

    def kill_process(self) -> None:
        """The node process dies; containers, mounts and the disk go on."""
        self.life.end()
        self.up = False
        self.cluster.air.leave(self.id)
        self.links.stopService()

    def site(self, spec: SiteSpec) -> SiteView:
        """The site as this node sees it."""
        return self.core.outlook.view.sites[spec.id]

    def write(self, site: SiteId, path: str, data: bytes) -> None:
        """What a client's request does, on the owner."""
        self.pool.write(dataset_of(site), path, data)

    def holds(self, site: SiteId, guid: Guid) -> bool:
        """Whether a snapshot of the site is here, in the main line or in a stash."""
        names = [one.name for one in self.cluster.run(self.pool.datasets()) if site in one.name]
        return any(guid == one.guid for name in names for one in self.cluster.run(self.pool.history(name)))

    def files(self, site: SiteId) -> dict[str, bytes]:
        """Live data here."""
        return dict(self.pool.files(dataset_of(site)))


PLACES = {"a": "paris", "b": "paris", "c": "london"}


class Cluster:
    """Nodes by name, each in its data centre; `a` is there from the beginning."""

    later_s = 0.0
    """Days that pass at once, by the time of day alone."""
    strict = Strict()
    """The settings about strict sites, on all nodes."""

    def __init__(
        self, places: Mapping[str, str] = PLACES, member: Callable[[Cluster, str, str], Member] = Member
    ) -> None:
        """`member(cluster, name, dc)` makes a node."""
        self.clock = Clock()
        self.lives: list[Life] = []
        self.network = MemoryNetwork(self.clock)
        self.air = MemoryAir(self.network)
        self.bucket = MemoryObjects()
        """A store far away; a second cluster may have the same."""
        self.members = {name: member(self, name, dc) for name, dc in places.items()}

    def bury(self) -> None:
        """Let go of all there ever was: what is left of it would else tidy up in the middle of another test."""
        for life in self.lives:
            life.bury()

    def wall_s(self) -> float:
        """Time of day."""
        return 1_700_000_000 + self.clock.seconds() + self.later_s

    def run(self, coroutine: Coroutine[Any, Any, T], within_s: float = 60.0) -> T:
        """What `coroutine` returns; time passes until it does."""
        results: list[T | Failure] = []
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        until_s = self.clock.seconds() + within_s
        while not results:
            assert self.clock.seconds() < until_s, "it did not end in time"
            self.tick()
        result = results[0]
        if isinstance(result, Failure):
            result.raiseException()
            raise AssertionError
        return result

    def tick(self) -> None:
        """Let a moment pass."""
        self.clock.advance(0.05)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / 0.05)):
            self.tick()

    def start(self) -> None:
        """Start all nodes and let them meet."""
        for member in self.members.values():
            member.start()
            self._introduce(member)
        self.wait(15)

    def _introduce(self, member: Member) -> None:
        """Give it the image, as an operator does once."""
        pool = member.pool
        if any(name for name, _ in member.core.shelf.known()):
            return
        if member.name == "a":
            self.run(pool.create("images/static-1", {"image": "static@1", "manifest": MANIFEST, "complete": "yes"}))
            pool.write("images/static-1", "index.html", b"hello")
            self.run(pool.snapshot("images/static-1", "image"))
            self.run(member.core.shelf.load())

    def create(self, name: str = "shop", on: str = "a", copies: int = 2, **more: Any) -> SiteSpec:
        """A running site."""
        request = CreateSite(name=name, image="static", copies=copies, **more)
        return self.run(self.members[on].core.hosting.create(request, Steps()))

    def owners(self, spec: SiteSpec) -> dict[str, str | None]:
        """Who owns the site, as each live node sees it."""
        names = {member.id: member.name for member in self.members.values()}
        return {
            member.name: names.get(member.site(spec).owner or NodeId(""))
            for member in self.members.values()
            if member.up
        }
