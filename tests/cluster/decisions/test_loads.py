"""What a node measures becomes averages, and what it tells of them changes rarely."""

from __future__ import annotations

import pytest

from hybrid.cluster.loads import Counted, Loads, Machine, node_told, told
from hybrid.load import IDLE, NodeLoad, SiteLoad
from hybrid.model import SiteId

SHOP, BLOG = SiteId("s-shop"), SiteId("s-blog")
GIB = 2**30


class Running:
    """A node that is read every five seconds."""

    def __init__(self, cores: float = 0.0) -> None:
        self.loads = Loads(60.0, cores)
        self.now_s = self.busy_s = self.io_s = self.memory_s = 0.0
        self.cpu_s = {SHOP: 0.0, BLOG: 0.0}

    def lives(self, seconds: float, shop: float, blog: float = 0.0, others: float = 0.0, waits: float = 0.0) -> None:
        """Sites and other programs use so many cores; something waits for memory and disks that part of the time."""
        for _ in range(round(seconds / 5)):
            self.now_s += 5
            self.cpu_s = {SHOP: self.cpu_s[SHOP] + 5 * shop, BLOG: self.cpu_s[BLOG] + 5 * blog}
            self.busy_s += 5 * (shop + blog + others)
            self.io_s += 5 * waits
            self.memory_s += 5 * waits
            machine = Machine(4.0, 8 * GIB, self.busy_s + 1, self.memory_s, self.io_s)
            counted = {site: Counted(cpu_s, GIB) for site, cpu_s in self.cpu_s.items()}
            self.loads.read(machine, counted, [SHOP, BLOG], self.now_s)

    def node(self, lasting: bool = False) -> NodeLoad:
        """As it is now."""
        load = self.loads.node(lasting)
        assert load is not None
        return load


def test_a_moment_is_no_load_and_an_end_is_noticed_soon() -> None:
    """What moves are decided by is high only where both averages are."""
    running = Running()
    running.lives(600, shop=0.4)
    assert running.node().cpu == pytest.approx(0.1, abs=0.01)
    running.lives(15, shop=4.0)
    assert running.node(lasting=True).cpu < 0.5
    running.lives(300, shop=4.0)
    assert running.node(lasting=True).cpu > 0.9
    running.lives(20, shop=0.0)
    assert running.node().cpu > 0.6
    assert running.node(lasting=True).cpu < 0.2


def test_other_programs_count_unless_the_machine_is_shared() -> None:
    """A node that was given a part of a machine knows only its own containers."""
    whole, part = Running(), Running(cores=2.0)
    for running in (whole, part):
        running.lives(600, shop=0.5, others=3.0, waits=0.2)
    assert whole.node().cpu == pytest.approx(3.5 / 4, abs=0.01)
    assert part.node().cpu == pytest.approx(0.5 / 2, abs=0.01)
    assert whole.node().io == pytest.approx(0.2, abs=0.01)
    assert whole.node().memory == pytest.approx(0.8, abs=0.01)
    assert part.node().io == 0.0
    assert part.node().memory == pytest.approx(0.25, abs=0.01)


def test_a_container_that_is_started_anew_begins_at_nothing() -> None:
    """Its counters are smaller then, which is no negative load; a site that left is forgotten."""
    running = Running()
    running.lives(300, shop=1.0)
    running.cpu_s[SHOP] = 0.0
    running.lives(5, shop=0.0)
    assert running.loads.site(SHOP) == SiteLoad(0.0, GIB)
    running.loads.read(Machine(4.0, 8 * GIB), {}, [BLOG], running.now_s + 5)
    assert running.loads.sites() == [BLOG]


def test_requests_are_told_by_the_second() -> None:
    """Those the front doors passed on."""
    running = Running()
    for _ in range(120):
        running.loads.served(SHOP, 50)
        running.lives(5, shop=0.1)
    load = running.loads.site(SHOP)
    assert load is not None
    assert load.requests_s == pytest.approx(10.0, rel=0.05)


def test_what_is_told_changes_by_doublings_only() -> None:
    """However busy it is, a site's word travels to every node only when it is another kind of busy."""
    assert told(SiteLoad(0.01, 0, 1000.0, 0.1), IDLE) == IDLE
    first = told(SiteLoad(0.3, 100_000_000, 0.0, 20.0), IDLE)
    assert first == SiteLoad(0.25, 134_217_728, 0.0, 16.0)
    assert told(SiteLoad(0.4, 90_000_000, 0.0, 12.0), first) == first
    assert told(SiteLoad(0.5, 90_000_000, 0.0, 3.0), first).cpu == 0.5
    assert told(SiteLoad(0.012, 0, 0.0, 0.0), SiteLoad(0.02)).cpu > 0
    running = Running()
    news = 0
    for step in range(720):
        running.lives(5, shop=0.5 + 0.3 * (step % 7) / 7)
        news += len(running.loads.news(running.now_s))
    assert news <= 8


def test_a_node_tells_eighths_of_itself() -> None:
    """Rather too much than too little, and nothing new within an eighth."""
    first = node_told(NodeLoad(4.0, GIB, 0.3, 0.01, 0.0), None)
    assert first == NodeLoad(4.0, GIB, 0.375, 0.125, 0.0)
    assert node_told(NodeLoad(4.0, GIB, 0.45, 0.2, 0.1), first) is not first
    assert node_told(NodeLoad(4.0, GIB, 0.45, 0.2, 0.1), first) == first
    assert node_told(NodeLoad(4.0, GIB, 0.51, 0.2, 0.1), first).cpu == 0.625
