"""SWIM with Lifeguard on simulated time: nobody alive is taken for dead, and who died is known in seconds."""

from __future__ import annotations

import pytest

from hybrid.settings import Timing
from tests.membership.world import World

HALF_AN_HOUR_S = 1800.0


def settled(world: World) -> World:
    """The world once everybody sees everybody."""
    world.run_until(world.agreed, 20.0)
    return world


@pytest.mark.parametrize("nodes", [2, 3, 5, 8])
def test_all_find_each_other(nodes: int) -> None:
    """Nodes that start together see each other alive within two seconds."""
    world = World(nodes)
    assert world.live(0) == {0}
    assert world.run_until(world.agreed, 20.0) <= 2.0


@pytest.mark.parametrize("links_lossy", [False, True])
@pytest.mark.parametrize("nodes", [2, 3, 5, 8])
def test_a_fifth_of_all_packets_lost(nodes: int, links_lossy: bool) -> None:
    """Half an hour on a network that loses 20 % of the packets, links or not: nobody is taken for dead."""
    world = settled(World(nodes, seed=nodes, loss=0.2))
    world.links_lossy = links_lossy
    world.run(HALF_AN_HOUR_S)
    assert world.false_deaths() == []
    assert world.agreed()


@pytest.mark.parametrize(("nodes", "most_s"), [(2, 6.5), (3, 8.5), (4, 8.5), (5, 9.0)])
def test_a_death_is_known_in_seconds(nodes: int, most_s: float) -> None:
    """In small clusters everybody knows of a death within eight seconds in 19 of 20 cases, and never much later."""
    took_s = []
    for seed in range(60):
        world = settled(World(nodes, seed=seed))
        world.run(1.0 + seed / 30)
        world[0].up = False
        took_s.append(world.run_until(world.agreed, 30.0))
    took_s.sort()
    assert took_s[-1] <= most_s
    assert took_s[56] <= 8.0
    assert took_s[0] >= 4.0


def test_half_of_four_die_at_once() -> None:
    """Where a whole data centre falls silent nobody waits for the word of those who are gone too."""
    for seed in range(20):
        world = settled(World(4, seed=seed, dcs=("one", "two")))
        world[1].up = world[3].up = False
        assert world.run_until(world.agreed, 30.0) <= 10.0


def test_a_partition_is_seen_from_both_sides_and_heals() -> None:
    """Two halves of six lose each other in seconds, each stays whole, and they find each other after two hours."""
    world = settled(World(6))
    world.partition({0, 1, 2}, {3, 4, 5})
    world.run(12.0)
    assert [world.live(number) for number in range(6)] == [{0, 1, 2}] * 3 + [{3, 4, 5}] * 3
    world.run(7200.0)
    assert world.live(0) == {0, 1, 2}
    world.heal()
    assert world.run_until(world.agreed, 60.0) <= 15.0


def test_two_halves_heal_after_a_day() -> None:
    """Two nodes that did not hear each other for a day are one cluster again within seconds."""
    world = settled(World(2))
    world.sever(0, 1)
    world.run(86_400.0)
    assert (world.live(0), world.live(1)) == ({0}, {1})
    world.heal()
    assert world.run_until(world.agreed, 60.0) <= 5.0


@pytest.mark.parametrize("nodes", [3, 5])
def test_a_cut_pair_with_a_common_third(nodes: int) -> None:
    """A broken way between two nodes that both reach a third is no death, with losses on top."""
    world = settled(World(nodes, loss=0.05))
    world.sever(0, 1)
    world.run(HALF_AN_HOUR_S)
    assert world.false_deaths() == []
    assert world.agreed()


def test_one_way_cuts() -> None:
    """Of five nodes each fails to reach the next one; all are alive for all, through the others."""
    world = settled(World(5))
    for number in range(5):
        world.sever_one_way(number, (number + 1) % 5)
    world.run(HALF_AN_HOUR_S)
    assert world.false_deaths() == []


def test_a_one_way_cut_between_two_is_a_partition() -> None:
    """Two nodes of which one does not hear the other lose each other, both, and do not flap."""
    world = settled(World(2))
    world.sever_one_way(0, 1)
    world.run(10.0)
    assert (world.live(0), world.live(1)) == ({0}, {1})
    deaths = len(world.false_deaths())
    world.run(600.0)
    assert len(world.false_deaths()) == deaths == 2


def test_a_chain_is_one_cluster() -> None:
    """Nodes in a row, each reaching only its neighbours: neighbours of neighbours stay alive through those between."""
    world = settled(World(4))
    for a, b in ((0, 2), (0, 3), (1, 3)):
        world.sever(a, b)
    world.run(600.0)
    assert {0, 1, 2} <= world.live(0) and {1, 2, 3} <= world.live(3)


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_short_pauses(nodes: int) -> None:
    """A node stopped for one to four seconds, again and again, neither dies nor takes others for dead."""
    world = settled(World(nodes))
    for number in range(100):
        node = world[number % nodes]
        node.stopped = True
        world.run(1.0 + world.chance.random() * 3.0)
        node.cont()
        world.run(4.0)
    assert world.false_deaths() == []


