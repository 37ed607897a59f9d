"""Random faults of every kind, then peace: whatever happened, all who are up find each other again."""

from __future__ import annotations

import pytest

from tests.membership.world import World

PEACE_S = 40.0


def trouble(world: World) -> None:
    """One random fault, or the end of some."""
    chance, count = world.chance, len(world.nodes)
    node = world[int(chance.random() * count)]
    a, b = chance.sample(range(count), 2)
    match int(chance.random() * 9):
        case 0:
            world.sever(a, b)
        case 1:
            world.sever_one_way(a, b)
        case 2:
            side = {number for number in range(count) if chance.random() < 0.5}
            world.partition(side, set(range(count)) - side)
        case 3:
            world.heal()
        case 4:
            node.up = False
        case 5:
            if not node.up:
                node.start(None if chance.random() < 0.7 else 0)
        case 6:
            node.stopped = True
        case 7:
            node.cont()
        case 8:
            world.loss = chance.choice((0.0, 0.1, 0.3, 0.6))


def peace(world: World) -> None:
    """Everything works again; nodes that are down stay so."""
    world.heal()
    world.loss = 0.0
    for node in world.nodes.values():
        node.cont()


@pytest.mark.parametrize("seed", range(40))
def test_all_find_each_other_again(seed: int) -> None:
    """After minutes of cuts, crashes, pauses and losses those who are up, and only they, are alive for everybody."""
    world = World(2 + seed % 6, seed=seed)
    for _ in range(60):
        trouble(world)
        world.run(world.chance.random() * 8.0)
    peace(world)
    world.run_until(world.agreed, PEACE_S)
    deaths = len(world.false_deaths())
    world.run(120.0)
    assert world.agreed()
    assert len(world.false_deaths()) == deaths
