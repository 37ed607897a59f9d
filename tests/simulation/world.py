"""A cluster in one process under one seed: nodes, network, clients that write, and the faults that befall them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.task import Clock

from hybrid.cluster.conflict import rivals
from hybrid.model import Claim, NodeId, SiteSpec, Version
from hybrid.settings import Timing
from tests.simulation.disk import Disk, Oracle
from tests.simulation.life import SITE
from tests.simulation.network import Network
from tests.simulation.process import Process

Answer = TypeVar("Answer")
STEP_S = 0.5
GRAINS = 5
"""Parts of a step: `task.Clock` runs all calls of an advance as of its end."""


class World:
    """All there is."""

    def __init__(self, seed: int, nodes: int = 4, copies: int = 3, mutant: str = "") -> None:
        """`copies` of the `nodes` hold the one site. `mutant` names a rule that is broken on purpose."""
        self.chance = random.Random(seed)
        self.mutant = mutant
        self.flaky = 0.1
        """How often a container does not start."""
        self.clock = Clock()
        self.timing = Timing()
        self.names = [NodeId(f"n{number}") for number in range(nodes)]
        self.dcs = {name: "paris" if number % 2 else "london" for number, name in enumerate(self.names)}
        self.spec = SiteSpec(
            id=SITE, version=Version(1, 1), name="one", domains=("one.example",), image="static@1", number=1
        )
        self.states: Counter[str] = Counter()
        self.changed_s = 0.0
        self.oracle = Oracle()
        self.network = Network(self.clock, self.chance, self._link_lost)
        self.disks = {name: Disk(name, self.oracle) for name in self.names}
        self.rates = {name: self.chance.uniform(0.9, 1.1) for name in self.names}
        first = Claim(1, self.names[0])
        self.oracle.minted(first)
        root = self.oracle.taken(None, first, 0.0, ())
        for name in self.names[:copies]:
            self.disks[name].line = (root,)
            self.disks[name].seen = first
        self.disks[self.names[0]].claim = first
        self.processes: dict[NodeId, Process] = {}
        for name in self.names:
            self._start(name, container=name == self.names[0])

    # --------------------------------------------------------------------------------------------------- nodes

    def _start(self, name: NodeId, container: bool = False) -> None:
        self.processes[name] = Process(self, self.disks[name], self.rates[name], container)
        for other in self.names:
            if other != name:
                self.network.broke((other, name))

    def _link_lost(self, sender: NodeId, receiver: NodeId) -> None:
        process = self.processes.get(sender)
        if process is not None:
            process.run(lambda: process.ledger.forget_peer(receiver))

    def tell(self, sender: NodeId, receiver: NodeId, what: Callable[[Process], None], long: bool = False) -> None:
        """Do `what` at the receiver, if the message gets there."""

        def deliver() -> None:
            process = self.processes[receiver]
            if process.up:
                process.run(lambda: what(process))
            else:
                self.network.broke((sender, receiver))

        self.network.send(sender, receiver, deliver, long)

    def cast(self, sender: NodeId, receiver: NodeId, what: Callable[[Process], None]) -> None:
        """Do `what` at the receiver, if the datagram gets there."""

        def deliver() -> None:
            process = self.processes[receiver]
            process.run(lambda: what(process))

        self.network.cast(sender, receiver, deliver)

    def ask(
        self,
        sender: NodeId,
        receiver: NodeId,
        question: Callable[[Process], Answer],
        then: Callable[[Answer], None],
    ) -> None:
        """Put `question` to the receiver; `then` gets the answer at the sender's, in the life that asked."""
        asking = self.processes[sender]

        def answered(other: Process) -> None:
            answer = question(other)
            self.tell(receiver, sender, lambda me: then(answer) if me is asking else None)

        self.tell(sender, receiver, answered)

    # -------------------------------------------------------------------------------------------------- faults

    def part(self) -> None:
        """Cut the nodes into two groups."""
        side = set(self.chance.sample(self.names, self.chance.randint(1, len(self.names) - 1)))
        self.network.cut = {(a, b) for a in self.names for b in self.names if (a in side) != (b in side)}

    def one_way(self) -> None:
        """Cut one direction between two nodes."""
        one, other = self.chance.sample(self.names, 2)
        self.network.cut.add((one, other))

    def heal(self) -> None:
        """All directions are open again."""
        self.network.cut = set()

    def crash(self) -> Process:
        """A whole node stops: process and container."""
        process = self.processes[self.chance.choice(self.names)]
        process.up, process.container = False, False
        return process

    def kill(self) -> None:
        """SIGKILL of the node process; its container goes on, and it is started again at once."""
        process = self.processes[self.chance.choice(self.names)]
        if process.up:
            process.up = False
            self.clock.callLater(self.chance.uniform(0.5, 2.0), self.restart, process)

    def restart(self, process: Process) -> None:
        """Start a node that is down."""
        if not process.up and self.processes[process.me] is process:
            self._start(process.me, container=process.container)

    def restart_one(self) -> None:
        """Start some node, if it is down."""
        self.restart(self.processes[self.chance.choice(self.names)])

    def pause(self) -> None:
        """SIGSTOP of the node process; its container goes on."""
        self.processes[self.chance.choice(self.names)].paused = True

    def resume(self) -> None:
        """SIGCONT."""
        self.processes[self.chance.choice(self.names)].resume()

    def sicken(self) -> None:
        """The storage of a node stops answering."""
        process = self.processes[self.chance.choice(self.names)]
        process.disk.sick = True
        process.run(process.storage_lost)

    def cure(self) -> None:
        """It answers again."""
        process = self.processes[self.chance.choice(self.names)]
        process.disk.sick = False
        process.run(process.storage_back)

    def move(self) -> None:
        """Somebody asks for a planned move."""
        owners = [process for process in self.processes.values() if process.serving]
        others = [name for name, process in self.processes.items() if process.up and process.role == "replica"]
        if owners and others:
            owner, successor = self.chance.choice(owners), self.chance.choice(others)
            owner.run(lambda: owner.move(successor))

    def wait(self) -> None:
        """Nothing happens for once."""

    def mend(self) -> None:
        """All faults end."""
        self.heal()
        for name in self.names:
            self.disks[name].sick = False
            process = self.processes[name]
            process.resume()
            process.run(process.storage_back)
            self.restart(process)

    # ------------------------------------------------------------------------------------------------ counting

    def count(self, state: str) -> None:
        """An interesting state was reached."""
        self.states[state] += 1

    def count_conflict(self, process: Process, key: str) -> None:
        """A bid was published: what kind of conflict is it?"""
        self.count("conflict")
        low, high = (Claim.parse(text) for text in key.split("/"))
        if low.epoch == high.epoch:
            self.count("equal epochs")
        if len(rivals(process.ledger.registers(SITE), process.live(), process.me)) > 1:
            self.count("three owners")
        if process.role == "leaving":
            self.count("conflict while leaving")

    def step(self) -> None:
        """Half a second passes, and clients write where a container answers."""
        for process in self.processes.values():
            if process.container and not process.disk.sick and self.chance.random() < 0.5:
                process.disk.write()
        self.clock.pump([STEP_S / GRAINS] * GRAINS)
