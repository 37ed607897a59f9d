"""One seeded history of a whole cluster: it comes to life, lives through faults, and must be well again in peace."""

from __future__ import annotations

import gc
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

from twisted.logger import ILogObserver, globalLogPublisher

from hybrid.core import Core
from tests.simulation.faults import Faults
from tests.simulation.liveness import Liveness, epochs
from tests.simulation.oracle import Violated
from tests.simulation.world import World

PEACE_S = 150.0
"""After so long without a fault all must be well: rests after failed starts have ended, retries have come."""
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


def history(seed: int, core: type[Core] = Core) -> Outcome:
    """What happens under `seed`; the same each time."""
    plan = random.Random(f"{seed}/plan")
    world = World(seed, nodes=plan.choice([2, 3, 4, 5, 5]), core=core, hurried=plan.choice([1.0, 1.0, 60.0]))
    outcome = Outcome(seed, states=world.oracle.states)
    observer = cast(ILogObserver, world.logged)
    globalLogPublisher.addObserver(observer)
    gc.disable()
    try:
        _live(world, plan)
    except Violated as error:
        outcome.error = str(error)
        outcome.story = world.story()
    finally:
        globalLogPublisher.removeObserver(observer)
        world.bury()
        gc.enable()
    outcome.at_s, outcome.events = world.timeline.now_s, world.timeline.events
    return outcome


def _live(world: World, plan: random.Random) -> None:
    faults = Faults(world)
    world.begin()
    for _ in range(plan.choice([1, 1, 2])):
        first = next(iter(world.nodes.values()))
        world.create(first, copies=plan.choice([1, 2, 2, 3]))
        world.wait(plan.uniform(5.0, 20.0))
    pause_s = plan.choice([5.0, 15.0, 40.0])
    until_s = world.timeline.now_s + plan.uniform(120.0, 600.0)
    while world.timeline.now_s < until_s:
        faults.strike()
        world.wait(plan.expovariate(1 / pause_s))
    faults.mend_all()
    world.wait(PEACE_S)
    before = epochs(world)
    world.wait(STEADY_S)
    Liveness(world, frozenset(world.nodes)).check(before)
    world.invariants.check()
