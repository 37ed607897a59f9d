"""Nodes that run nothing but the membership protocol, on simulated time, under one seed; no reactor, one queue."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable

from hybrid.cluster.membership import Deeds, Membership
from hybrid.cluster.packets import CALL, Packet
from hybrid.model import NodeId
from hybrid.settings import Timing


class Node:
    """One process: up or down, running or stopped."""

    def __init__(self, world: World, node: NodeId, dc: str) -> None:
        self.world, self.id, self.dc = world, node, dc
        self.incarnation = 0
        self.up, self.stopped = False, False
        self.backlog: list[Callable[[], None]] = []
        self.wake_s = 0.0
        self.seen: frozenset[NodeId] = frozenset()
        self.false_deaths: list[tuple[float, NodeId]] = []

    def start(self, incarnation: int | None = None) -> None:
        """A new life, that knows all names."""
        self.incarnation = self.incarnation + 1 if incarnation is None else incarnation
        world = self.world
        self.membership = Membership(self.id, self.incarnation, world.timing, world.now_s, world.chance, self.dc)
        for other in world.nodes.values():
            self.membership.know(other.id, world.now_s, other.dc)
        self.up, self.stopped = True, False
        self.membership.start(world.now_s)
        self.wake()

    def wake(self) -> None:
        """See to it that it is woken when something is due."""
        due_s = self.membership.due_s
        if due_s != self.wake_s:
            self.wake_s = due_s
            self.world.at(due_s, self.woken, self.membership, due_s)

    def woken(self, membership: Membership, due_s: float) -> None:
        """The time it asked for has come."""
        if self.up and membership is self.membership and due_s == self.wake_s:
            self.wake_s = -1.0
            self.run(lambda: self.do(membership.advance(self.world.now_s)))

    def run(self, call: Callable[[], None]) -> None:
        """Now, or when the process goes on."""
        if self.stopped:
            self.backlog.append(call)
        elif self.up:
            call()

    def cont(self) -> None:
        """SIGCONT."""
        self.stopped = False
        backlog, self.backlog = self.backlog, []
        for call in backlog:
            self.run(call)

    def receive(self, sender: NodeId, packet: Packet) -> None:
        """A packet arrived."""
        if self.stopped:
            self.backlog.append(lambda: self.receive(sender, packet))
        elif self.up:
            self.do(self.membership.received(sender, packet, self.world.now_s))

    def do(self, deeds: Deeds) -> None:
        """Send; and note who is taken for dead wrongly."""
        for node, packet in deeds:
            if packet.kind == CALL:
                self.world.call(self, node, packet.number)
            else:
                self.world.send(self.id, node, packet)
        self.wake()
        live = self.membership.live(self.world.now_s)
        if live is not self.seen:
            self.false_deaths += [(self.world.now_s, node) for node in self.seen - live if self.world.nodes[node].up]
            self.seen = live


class World:
    """The network and its time."""

    def __init__(
        self, count: int, seed: int = 1, loss: float = 0.0, dcs: Iterable[str] = ("one",), timing: Timing | None = None
    ) -> None:
        """Nodes n0, n1, …, whose data centres repeat `dcs`."""
        self.chance = random.Random(seed)
        self.loss, self.delay_s = loss, (0.0005, 0.01)
        self.links_lossy = False
        """Whether pings over the links are lost as datagrams are; else TCP repeats what is lost."""
        self.timing = timing or Timing()
        self.now_s = 0.0
        self.cut: set[tuple[NodeId, NodeId]] = set()
        self.packets = 0
        self._queue: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = itertools.count()
        names = [NodeId(f"n{number}") for number in range(count)]
        self.nodes = {name: Node(self, name, dc) for name, dc in zip(names, itertools.cycle(dcs), strict=False)}
        for node in self.nodes.values():
            node.start()

    def __getitem__(self, number: int) -> Node:
        return self.nodes[NodeId(f"n{number}")]

    def at(self, time_s: float, call: Callable[..., None], *args: object) -> None:
        """Have it called then."""
        heapq.heappush(self._queue, (max(time_s, self.now_s), next(self._order), call, args))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until_s = self.now_s + seconds
        while self._queue and self._queue[0][0] <= until_s:
            self.now_s, _, call, args = heapq.heappop(self._queue)
            call(*args)
        self.now_s = until_s

    def run_until(self, condition: Callable[[], bool], most_s: float, step_s: float = 0.1) -> float:
        """Let time pass until `condition`; returns how long that took. Fails after `most_s`."""
        began_s = self.now_s
        while not condition():
            assert self.now_s - began_s < most_s, f"not within {most_s} s"
            self.run(step_s)
        return self.now_s - began_s

    def send(self, sender: NodeId, receiver: NodeId, packet: Packet) -> None:
        """A datagram, which may be lost, and overtaken."""
        self.packets += 1
        if (sender, receiver) not in self.cut and self.chance.random() >= self.loss:
            self.at(self.now_s + self.chance.uniform(*self.delay_s), self.nodes[receiver].receive, sender, packet)

    def call(self, caller: Node, receiver: NodeId, number: int) -> None:
        """A ping over the link: there and back, where both directions are open and the receiver runs."""
        pair = (caller.id, receiver)
        lost = self.links_lossy and self.chance.random() >= (1 - self.loss) ** 2
        if pair in self.cut or pair[::-1] in self.cut or lost:
            return
        membership = caller.membership

        def answer() -> None:
            self.at(self.now_s + self.chance.uniform(*self.delay_s), answered)

        def answered() -> None:
            if caller.membership is membership:
                caller.run(lambda: caller.do(membership.called(receiver, number, self.now_s)))

        self.at(self.now_s + self.chance.uniform(*self.delay_s), self.nodes[receiver].run, answer)

    # ------------------------------------------------------------------------------------------------- faults

    def sever(self, a: int, b: int) -> None:
        """Cut both directions."""
        self.cut |= {(self[a].id, self[b].id), (self[b].id, self[a].id)}

    def sever_one_way(self, sender: int, receiver: int) -> None:
        """Lose what `sender` sends to `receiver`."""
        self.cut.add((self[sender].id, self[receiver].id))

    def partition(self, *groups: Iterable[int]) -> None:
        """Cut between the groups."""
        for ours, theirs in itertools.combinations([list(group) for group in groups], 2):
            for a, b in itertools.product(ours, theirs):
                self.sever(a, b)

    def heal(self) -> None:
        """Nothing is cut any more."""
        self.cut.clear()

    # ---------------------------------------------------------------------------------------------- observations

    def live(self, number: int) -> set[int]:
        """Who is alive as that node sees it."""
        return {int(node[1:]) for node in self[number].membership.live(self.now_s)}

    def agreed(self) -> bool:
        """Whether all who are up see just those that are up."""
        up = {number for number in range(len(self.nodes)) if self[number].up}
        return all(self.live(number) == up for number in up)

    def false_deaths(self) -> list[tuple[float, NodeId, NodeId]]:
        """When who took whom for dead who was up."""
        return [(at_s, node.id, other) for node in self.nodes.values() for at_s, other in node.false_deaths]
