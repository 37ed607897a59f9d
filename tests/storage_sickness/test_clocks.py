"""Row 10 between nodes: whose clock is wrong is told, by itself and on every node, before it costs anything."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hybrid.clockwatch import EVERY_S, ClockWatch, Reading, apart
from hybrid.cluster.ledger import Ledger
from hybrid.cluster.memory_peers import MemoryNetwork, MemoryPeers
from hybrid.loops import Loops
from hybrid.model import NodeId
from hybrid.view import NodeView, View
from hybrid.vigilance import Vigilance

TODAY_S = 1_800_000_000.0


class Nodes:
    """Some that only look at each other's clocks."""

    def __init__(self, off_s: Mapping[str, float]) -> None:
        self.clock, self.off_s = Clock(), dict(off_s)
        self.network = MemoryNetwork(self.clock)
        self.vigilance: dict[str, Vigilance] = {}
        self.down: set[str] = set()
        self.published: list[str] = []
        self.watches: dict[str, ClockWatch] = {}
        for name in off_s:
            self._begin(name)

    def _begin(self, name: str) -> None:
        peers = MemoryPeers(self.network, NodeId(name), self.clock)
        peers.startService()
        ledger = Ledger(NodeId(name), 1)
        told = self.vigilance[name] = Vigilance((1, 1), ledger, lambda: None, lambda: self.published.append(name))
        self.watches[name] = ClockWatch(
            self.clock, peers, lambda: self._view(name), random.Random(1).sample, lambda: self._wall_s(name), told.clock
        )
        self.watches[name].start(Loops(self.clock))

    def _wall_s(self, name: str) -> float:
        return TODAY_S + self.clock.seconds() + self.off_s[name]

    def _view(self, me: str) -> View:
        nodes = {
            NodeId(name): NodeView(
                id=NodeId(name),
                name=name,
                dc="x",
                address="",
                cluster_port=1,
                interior_port=2,
                api_port=3,
                live=name not in self.down,
            )
            for name in self.off_s
        }
        return View(me=NodeId(me), serial=1, zones=(), nodes=nodes, sites={})

    def look(self) -> dict[str, str]:
        """A minute passes; what each that complains says."""
        for _ in range(int(EVERY_S * 10) + 100):
            self.clock.advance(0.1)
        return {name: told.alarms[0] for name, told in self.vigilance.items() if told.alarms}


def test_row_10_a_clock_that_differs_from_the_others_is_told_until_it_is_right() -> None:
    """The server whose clock is wrong says so, with how much and what to do; the others do not doubt theirs."""
    nodes = Nodes({"a": 0.0, "b": 0.3, "c": -340.0})
    assert nodes.look() == {
        "c": "the clock of this server is about 6 minutes behind that of a, b: set it, and keep it right (chrony)"
    }
    assert nodes.published == ["c"]
    nodes.look()
    assert nodes.published == ["c"]
    nodes.off_s["c"] = 0.0
    assert nodes.look() == {}
    assert nodes.published == ["c", "c"]


def test_row_10_of_two_clocks_both_are_told() -> None:
    """Nobody can say which of two is wrong, so people are sent to look at both."""
    nodes = Nodes({"a": 0.0, "b": 7200.0})
    told = nodes.look()
    assert "2 hours behind that of b" in told["a"] and "2 hours ahead of that of a" in told["b"]


def test_row_10_who_is_away_or_slow_says_nothing_of_clocks() -> None:
    """An answer is worth as much as it came fast; no answer is no difference; nobody is alone with a wrong clock."""
    nodes = Nodes({"a": 0.0, "b": 100.0, "c": 0.0})
    nodes.down.add("b")
    assert set(nodes.look()) == {"b"}
    slow = Nodes({"a": 0.0, "b": 2.5, "c": 2.5})
    slow.network.delay_s = 0.9
    assert slow.look() == {}
    assert Nodes({"a": 5000.0}).look() == {}


def test_row_10_a_clock_that_is_set_while_it_asks_accuses_nobody() -> None:
    """The question took no hour: this node's own clock moved meanwhile, and the answer shows nothing."""
    nodes = Nodes({"a": 0.0, "b": 0.0})
    nodes.network.delay_s = 1.0
    looking = Deferred.fromCoroutine(nodes.watches["a"].look())
    nodes.clock.advance(0.5)
    nodes.off_s["a"] = 3600.0
    for _ in range(100):
        nodes.clock.advance(0.1)
    assert looking.called and nodes.vigilance["a"].alarms == ()
    assert "60 minutes ahead" in nodes.look()["a"]


@pytest.mark.parametrize(
    ("ahead_s", "words"),
    [(3.0, "about 3 seconds behind"), (-47.0, "about 50 seconds ahead"), (86400.0 * 365, "about 365 days behind")],
)
def test_how_far_a_clock_is_off_is_told_roughly(ahead_s: float, words: str) -> None:
    """So that the same alarm is the same sentence each minute, and not an event each."""
    assert words in apart([Reading("a", ahead_s, 0.01)])
