"""F19: a node comes back with an old copy of its disk. Scenarios."""

from __future__ import annotations

from hybrid.lab.command import run
from hybrid.lab.faults.deaths import await_successor
from hybrid.lab.faults.fault import Fault
from hybrid.lab.faults.nemesis import powerless
from hybrid.lab.faults.scoring import Target
from hybrid.lab.faults.stage import Stage
from hybrid.lab.node import Node


def old_disk(stage: Stage) -> None:
    """The owner is restored from an image of its machine that was made when it was the owner, a failover ago."""
    old = stage.owner
    with stage.excusing(old):
        with powerless(stage.lab, old):
            stage.fault()
            await_successor(stage, old)
            _copy(old, "state", "state.old")
            _copy(old, "disk.img", "disk.img.old")
        stage.agreed()
        stage.steady()
        successor = stage.owner
        with powerless(stage.lab, old):
            _copy(old, "state.old", "state")
            _copy(old, "disk.img.old", "disk.img")
            stage.undone()
        stage.agreed()
    stage.steady()
    stage.unless(stage.owner is successor, "slow", f"the site moved from {successor.name} without need")


def _copy(node: Node, source: str, target: str) -> None:
    """A folder or a sparse file of the node, replacing what was there."""
    run("rm", "-rf", str(node.base / target))
    run("cp", "-a", "--sparse=always", str(node.base / source), str(node.base / target), deadline_s=120.0)


FAULTS = (Fault("F19-old", "the owner is restored from an old image", 3, old_disk, Target(healed_s=60.0)),)
