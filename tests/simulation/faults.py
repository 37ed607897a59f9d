"""What befalls a cluster, drawn from its seed: each fault has its beginning and its end, and several overlap."""

from __future__ import annotations

from collections.abc import Callable

from hybrid.model import NodeId, SiteId
from hybrid_replicator.journal import Intent, decode
from hybrid_replicator.names import STASH, is_intent, site_dataset, stash_dataset
from tests.node.cluster import Steps
from tests.simulation.disk import Disk
from tests.simulation.node import Node
from tests.simulation.world import World

Fault = Callable[[], None]


class Faults:
    """The faults of one history."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.chance("faults")
        self.over = False
        """Nothing begins any more."""

    def kinds(self) -> list[tuple[int, Fault]]:
        """What may happen, each with how often in relation to the others."""
        return [
            (6, self.part),
            (3, self.one_way),
            (2, self.flap),
            (1, self.lose_packets),
            (5, self.crash),
            (2, self.crash_owner),
            (1, self.crash_all),
            (4, self.kill),
            (3, self.pause),
            (3, self.hang),
            (1, self.sicken),
            (2, self.fill),
            (1, self.lose_disk),
            (2, self.break_container),
            (3, self.move),
            (5, self.roll_back),
            (3, self.undo),
            (1, self.edit),
            (3, self.create),
            (2, self.delete),
            (1, self.crash_container),
        ]

    def strike(self) -> None:
        """One of them."""
        kinds = self.kinds()
        (fault,) = self._chance.choices([fault for _, fault in kinds], [weight for weight, _ in kinds])
        fault()

    def _note(self, what: str) -> None:
        self._world.note("", what)
        self._world.oracle.count("fault " + what.split(" ", 1)[0])

    def _node(self) -> Node:
        return self._chance.choice(list(self._world.nodes.values()))

    def _site(self) -> SiteId | None:
        return self._chance.choice(self._world.sites) if self._world.sites else None

    def owner(self, site: SiteId) -> Node | None:
        """A node that says it owns `site`, if any."""
        owners = [node for node in self._world.nodes.values() if owns(node, site)]
        return self._chance.choice(owners) if owners else None

    def _until(self, low_s: float, high_s: float, end: Callable[..., object], *args: object) -> None:
        self._later(self._chance.uniform(low_s, high_s), end, *args)

    def _later(self, delay_s: float, deed: Callable[..., object], *args: object) -> None:
        """Unless all is settled by then."""
        self._world.later(delay_s, lambda: None if self.over else deed(*args))

    # -------------------------------------------------------------------------------------------------- network

    def part(self) -> None:
        """Cut the nodes into two or three groups; sometimes by data centre."""
        world, nodes = self._world, list(self._world.nodes.values())
        if self._chance.random() < 0.3:
            groups = [{n.id for n in nodes if n.dc == dc} for dc in ("paris", "london")]
        else:
            side = {node.id: self._chance.randrange(3 if self._chance.random() < 0.3 else 2) for node in nodes}
            groups = [{node for node, at in side.items() if at == group} for group in range(3)]
        self._note(f"partition {' | '.join(self._names(group) for group in groups if group)}")
        world.network.partition(*groups)
        self._until(3.0, 90.0, self.heal)

    def _names(self, nodes: set[NodeId]) -> str:
        return " ".join(sorted(self._world.nodes[node].name for node in nodes))

    def one_way(self) -> None:
        """Lose everything in one direction between two nodes."""
        one, other = self._chance.sample(list(self._world.nodes.values()), 2)
        self._note(f"one-way cut from {one.name} to {other.name}")
        self._world.network.cut_one_way(one.id, other.id)
        self._until(3.0, 90.0, self.heal)

    def heal(self) -> None:
        """All directions are open again."""
        if self._world.network.cuts():
            self._note("heal")
            if self._world.network.streams():
                self._world.oracle.count("heal while receiving")
            self._world.network.heal_all()

    def flap(self) -> None:
        """A link that comes and goes."""
        one, other = self._chance.sample(list(self._world.nodes.values()), 2)
        self._note(f"flapping between {one.name} and {other.name}")
        for turn in range(self._chance.randint(3, 8)):
            self._later(turn * self._chance.uniform(2.0, 12.0), self._world.network.cut, one.id, other.id)
            self._later(turn * 12.0 + self._chance.uniform(1.0, 11.0), self._world.network.heal, one.id, other.id)

    def lose_packets(self) -> None:
        """The network drops a third of all packets."""
        self._note("loss of packets")
        self._world.network.loss = self._world.air.loss = 0.33
        self._until(10.0, 60.0, self._lossless)

    def _lossless(self) -> None:
        self._world.network.loss = self._world.air.loss = 0.02

    # --------------------------------------------------------------------------------------------------- nodes

    def crash(self) -> None:
        """Power cut of a node."""
        self._crash(self._node())

    def crash_owner(self) -> None:
        """Power cut of the node that matters most."""
        site = self._site()
        node = self.owner(site) if site else None
        if node is not None:
            self._crash(node)

    def crash_all(self) -> None:
        """Power cut of everything."""
        for node in self._world.nodes.values():
            self._crash(node)

    def _crash(self, node: Node) -> None:
        self._note(f"crash of {node.name}")
        self._watch_stash(node)
        node.power_cut()
        self._until(1.0, 60.0, node.start)

    def _watch_stash(self, node: Node) -> None:
        """Count what a crash interrupts."""
        for key, value in node.disk.properties("stash/journal").items():
            if is_intent(key):
                self._world.oracle.count("crash in a stash before the " + _next_step(node.disk, decode(value)))

    def kill(self) -> None:
        """SIGKILL of the node process; its supervisor starts it again."""
        node = self._node()
        self._note(f"kill of {node.name}")
        self._watch_stash(node)
        node.kill()
        self._until(0.5, 10.0, node.start)

    def pause(self) -> None:
        """SIGSTOP of the node process."""
        node = self._node()
        self._note(f"pause of {node.name}")
        node.pause()
        self._until(0.5, 60.0, node.resume)

    # ------------------------------------------------------------------------------------------------- storage

    def hang(self) -> None:
        """The disk stops answering for a while."""
        disk = self._node().disk
        self._note(f"hanging disk {disk.label}")
        disk.hang()
        self._until(0.5, 60.0, disk.go_on)

    def sicken(self) -> None:
        """The disk refuses everything for a while."""
        disk = self._node().disk
        self._note(f"sick disk {disk.label}")
        disk.sick = "the daemon died"
        self._until(2.0, 60.0, self._cure, disk)

    def _cure(self, disk: object) -> None:
        for node in self._world.nodes.values():
            if node.disk is disk:
                node.disk.sick = ""

    def fill(self) -> None:
        """No room for anything."""
        disk = self._node().disk
        self._note(f"full disk {disk.label}")
        disk.fill(True)
        self._until(5.0, 90.0, disk.fill, False)

    def lose_disk(self) -> None:
        """A disk is destroyed, where the others are all there and have everything."""
        nodes = list(self._world.nodes.values())
        if all(node.up for node in nodes) and not self._world.network.cuts():
            node = self._node()
            self._note(f"loss of disk {node.disk.label}")
            node.lose_disk()
            self._until(1.0, 60.0, node.start)

    # ---------------------------------------------------------------------------------------------- containers

    def break_container(self) -> None:
        """A site does not start at some node; or starts and never answers."""
        node, site = self._node(), self._site()
        if site is None:
            return
        self._note(f"broken container of {site} at {node.name}")
        if self._chance.random() < 0.5:
            node.refusing.add(site)
        else:
            node.containers.broken[site] = "no memory"
        self._until(10.0, 120.0, self._mend, node, site)

    def _mend(self, node: Node, site: SiteId) -> None:
        node.refusing.discard(site)
        node.containers.broken.pop(site, None)

    def crash_container(self) -> None:
        """A container dies by itself."""
        site = self._site()
        for node in self._world.nodes.values():
            if site is not None and node.serves(site):
                self._note(f"container of {site} dies at {node.name}")
                node.containers.crash(site)

    # -------------------------------------------------------------------------------------------------- orders

    def move(self) -> None:
        """A planned move."""
        site, to = self._site(), self._node()
        node = self.owner(site) if site else None
        if node is not None and site is not None and node.process is not None:
            process = node.process
            self._world.order(
                node, f"move {site} to {to.name}", lambda: process.core.hosting.move(site, to.id, Steps())
            )

    def roll_back(self) -> None:
        """A user goes back in time."""
        site = self._site()
        node = self.owner(site) if site else None
        if node is None or site is None or node.process is None:
            return
        hosting = node.process.core.hosting
        history = hosting.history(site)
        if history:
            to = self._chance.choice(history[-10:])
            self._world.order(node, f"rollback {site} to {to.name}", lambda: hosting.rollback(site, to.guid, Steps()))
            self._interrupt(node)

    def _interrupt(self, node: Node) -> None:
        """What is worst in the middle of a swap of histories, now and then."""
        match self._chance.randrange(8):
            case 0 | 1 | 2 | 3:
                self._later(self._chance.uniform(0.0, 5.0), self._crash, node)
            case 4:
                self._later(self._chance.uniform(0.0, 3.0), node.disk.fill, True)
                self._until(10.0, 30.0, node.disk.fill, False)

    def undo(self) -> None:
        """A user changes their mind."""
        site = self._site()
        node = self.owner(site) if site else None
        if node is not None and site is not None and node.process is not None:
            hosting = node.process.core.hosting
            self._world.order(node, f"undo {site}", lambda: hosting.undo(site, Steps()))
            self._interrupt(node)

    def edit(self) -> None:
        """A user changes the spec."""
        site = self._site()
        node = self.owner(site) if site else None
        if node is not None and site is not None and node.process is not None:
            hosting = node.process.core.hosting
            changes: dict[str, object] = {"ttl_s": self._chance.randint(10, 60)}
            self._world.order(node, f"edit {site}", lambda: hosting.edit(site, changes))

    def create(self) -> None:
        """A user wants another site; few are enough."""
        if len(self._world.sites) < 3:
            self._world.create(self._node(), copies=self._chance.choice([1, 2, 2, 3]), policy=self._world.policy())

    def delete(self) -> None:
        """A user wants a site no more."""
        site = self._site()
        node = self.owner(site) if site else None
        if node is not None and site is not None and node.process is not None and len(self._world.sites) > 1:
            hosting = node.process.core.hosting
            others = [other for other in self._world.nodes.values() if other is not node and owns(other, site)]
            if others:
                self._world.oracle.count("tombstone against a partitioned writer")
            self._world.deleted.add(site)
            self._world.order(node, f"delete {site}", lambda: hosting.delete(site, Steps()))

    # ----------------------------------------------------------------------------------------------------- end

    def mend(self, core: frozenset[NodeId]) -> None:
        """All faults of the nodes of `core`, and between them, end; nothing begins or ends by itself any more."""
        self.over = True
        self._note("peace")
        self._lossless()
        self._world.network.heal_all()
        self._world.person.insist(core)
        for node in self._world.nodes.values():
            if node.id not in core:
                continue
            node.disk.go_on()
            node.disk.sick = ""
            node.disk.fill(False)
            node.resume()
            node.start()
            node.refusing.clear()
            node.containers.broken.clear()

    def cripple(self, node: Node) -> None:
        """Something is wrong with a node for ever, such that it can own nothing that the others hear of."""
        network = self._world.network
        what = self._chance.choice(["cut off", "deaf", "dumb", "without power", "stopped", "with a hanging disk"])
        self._note(f"crippled: {node.name} is {what}")
        others = [other for other in self._world.nodes if other != node.id]
        for other in others if what == "cut off" else ():
            network.cut(node.id, other)
        for other in others if what in ("deaf", "dumb") else ():
            network.cut_one_way(*((other, node.id) if what == "deaf" else (node.id, other)))
        if what == "without power":
            node.power_cut()
        elif what == "stopped":
            node.pause()
        elif what == "with a hanging disk":
            node.disk.hang()


def _next_step(disk: Disk, intent: Intent) -> str:
    """Which step of a stash comes next, by what is on the disk."""
    volumes = disk.volumes()
    main = volumes.get(site_dataset(intent.site))
    if stash_dataset(intent.id) not in volumes:
        return "rename"
    if main is None:
        return "clone"
    stashed = [moment for name, volume in volumes.items() if name.startswith(STASH) for moment in volume.moments]
    return "promotion" if main.origin in stashed else "end"


def owns(node: Node, site: SiteId) -> bool:
    """Whether the node says of itself that it owns `site`."""
    if node.process is None or not node.up:
        return False
    register = node.process.register(site)
    return register is not None and register.role == "owner"
