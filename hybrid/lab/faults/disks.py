"""F19: a node comes back with an old copy of its disk, or runs twice. Scenarios."""

from __future__ import annotations

from contextlib import suppress

from hybrid.lab.cluster import HYBRID, Lab
from hybrid.lab.command import LabError, run
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


def cloned_disk(stage: Stage) -> None:
    """
    A second machine boots from a copy of a replica's disk, under an address of its own: people are told.

    The one that started later goes on, so a person who stops that one has to start the other again.
    """
    lab, original = stage.lab, stage.others(stage.owner)[-1]
    with stage.excusing(original), powerless(lab, original):
        copy = _twin(lab, original)
    stage.wait(stage.site.agreed, f"{original.name} is back")
    with stage.excusing(original):
        try:
            stage.fault()
            copy.start([*HYBRID, "run", "--state-dir", str(original.state_dir)])
            told_s = stage.wait(lambda: _told(stage), "the status of some node tells of the clone", 90.0)
            stage.note("alarm_s", told_s)
            stage.steady(stage.others(original))
        finally:
            copy.kill()
            copy.clean()
        with powerless(lab, original):
            stage.undone()
        stage.agreed()
    stage.steady()


def _twin(lab: Lab, original: Node) -> Node:
    """A node on a copy of everything that is on `original`, which has no power."""
    name, base = f"{original.name}x", lab.base / f"{original.name}x"
    lab.network.plug_in(name)
    run("rm", "-rf", str(base))
    run("cp", "-a", "--sparse=always", str(original.base), str(base), deadline_s=120.0)
    copy = Node(lab.network, name, original.dc, base, twin_of=original.base)
    settings = base / "state" / "hybrid.toml"
    text = settings.read_text().replace(f'"{original.address}"', f'"{copy.address}"')
    settings.write_text(text.replace(f'"{original.cgroup}"', f'"{copy.cgroup}"'))
    return copy


def _told(stage: Stage) -> bool:
    """Whether some node's findings speak of two nodes with one key."""
    findings: list[str] = []
    for node in stage.lab.live():
        with suppress(LabError):
            findings += stage.lab.api(node.name).call("GET", "/status", deadline_s=3.0)["findings"]
    return any("cloned" in finding for finding in findings)


FAULTS = (
    Fault("F19-old", "the owner is restored from an old image", 3, old_disk, Target(healed_s=60.0)),
    Fault("F19-clone", "a replica's disk runs on two machines", 3, cloned_disk, Target(elections=0, stashes=0)),
)