@pytest.mark.parametrize("nodes", [2, 3, 5])
@pytest.mark.parametrize("stopped_s", [5.0, 60.0, 3600.0])
def test_who_was_stopped_takes_nobody_for_dead(nodes: int, stopped_s: float) -> None:
    """After SIGSTOP of any length a node goes on with the others alive, is found again, and does not stand at once."""
    world = settled(World(nodes))
    world[0].stopped = True
    world.run(stopped_s)
    assert stopped_s < 10.0 or world.live(1) == set(range(1, nodes))
    world[0].cont()
    assert not world[0].membership.fit(world.now_s)
    assert world.run_until(world.agreed, 20.0) <= 5.0
    assert world[0].false_deaths == []


def test_a_node_that_lags_takes_nobody_for_dead() -> None:
    """One whose event loop hangs for half a second again and again mistrusts itself, not the others."""
    world = settled(World(3))
    unfit = unwell = 0
    for _ in range(400):
        world[0].stopped = True
        world.run(0.5 + world.chance.random())
        world[0].cont()
        unfit += not world[0].membership.fit(world.now_s)
        unwell += world[0].membership.health > 0
        world.run(world.chance.random() * 0.5)
    assert unfit > 200
    assert unwell > 100
    assert world[0].false_deaths == []


def test_a_deaf_node_kills_nobody_else() -> None:
    """A node that hears nobody is lost itself; the others stay alive for each other."""
    world = settled(World(5))
    for number in range(1, 5):
        world.sever_one_way(number, 0)
    world.run(600.0)
    assert [world.live(number) for number in range(1, 5)] == [{1, 2, 3, 4}] * 4
    assert [other for _, node, other in world.false_deaths() if node != "n0" and other != "n0"] == []


def test_a_flapping_link() -> None:
    """A way that opens and closes every few seconds between two of three is no death; nor for two for a second each."""
    world = settled(World(3))
    for _ in range(100):
        world.sever(0, 1)
        world.run(3.0)
        world.heal()
        world.run(3.0)
    alone = settled(World(2))
    for _ in range(100):
        alone.sever(0, 1)
        alone.run(1.0)
        alone.heal()
        alone.run(3.0)
    assert world.false_deaths() == alone.false_deaths() == []


def test_the_dead_are_tried_for_ever() -> None:
    """A node that comes back after hours is alive for all within seconds, in a new life or with an older memory."""
    for incarnation in (None, 0):
        world = settled(World(4))
        world[0].up = False
        world.run(7200.0)
        assert world.live(1) == {1, 2, 3}
        world[0].start(incarnation)
        assert world.run_until(world.agreed, 30.0) <= 5.0


def test_told_of_is_not_alive() -> None:
    """A node that died before this one began is never alive for it, whatever others said at first."""
    world = settled(World(3))
    world[0].up = world[2].up = False
    world[2].start()
    ever: set[int] = set()
    for _ in range(200):
        world.run(0.1)
        ever |= world.live(2)
    assert ever == {1, 2}
    assert world.live(1) == {1, 2}


def test_far_data_centres_get_more_time() -> None:
    """Between data centres said to be far apart a silence of fifteen seconds is no death, within one it is."""
    world = settled(World(4, dcs=("paris", "tokyo"), timing=Timing(far=(("paris", "tokyo"),))))
    world[2].stopped = world[3].stopped = True
    world.run(15.0)
    assert world.live(0) == {0, 1, 3}
    assert world.live(1) == {0, 1, 2}
    world.run(200.0)
    assert world.live(0) == world.live(1) == {0, 1}


def test_a_forgotten_node_stays_forgotten() -> None:
    """A node an operator removed is not brought back by what others tell of it, nor by itself; only by an operator."""
    world = settled(World(3))
    world[0].membership.forget(world[2].id)
    world[0].do(world[0].membership.met(world[2].id, world.now_s))
    world.run(60.0)
    assert world[0].membership.known == {"n0", "n1"}
    world[0].membership.know(world[2].id, world.now_s)
    world.run(5.0)
    assert world.live(0) == {0, 1, 2}


def test_packets_are_few_and_small() -> None:
    """At rest a node sends a handful of packets each second, however many nodes there are."""
    rates = []
    for nodes in (3, 30):
        world = World(nodes)
        world.run(60.0)
        assert world.agreed()
        before = world.packets
        world.run(60.0)
        rates.append((world.packets - before) / 60.0 / nodes)
    assert max(rates) <= 3.0
