"""One seeded history of a whole cluster: it comes to life, lives through faults, and must be well again in peace."""

from __future__ import annotations

import gc
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from twisted.logger import ILogObserver, globalLogPublisher

from hybrid.core import Core
from tests.simulation.faults import Faults, owns
from tests.simulation.liveness import Liveness, epochs, line
from tests.simulation.oracle import Violated
from tests.simulation.world import World

PEACE_S = 330.0
"""After so long without a fault all must be well: the longest rest after failed starts, 300 s, has ended."""
HURRIED = 20.0
"""Seconds of the day in a second: what is kept for an hour goes after three minutes, thrice the period of holds."""
AWAY_S = 700.0
"""Two rounds of thinning out, of any clock."""
STEADY_S = 60.0
"""And so long it must stay so."""


@dataclass(slots=True)
class Outcome:
    """How a history went."""

    seed: int
    error: str = ""
    at_s: float = 0.0
    events: int = 0
    states: Counter[str] = field(default_factory=Counter)
    story: list[str] = field(default_factory=list)


Scene = Callable[[int, type[Core]], Outcome]


def history(seed: int, core: type[Core] = Core) -> Outcome:
    """What happens under `seed`; the same each time."""
    plan = random.Random(f"{seed}/plan")
    world = World(seed, nodes=plan.choice([2, 3, 4, 5, 5]), core=core, hurried=plan.choice([1.0, 1.0, HURRIED]))
    return _told(world, lambda: _live(world, plan))


def calm(seed: int, core: type[Core] = Core) -> Outcome:
    """One node at a time loses its power and comes back, and nothing else happens: nothing safe may be set aside."""
    plan = random.Random(f"{seed}/calm")
    world = World(seed, nodes=plan.choice([3, 4, 5]), core=core)
    return _told(world, lambda: _crash_in_turn(world, plan))


def away(seed: int, core: type[Core] = Core) -> Outcome:
    """
    One node after the other is off for hours of the time of day, while clients write: what it has in common with the
    others is old by then, and what came next is thinned out. It must still be there.
    """
    plan = random.Random(f"{seed}/away")
    world = World(seed, nodes=plan.choice([3, 4, 5]), core=core, hurried=HURRIED)
    return _told(world, lambda: _off_in_turn(world, plan))


def cornered(seed: int, core: type[Core] = Core) -> Outcome:
    """
    Liveness: after a while of faults the nodes outside of a healthy core stay as broken as they are, for ever, and more
    so; the core must come to rest and serve all it holds.
    """
    plan = random.Random(f"{seed}/cornered")
    world = World(seed, nodes=plan.choice([3, 4, 5]), core=core)
    return _told(world, lambda: _corner(world, plan))


def _told(world: World, live: Callable[[], None]) -> Outcome:
    """Let `live` happen, and tell how it went."""
    outcome = Outcome(world.seed, states=world.oracle.states)
    observer = cast(ILogObserver, world.logged)
    globalLogPublisher.addObserver(observer)
    gc.disable()
    try:
        live()
    except Violated as error:
        outcome.error = str(error)
        outcome.story = world.story()
    finally:
        globalLogPublisher.removeObserver(observer)
        world.bury()
        gc.enable()
    outcome.at_s, outcome.events = world.timeline.now_s, world.timeline.events
    return outcome


def _crash_in_turn(world: World, plan: random.Random) -> None:
    """C1: what two disks acknowledged stays on the main line."""
    world.begin()
    world.create(next(iter(world.nodes.values())), copies=len(world.nodes) - 1)
    world.wait(40.0)
    for _ in range(5):
        site = world.sites[0]
        owners = [node for node in world.nodes.values() if owns(node, site)]
        node = owners[0] if owners and plan.random() < 0.7 else plan.choice(list(world.nodes.values()))
        world.note("", f"crash of {node.name}")
        node.power_cut()
        world.wait(plan.uniform(25.0, 40.0))
        node.start()
        world.wait(plan.uniform(25.0, 40.0))
    world.wait(STEADY_S)
    Liveness(world, frozenset(world.nodes)).check({})
    for site in world.sites:
        main = next(set(line(node, site)) for node in world.nodes.values() if owns(node, site))
        aside = {guid for guid, disks in world.oracle.acknowledged.items() if len(disks) > 1} - main
        if aside:
            world.oracle.violated("C1", f"{len(aside)} snapshots that were safe were set aside without need")
    world.invariants.check()


def _off_in_turn(world: World, plan: random.Random) -> None:
    world.begin()
    world.create(next(iter(world.nodes.values())), copies=len(world.nodes) - 1)
    world.wait(40.0)
    for _ in range(3):
        site = world.sites[0]
        node = plan.choice([node for node in world.nodes.values() if not owns(node, site)])
        world.note("", f"off: {node.name}")
        node.power_cut()
        world.wait(AWAY_S)
        node.start()
        world.wait(STEADY_S)
        Liveness(world, frozenset(world.nodes)).check({})
        world.invariants.check()


def _corner(world: World, plan: random.Random) -> None:
    faults = Faults(world)
    _begin(world, plan)
    _suffer(world, plan, faults, plan.uniform(60.0, 200.0))
    nodes = list(world.nodes.values())
    core = frozenset(node.id for node in plan.sample(nodes, plan.randint(1, len(nodes) - 1)))
    faults.mend(core)
    for node in nodes:
        if node.id not in core:
            faults.cripple(node)
    world.oracle.count("core of " + str(len(core)))
    world.wait(PEACE_S)
    before = epochs(world, core)
    world.wait(STEADY_S)
    Liveness(world, core).check(before)
    world.invariants.check()


def _live(world: World, plan: random.Random) -> None:
    faults = Faults(world)
    _begin(world, plan)
    _suffer(world, plan, faults, plan.uniform(120.0, 600.0))
    faults.mend(frozenset(world.nodes))
    world.wait(PEACE_S)
    before = epochs(world, frozenset(world.nodes))
    world.wait(STEADY_S)
    Liveness(world, frozenset(world.nodes)).check(before)
    world.invariants.check()


def _begin(world: World, plan: random.Random) -> None:
    world.begin()
    for _ in range(plan.choice([1, 1, 2])):
        first = next(iter(world.nodes.values()))
        world.create(first, copies=plan.choice([1, 2, 2, 3]), policy=world.policy())
        world.wait(plan.uniform(5.0, 20.0))


def _suffer(world: World, plan: random.Random, faults: Faults, seconds: float) -> None:
    pause_s = plan.choice([5.0, 15.0, 40.0])
    until_s = world.timeline.now_s + seconds
    while world.timeline.now_s < until_s:
        faults.strike()
        world.wait(plan.expovariate(1 / pause_s))
