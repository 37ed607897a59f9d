"""F5: symmetric partitions, between nodes and between data centres. Scenarios."""

from __future__ import annotations

from collections.abc import Sequence

from hybrid.lab.faults.fault import Fault
from hybrid.lab.faults.nemesis import apart, deaf
from hybrid.lab.faults.scoring import Target
from hybrid.lab.faults.stage import Stage
from hybrid.lab.node import Node


def owner_alone(stage: Stage) -> None:
    """The owner is cut off from all others: both sides serve, then one history wins and the other is a stash."""
    owner = stage.owner
    split(stage, [owner], stage.others(owner))


def data_centres(stage: Stage) -> None:
    """The data centres are cut apart."""
    sides: dict[str, list[Node]] = {}
    for node in stage.others():
        sides.setdefault(node.dc, []).append(node)
    split(stage, *sides.values())


def split(stage: Stage, *sides: Sequence[Node]) -> None:
    """Until each side has an owner of its own and acknowledges writes; then healed."""
    stage.say("cut apart: " + " | ".join(" ".join(node.name for node in side) for side in sides))
    with stage.parted(), deaf(stage.lab.network, apart(stage.lab.network, *sides)):
        stage.fault()
        for side in sides:
            own = {node.name for node in side}
            stage.wait(
                lambda side=side, own=own: len(found := stage.owners(side)) == 1 and found <= own,  # type: ignore[misc]  # bound now
                f"{' '.join(sorted(own))} have an owner of their own",
            )
        stage.steady()
        stage.undone()
    stage.agreed()
    stage.steady()


FAULTS = (
    Fault("F5-two", "two nodes do not hear each other", 2, owner_alone, Target(elections=1)),
    Fault("F5-three", "the owner of three is cut off", 3, owner_alone, Target(elections=1)),
    Fault("F5-dc", "two data centres do not hear each other", 4, data_centres, Target(elections=1)),
)
