"""The protocol's shell on a clock: one timer, packets, pings over links; coming and going is told."""

from __future__ import annotations

import random

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from hybrid.cluster.membership import Deeds, Membership
from hybrid.cluster.memory_datagrams import MemoryAir
from hybrid.cluster.memory_peers import MemoryNetwork
from hybrid.cluster.pulse import Pulse
from hybrid.model import NodeId
from hybrid.settings import Timing

A, B, C = NodeId("n-a"), NodeId("n-b"), NodeId("n-c")


class World:
    """Three nodes with links and datagrams in memory."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.air = MemoryAir(self.network, random.Random(1).random)
        self.changes = 0
        self.memberships: dict[NodeId, Membership] = {}
        self.pulses: dict[NodeId, Pulse] = {}
        self.links = {node: self.network.join(node) for node in (A, B, C)}
        for node in (A, B, C):
            self.add(node)

    def add(self, node: NodeId) -> None:
        """Begin the node's life."""
        known = self.memberships[node] = Membership(node, 1, Timing(), 0.0, random.Random(node))
        self.pulses[node] = Pulse(self.clock, known, self.air.join(node), self.links[node], self.changed)
        self.links[node].startService()
        self.pulses[node].startService()

    def changed(self) -> None:
        """Somebody came or went."""
        self.changes += 1

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.pump([0.05] * round(seconds * 20))

    def live(self, node: NodeId) -> frozenset[NodeId]:
        """Who is alive for it."""
        return self.memberships[node].live(self.clock.seconds())


@pytest.fixture
def world() -> World:
    """Three nodes that met over their links; nobody told them of each other."""
    made = World()
    made.wait(3.0)
    return made


def test_those_with_links_find_each_other(world: World) -> None:
    """A link that comes up is how a node first hears of another."""
    assert world.live(A) == world.live(B) == world.live(C) == {A, B, C}
    assert world.changes >= 6


def test_one_timer_per_node(world: World) -> None:
    """The protocol does not pile up timers, however long it runs."""
    world.wait(60.0)
    assert len(world.clock.getDelayedCalls()) < 20


def test_links_carry_life_where_no_datagram_passes(world: World) -> None:
    """A firewall that drops all UDP makes nobody dead: pings go over the links, and once per node somebody is told."""
    world.air.loss = 1.1
    with capturedLogs() as events:
        world.wait(120.0)
    warned = [event["node"] for event in events if "is UDP open" in event["log_format"]]
    assert sorted(warned) == sorted([A, B, C] * 2)
    assert world.live(A) == world.live(B) == world.live(C) == {A, B, C}


def test_silence_is_told_and_so_is_return(world: World) -> None:
    """Coming and going is written down for people, once per change, and told to the node."""
    with capturedLogs() as events:
        before = world.changes
        world.pulses[C].stopService()
        world.links[C].stopService()
        world.wait(12.0)
        assert world.live(A) == world.live(B) == {A, B}
        assert world.changes == before + 2
        world.add(C)
        world.wait(8.0)
        assert world.live(A) == world.live(B) == world.live(C) == {A, B, C}
    told = [event["log_format"] for event in events if event.get("node") == C]
    assert told.count("node {node} does not answer: taken for dead") == 2
    assert told.count("node {node} is alive") == 2


def test_a_stopped_one_is_silent(world: World) -> None:
    """After `stopService` nothing is sent any more, whatever arrives."""
    world.pulses[A].stopService()
    heard: list[NodeId] = []
    world.air.join(B).listen(lambda sender, packet: heard.append(sender))
    world.wait(5.0)
    assert A not in heard and C in heard


class Faulty(Membership):
    """Fails once."""

    failed = False

    def advance(self, now_s: float) -> Deeds:
        """See `Membership.advance`."""
        if not self.failed:
            self.failed = True
            super().advance(now_s)
            raise RuntimeError("a bug")
        return super().advance(now_s)


def test_it_survives_its_own_bug() -> None:
    """A step that fails is logged, and the next one comes: a node does not die of one exception."""
    world = World()
    world.links[A].stopService()
    world.pulses[A].stopService()
    known = world.memberships[A] = Faulty(A, 2, Timing(), world.clock.seconds(), random.Random(1))
    world.pulses[A] = Pulse(world.clock, known, world.air.join(A), world.links[A], world.changed)
    with capturedLogs() as events:
        world.links[A].startService()
        world.pulses[A].startService()
        world.wait(5.0)
    assert [event["log_format"] for event in events if event["log_level"].name == "critical"] == [
        "a step of the membership protocol failed"
    ]
    assert world.live(A) == {A, B, C}


def test_a_link_reports_before_the_start() -> None:
    """A node that hears of another one before it began to speak knows it from then on."""
    clock = Clock()
    network = MemoryNetwork(clock)
    known = Membership(A, 1, Timing(), 0.0, random.Random(1))
    links = network.join(A)
    Pulse(clock, known, MemoryAir(network).join(A), links, lambda: None)
    links.startService()
    network.join(B).startService()
    clock.pump([0.1] * 20)
    assert known.known == {A, B}
    assert known.live(clock.seconds()) == {A}
