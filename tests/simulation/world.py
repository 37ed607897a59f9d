"""A cluster in one process under one seed: nodes, network, clients that write, users with wishes, and true time."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure

from hybrid.cluster.memory_datagrams import MemoryAir
from hybrid.cluster.memory_peers import MemoryNetwork
from hybrid.core import Core
from hybrid.deeds import CreateSite
from hybrid.errors import HybridError
from hybrid.model import NodeId, SiteId
from hybrid.settings import Timing
from tests.node.cluster import MANIFEST, Steps
from tests.simulation.clock import NodeClock, Timeline
from tests.simulation.invariants import SAMPLE_S, Invariants
from tests.simulation.node import Node, Process
from tests.simulation.oracle import Oracle
from tests.simulation.person import Person

WRITE_EVERY_S = 10.0
"""How often clients of a site write, on average."""
REMEMBERED = 4000
"""Lines of a history that are kept for people."""


class Wires(MemoryNetwork):
    """See `hybrid.cluster.memory_peers.MemoryNetwork`; delays vary, now and then by much, as where packets are lost."""

    def __init__(self, clock: NodeClock, chance: random.Random) -> None:
        super().__init__(clock)
        self._chance = chance
        self.loss = 0.02

    def delay(self, sender: NodeId, receiver: NodeId) -> float:
        """See `MemoryNetwork`. A lost packet is sent again after 0.2 s, 0.4 s, …"""
        seconds, again_s = 0.001 + 0.01 * self._chance.random(), 0.2
        while self._chance.random() < self.loss and again_s < 4.0:
            seconds, again_s = seconds + again_s, 2 * again_s
        return seconds


class World:
    """All there is."""

    def __init__(self, seed: int, nodes: int = 5, core: type[Core] = Core, hurried: float = 1.0) -> None:
        """`core` may be a broken one; `hurried`: seconds of the time of day in a second."""
        self.seed, self.core, self._hurried = seed, core, hurried
        self.timeline = Timeline()
        self.clock = NodeClock(self.timeline)
        self.latency = self.chance("latency")
        self.clients = self.chance("clients")
        self._policies = self.chance("policies")
        self.timing = Timing()
        self.network = Wires(self.clock, self.chance("network"))
        self.air = MemoryAir(self.network, self.chance("air").random)
        self.air.loss, self.air.jitter_s = 0.02, 0.05
        self.oracle = Oracle()
        self.invariants = Invariants(self)
        rates = self.chance("rates")
        made = [Node(self, number, rates.uniform(0.9, 1.1)) for number in range(nodes)]
        self.nodes: dict[NodeId, Node] = {node.id: node for node in made}
        self.oracle.hears_of = lambda node, site, claim: self.nodes[node].hears_of(site, claim)
        self.sites: list[SiteId] = []
        self.deleted: set[SiteId] = set()
        self.graveyard: list[Process] = []
        self.chronicle: deque[tuple[float, str, str | LogEvent]] = deque(maxlen=REMEMBERED)
        self.person = Person(self)
        self.orders = 0
        self.moving: dict[SiteId, NodeId] = {}
        """To where a site was last ordered to be moved."""

    def chance(self, of: str) -> random.Random:
        """Chance for one purpose: what is drawn for it does not change what others draw."""
        return random.Random(f"{self.seed}/{of}")

    # --------------------------------------------------------------------------------------------------- time

    def wall_s(self) -> float:
        """Time of day."""
        return 1_700_000_000 + self._hurried * self.timeline.now_s

    def later(self, delay_s: float, call: Callable[..., object], *args: object) -> None:
        """Call it after `delay_s` of true time."""
        self.clock.callLater(delay_s, call, *args)

    def wait(self, seconds: float) -> None:
        """Let time pass. Raises `Violated` at the first step after which an invariant does not hold."""
        self.timeline.run_until(self.timeline.now_s + seconds, self.oracle, self.invariants.check)

    # ------------------------------------------------------------------------------------------------ chronicle

    def note(self, node: str, what: str | LogEvent) -> None:
        """Something happened."""
        self.chronicle.append((self.timeline.now_s, node, what))

    def logged(self, event: LogEvent) -> None:
        """A log observer: what nodes log is part of the history; an unexpected exception is an error of its own."""
        clock = self.timeline.running
        self.note(clock.name if clock else "", event)
        failure = event.get("log_failure")
        if failure is not None and event["log_level"] >= LogLevel.critical and not failure.check(HybridError):
            self.oracle.violated("E", f"{formatEvent(event)}: {failure.getTraceback()}")

    def story(self) -> list[str]:
        """What happened, for people: time, node, what."""
        return [
            f"{at_s:9.3f} {node or '*':<2} {what if isinstance(what, str) else formatEvent(what)}"
            for at_s, node, what in self.chronicle
        ]

    # --------------------------------------------------------------------------------------------------- life

    def begin(self) -> None:
        """Start all nodes, give the first one an image, and let them meet."""
        self.later(SAMPLE_S, self._sample)
        self.person.look()
        for node in self.nodes.values():
            node.start()
        self.wait(10.0)
        first = next(iter(self.nodes.values()))
        self._run(self._import_image(first))
        self.wait(5.0)

    def _sample(self) -> None:
        self.invariants.sample()
        self.later(SAMPLE_S, self._sample)

    async def _import_image(self, node: Node) -> None:
        disk = node.disk
        await disk.create("images/static-1", {"image": "static@1", "manifest": MANIFEST, "complete": "yes"})
        disk.write("images/static-1", "index.html", b"hello")
        await disk.snapshot("images/static-1", "image")
        assert node.process is not None
        await node.process.core.shelf.load()

    def _run(self, deed: Coroutine[Any, Any, object]) -> None:
        Deferred.fromCoroutine(deed).addErrback(lambda failure: self.oracle.violated("E", failure.getTraceback()))

    def order(self, node: Node, what: str, deed: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """A user has something done at `node`. That it is refused, or fails, is no error; anything unexpected is."""
        self.note(node.name, f"ordered: {what}")

        def ended(result: Any) -> None:
            if not isinstance(result, Failure):
                self.note(node.name, f"done: {what}")
                self.oracle.count(what.split()[0] + " done")
            elif result.check(HybridError):
                self.note(node.name, f"not done: {what}: {result.value}")
                self.oracle.count(what.split()[0] + " not done")
            else:
                self.oracle.violated("E", f"{what} at {node.name}: {result.getTraceback()}")

        Deferred.fromCoroutine(deed()).addBoth(ended)

    def policy(self) -> str:
        """What a user wants to happen with two histories of a site."""
        return self._policies.choice(("value", "value", "value", "epoch", "prefer:paris", "ask"))

    def create(self, node: Node, copies: int, policy: str = "value") -> None:
        """A user wants a site."""
        process = node.process
        if process is None or not node.up:
            return
        self.orders += 1
        request = CreateSite(name=f"site{self.orders}", image="static", copies=copies, policy=policy)

        async def make() -> None:
            spec = await process.core.hosting.create(request, Steps())
            self.oracle.made.add(spec.id)
            self.sites.append(spec.id)
            self.later(self.clients.random() * WRITE_EVERY_S, self._write, spec.id)

        self.order(node, f"create {request.name}", make)

    def _write(self, site: SiteId) -> None:
        """Clients of `site` write to every container of it that they reach."""
        for node in self.nodes.values():
            if node.serves(site) and node.disk.accept(site):
                self.invariants.accepted(node, site)
        self.later(self.clients.expovariate(1 / WRITE_EVERY_S), self._write, site)

    def bury(self) -> None:
        """The end: let go of everything that hangs for ever."""
        for node in self.nodes.values():
            if node.process is not None:
                node.process.clock.kill()
                self.graveyard.append(node.process)
        for process in self.graveyard:
            process.life.bury()
