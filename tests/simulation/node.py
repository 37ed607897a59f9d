"""A node of a simulated cluster: a machine with a disk and containers, on which the real `Core` lives and dies."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from hybrid.away.memory import MemoryObjects
from hybrid.cluster.candidates import largest_claim
from hybrid.cluster.memory_peers import MemoryPeers
from hybrid.cluster.sealing import MemorySeals
from hybrid.core import Core
from hybrid.drivers import Drivers
from hybrid.errors import HybridError
from hybrid.hosting.holdings import PREFIX
from hybrid.model import NO_CLAIM, Claim, Fact, Guid, NodeId, Received, Replicated, SiteId, SiteRegister, Stashed
from hybrid.ports import ContainerSpec
from hybrid.settings import Settings
from hybrid_containers.memory import MemoryContainers
from tests.node.cluster import NoFiles, Notes
from tests.simulation.clock import NodeClock
from tests.simulation.disk import Disk
from tests.simulation.life import Life

if TYPE_CHECKING:
    from tests.simulation.world import World


IN_FLIGHT_S = 61.0
"""A message is read so late at most: its reader was stopped for a minute."""


class Process:
    """One life of the node process."""

    def __init__(self, node: Node) -> None:
        world = node.world
        node.notes.starts += 1
        self.node = node
        self.started_s = world.timeline.now_s
        self.clock = NodeClock(world.timeline, node.rate, node.name)
        self.life = Life(self.clock, node.disk, world.latency)
        self.links = MemoryPeers(world.network, node.id, self.clock)
        self.up = False
        self.adopted = frozenset(node.containers.specs())
        """Sites whose containers ran already when it started."""
        self.claims = {site: node.disk.durable(site) for site in world.sites}
        """Those on its disk when it started."""
        settings = Settings(name=node.name, dc=node.dc, address=node.address, state_dir="/state", timing=world.timing)
        drivers = Drivers(
            pool=self.life.sees(node.disk),
            containers=self.life.sees(node.containers),
            links=self.links,
            datagrams=world.air.join(node.id, self.clock),
            entropy=world.latency.randbytes,
            files=NoFiles(),
            memory=node.notes,
            seals=MemorySeals(node.id),
            accepts=node.accepts,
            shift_owners=node.shift_owners,
            wall_s=world.wall_s,
            random=random.Random(f"{world.seed}/{node.name}/{node.notes.starts}"),
            load=lambda: 0.0,
            objects=lambda store: MemoryObjects(),
        )
        self.core: Core = world.core(self.clock, settings, node.id, node.notes.starts, ("hybrid.test",), drivers)
        self.core.observed.append(self._observed)
        self.core.told.append(self._told)

    def live(self) -> None:
        """Come to life."""
        Deferred.fromCoroutine(self.core.live()).addCallbacks(self._came_up, self._failed)

    def _came_up(self, _: object) -> None:
        self.up = True
        self.links.startService()

    def _failed(self, failure: Failure) -> None:
        """It could not come to life: the process ends, and is started again by its supervisor."""
        self.node.world.note(self.node.name, f"cannot come to life: {failure.value}")
        if failure.check(HybridError) is None:
            self.node.world.oracle.violated("E", f"{self.node.name} cannot come to life: {failure.getTraceback()}")
        self.clock.kill()
        self.node.world.later(1.0, self.node.start)

    def age_s(self) -> float:
        """Seconds by its own clock since its start."""
        return (self.node.world.timeline.now_s - self.started_s) * self.node.rate

    def register(self, site: SiteId) -> SiteRegister | None:
        """What it says about a site."""
        return self.core.known.registers(site).get(self.node.id)

    def _observed(self, fact: Fact) -> None:
        world, node = self.node.world, self.node
        if isinstance(fact, Replicated):
            world.oracle.safe(fact.guid, (node.disk.label, world.nodes[fact.node].acknowledged(fact.guid)))
        elif isinstance(fact, Received):
            world.invariants.received(self, fact)
        elif isinstance(fact, Stashed):
            world.invariants.stashed(node, fact.stash.site)

    def _told(self, kind: str, site: SiteId, text: str) -> None:
        self.node.world.invariants.told(self, kind, site)


class Node:
    """The machine."""

    def __init__(self, world: World, number: int, rate: float) -> None:
        """`rate` is that of its clock."""
        self.world, self.rate = world, rate
        self.name = "abcdefgh"[number]
        self.id = NodeId(f"n-{self.name * 16}")
        self.dc = ("paris", "london")[number % 2]
        self.address = f"10.9.9.{number + 1}"
        self.disks = 0
        self._lost: tuple[str, float] | None = None
        """The disk before this one, and when it was destroyed."""
        self.disk = self._new_disk()
        self.notes = Notes()
        self.containers = Containers(self)
        self.process: Process | None = None
        self.refusing: set[SiteId] = set()
        """Sites whose containers run here and never accept a connection."""

    def _new_disk(self) -> Disk:
        self.disks += 1
        disk = Disk(self.id, f"{self.name}{self.disks}", self.world.oracle, self.world.wall_s)
        disk.kept_guids = lambda name, guid: self.world.invariants.needed(self, name, guid)
        return disk

    # --------------------------------------------------------------------------------------------------- life

    @property
    def up(self) -> bool:
        """Whether its process speaks and listens."""
        return self.process is not None and self.process.up

    @property
    def running(self) -> bool:
        """Whether its process does anything at the moment."""
        return self.process is not None and not self.process.clock.paused and not self.process.clock.dead

    def start(self) -> None:
        """Start the process, unless there is one."""
        if self.process is None or self.process.clock.dead:
            self.process = Process(self)
            self.process.live()

    def kill(self) -> None:
        """The process dies; its kernel tells the peers; containers, mounts and the disk go on."""
        self._end()
        self.world.network.stopped(self.id)

    def power_cut(self) -> None:
        """All that is not on disk is gone, and nobody is told."""
        self._end()
        self.world.network.vanish(self.id)
        self.world.air.leave(self.id)
        self.containers = Containers(self)
        self.disk.go_on()
        self.disk.lose_power()

    def lose_disk(self) -> None:
        """A power cut, and the disk does not come back: there is a new, empty one."""
        self.power_cut()
        oracle = self.world.oracle
        oracle.lost(self.disk.label)
        oracle.orphaned |= {(site, claim) for site, claim in oracle.minted if claim.node == self.id}
        self._lost = self.disk.label, self.world.timeline.now_s
        self.disk = self._new_disk()

    def acknowledged(self, guid: Guid) -> str:
        """
        The disk for which this node said that it holds a snapshot, as another one heard a moment ago.

        What was said may have been under way when the disk was destroyed; but not for longer than anybody is stopped.
        """
        disks = self.world.oracle.disks_of.get(guid, ())
        if self._lost is not None and self.disk.label not in disks and self._lost[0] in disks:
            label, lost_s = self._lost
            if self.world.timeline.now_s - lost_s <= IN_FLIGHT_S:
                return label
        return self.disk.label

    def talks_to(self, other: Node) -> bool:
        """Whether both are there, and can ask each other."""
        cuts = self.world.network.cuts()
        there = self.up and self.running and other.up and other.running
        return there and (other.id, self.id) not in cuts and (self.id, other.id) not in cuts

    def swapping(self, name: str) -> tuple[Guid, ...] | None:
        """The newest that it tells of a dataset, newest first, while another history lies in its place; else `None`."""
        register = self.process.register(SiteId(name.removeprefix(PREFIX))) if self.process is not None else None
        volume = self.disk.volumes().get(name)
        if register is None or volume is None or register.head is None:
            return None
        return None if any(moment.snapshot.guid == register.head for moment in volume.moments) else register.recent

    def hears_of(self, site: SiteId, claim: Claim) -> bool:
        """Whether any node that this one can talk to knows of a claim."""
        heard = [node for node in self.world.nodes.values() if node is not self and node.talks_to(self)]
        said = [node.process.core.known.registers(site).values() for node in heard if node.process is not None]
        return claim <= max((largest_claim(registers) for registers in said), default=NO_CLAIM)

    def _end(self) -> None:
        if self.process is not None:
            self.process.clock.kill()
            self.world.graveyard.append(self.process)
            self.process = None

    def pause(self) -> None:
        """SIGSTOP."""
        if self.process is not None:
            self.process.clock.pause()
            self.world.network.silence(self.id)

    def resume(self) -> None:
        """SIGCONT."""
        if self.process is not None and self.process.clock.paused:
            self.process.clock.resume()
            self.world.network.speak(self.id)

    # ---------------------------------------------------------------------------------------------- containers

    async def accepts(self, address: str, port: int) -> bool:
        """Whether a container here accepts connections."""
        return any(
            spec.address == address and site not in self.refusing for site, spec in self.containers.specs().items()
        )

    async def shift_owners(self, path: str, id_base: int) -> int:
        """Files have no owners here."""
        return 0

    def serves(self, site: SiteId) -> bool:
        """Whether clients reach the site's container here."""
        return site in self.containers.specs()


class Containers(MemoryContainers):
    """The containers of one machine: they live on when the node process dies."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node

    async def start(self, spec: ContainerSpec) -> None:
        """See `hybrid.ports.Containers`."""
        process, new = self._node.process, spec.site not in self._containers
        await super().start(spec)
        if new and process is not None and spec.network:  # a copy that is only tried out serves nobody
            self._node.world.invariants.started(process, spec.site)
