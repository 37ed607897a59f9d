"""F11: the wall clock of a machine jumps and drifts (libfaketime; timers go on as they do). Scenario."""

from __future__ import annotations

from pathlib import Path

from hybrid.lab.command import LabError
from hybrid.lab.faults.fault import Fault
from hybrid.lab.faults.hands import guids
from hybrid.lab.faults.nemesis import powerless
from hybrid.lab.faults.room import site_id
from hybrid.lab.faults.scoring import Target
from hybrid.lab.faults.stage import Stage
from hybrid.lab.guestbook import SITE
from hybrid.lab.node import Node

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
FAR = "+365d"
SHIFTS = ("+1h", "-1h", FAR, "+0 x1.01")
SHIFT_S = 12.0


def clock_is_wrong(stage: Stage) -> None:
    """An hour ahead, an hour back, a year ahead, and fast: nothing is forgotten early, and nobody is elected."""
    owner = stage.owner
    node = stage.others(owner)[0]
    if not LIBRARY.exists():
        raise LabError(f"no {LIBRARY}", "the clock of a node is made wrong with it", "apt-get install faketime")
    with stage.excusing(node), powerless(stage.lab, node):
        _dress(node)
    try:
        stage.wait(stage.site.agreed, f"{node.name} is back")
        site = site_id(stage)
        move(stage, owner, node)
        had = guids(node, site)
        stage.fault()
        for shift in SHIFTS:
            stage.say(f"the clock of {node.name}: {shift}")
            _set(node, shift)
            stage.last(SHIFT_S)
            if shift == FAR:
                stage.wait(lambda: _is_told(stage, node), f"people are told of the clock of {node.name}")
            stage.steady()
        _set(node, "+0")
        stage.undone()
        stage.unless(had <= guids(node, site), "fatal", "snapshots were forgotten early")
        stage.agreed()
        move(stage, node, owner)
    finally:
        node.environment.clear()
        with stage.excusing(node), powerless(stage.lab, node):
            stage.say(f"{node.name} gets its clock back")
    stage.agreed()
    stage.steady()


def _is_told(stage: Stage, node: Node) -> bool:
    """Whether the cluster's status says that this node's clock is wrong."""
    return any(node.name in finding and "clock of this server" in finding for finding in stage.findings())


def move(stage: Stage, owner: Node, to: Node) -> None:
    """Hand the site over; a node that has just come up may not be reached yet."""

    def moved() -> bool:
        if stage.owners(stage.others()) != {to.name}:
            stage.lab.api(owner.name).perform(f"/sites/{SITE}/move", {"to": to.name})
        return stage.owners(stage.others()) == {to.name}

    stage.wait(moved, f"{to.name} is the owner in all eyes")


def _dress(node: Node) -> None:
    clock = node.base / "clock"
    _set(node, "+0")
    node.environment.update(
        {
            "LD_PRELOAD": str(LIBRARY),
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_CACHE_DURATION": "1",
        }
    )


def _set(node: Node, shift: str) -> None:
    new = node.base / "clock.new"
    new.write_text(shift + "\n")
    new.rename(node.base / "clock")


FAULTS = (Fault("F11", "the clock of the owner's machine is wrong", 3, clock_is_wrong, Target(elections=0, stashes=0)),)
