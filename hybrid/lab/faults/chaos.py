"""
Faults at random, two at a time, by a seed that is printed: nobody has thought of everything. Scenarios.

Only what is kept is judged, and that all is whole by itself in the end; not how long anything took meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from hybrid.lab.faults.fault import Fault
from hybrid.lab.faults.nemesis import apart, deaf, halted, hung, lossy, powerless
from hybrid.lab.faults.scoring import Target
from hybrid.lab.faults.stage import Stage
from hybrid.lab.node import Node

CHAOS_S = 100.0
SHORTEST_S, LONGEST_S = 2.0, 14.0
_Trouble = Callable[[Stage, Node, Node], AbstractContextManager[None]]
_TROUBLES: dict[str, _Trouble] = {
    "no power": lambda stage, node, other: powerless(stage.lab, node),
    "the control process halted": lambda stage, node, other: halted(node, "node"),
    "the storage halted": lambda stage, node, other: halted(node, "zfs-fuse"),
    "the machine hung": lambda stage, node, other: hung(node),
    "cut off": lambda stage, node, other: deaf(stage.lab.network, apart(stage.lab.network, [node], stage.others(node))),
    "not heard by one": lambda stage, node, other: deaf(stage.lab.network, [(node.name, other.name)]),
    "frames lost": lambda stage, node, other: lossy(stage.lab.network, 20),
}


def at_random(stage: Stage) -> None:
    """For a hundred seconds, one or two troubles at once, each as long as it comes."""
    begin_s, chance = time.monotonic(), stage.chance
    stage.fault()
    with stage.excusing(*stage.others()), stage.parted():
        while time.monotonic() - begin_s < CHAOS_S:
            nodes = stage.others()
            chance.shuffle(nodes)
            with ExitStack() as stack:
                for number, what in enumerate(chance.sample(sorted(_TROUBLES), chance.choice([1, 1, 2]))):
                    node, other = nodes[number], nodes[number - 1]
                    stage.say(f"{node.name}: {what}")
                    stack.enter_context(_TROUBLES[what](stage, node, other))
                stage.last(chance.uniform(SHORTEST_S, LONGEST_S))
            stage.last(chance.uniform(0.0, SHORTEST_S))
        stage.undone()
        stage.agreed()
    stage.steady()


FAULTS = (Fault("random", "one or two troubles at a time", 3, at_random, Target(healed_s=60.0, elections=100)),)
