"""F16: power cuts at named steps (`hybrid.crashpoint`) of stash, roll-back, hand-over and take-over. Scenarios."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from hybrid.lab.client import ApiError
from hybrid.lab.faults.deaths import await_successor, tail_is_safe
from hybrid.lab.faults.fault import Fault
from hybrid.lab.faults.nemesis import powerless
from hybrid.lab.faults.scoring import Target
from hybrid.lab.faults.stage import Stage
from hybrid.lab.guestbook import SITE
from hybrid.lab.node import Node


def rolls_back(step: str) -> Callable[[Stage], None]:
    """The owner loses power at `step` of a roll-back."""

    def run(stage: Stage) -> None:
        owner = stage.owner
        begin = lambda: stage.lab.api(owner.name).call("POST", f"/sites/{SITE}/rollback", {"to": "5s"})  # noqa: E731
        _cut_at(stage, owner, step, begin)

    return run


def moves(step: str, successor_dies: bool) -> Callable[[Stage], None]:
    """One of the two sides of a planned move loses power at `step`."""

    def run(stage: Stage) -> None:
        owner = stage.owner
        successor = stage.others(owner)[0]
        move = lambda: stage.lab.api(owner.name).call("POST", f"/sites/{SITE}/move", {"to": successor.name})  # noqa: E731
        _cut_at(stage, successor if successor_dies else owner, step, move)

    return run


def _cut_at(stage: Stage, victim: Node, step: str, begin: Callable[[], object]) -> None:
    """Power cut of `victim` when it comes to `step` of what `begin` begins; afterwards it boots, and all is whole."""
    victim.crash_at(step)
    try:
        stage.fault()
        with suppress(ApiError):  # the node that answers may be the one that dies
            begin()
        with stage.excusing(victim):
            stage.wait(lambda: victim.crashed, f"{victim.name} comes to {step}", 60.0)
            with powerless(stage.lab, victim):
                stage.say(f"{victim.name} lost power at {step}")
                stage.steady(stage.others(victim))
                stage.undone()
            stage.agreed()
        stage.steady()
    finally:
        victim.spare()


def sets_aside(step: str) -> Callable[[Stage], None]:
    """A returning owner loses power again at `step` of setting its tail aside."""

    def run(stage: Stage) -> None:
        dead = stage.owner
        stage.steady([dead])
        try:
            with stage.excusing(dead):
                with powerless(stage.lab, dead):
                    stage.fault()
                    await_successor(stage, dead)
                    stage.steady(stage.others(dead))
                    dead.crash_at(step)
                stage.wait(lambda: dead.crashed, f"{dead.name} comes to {step}", 60.0)
                with powerless(stage.lab, dead):
                    stage.say(f"{dead.name} lost power again at {step}")
                    stage.undone()
                stage.agreed()
        finally:
            dead.spare()
        stage.wait(lambda: tail_is_safe(stage), "the tail of the old owner is set aside", 90.0)
        stage.steady()

    return run


_ROLLING = ("stash-written", "stash-renamed", "stash-placed", "stash-promoted", "stash-dressed", "stash-labelled")
_SETTING_ASIDE = ("stash-renamed", "stash-promoted")
_LEAVING = ("move-stopped", "move-sent", "move-answered")
_TAKING = ("take-over-asked", "open-claimed", "open-marked", "take-over-done")
_TARGET = Target(unavailable_s=30.0, elections=2)

FAULTS = (
    *(
        Fault(f"F16-roll-{step}", f"power cut of a roll-back at {step}", 3, rolls_back(step), _TARGET)
        for step in (*_ROLLING, "roll-swapped")
    ),
    *(
        Fault(f"F16-tail-{step}", f"power cut at {step} of the tail", 3, sets_aside(step), _TARGET)
        for step in _SETTING_ASIDE
    ),
    *(
        Fault(f"F16-{step}", f"power cut of the old owner at {step}", 3, moves(step, False), _TARGET)
        for step in _LEAVING
    ),
    *(Fault(f"F16-{step}", f"power cut of the successor at {step}", 3, moves(step, True), _TARGET) for step in _TAKING),
)
