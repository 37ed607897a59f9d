"""Cuts the power at the chosen calls of a deed, lets the node return, and says what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.crashes.deeds import Deed
from tests.crashes.stage import Stage
from tests.node.lives import Cut

SOON_S, LATE_S = 1.0, 25.0
"""A node that returns before anybody missed it, and one whose sites others have taken over by then."""
RECOVERY_S = 40.0
"""Within this time after its return a node has finished what was cut short."""


@dataclass(frozen=True, slots=True)
class Point:
    """Where the power goes, and how long it is away."""

    deed: Deed
    cuts: tuple[Cut, ...]
    down_s: float

    def __str__(self) -> str:
        where = " then ".join(f"{'after' if cut.after else 'before'} {cut.number}" for cut in self.cuts)
        return f"{self.deed.name} at {self.deed.actor}: {where or 'no cut'}, back after {self.down_s:.0f} s"


def run(point: Point) -> list[list[str]]:
    """
    One whole history.

    Returns:
        The changing calls of the acting node, as far as they got: of the deed, then of each recovery.

    Raises:
        AssertionError: Something was lost, or left unfinished.
    """
    deed, stage = point.deed, Stage()
    actor, calls = stage.cluster.members[deed.actor], []
    try:
        deed.prepare(stage)
        stage.arm(actor, point.cuts[0] if point.cuts else None)
        deed.act(stage)
        stage.wait_for_cut(deed.lasts_s)
        calls.append(stage.calls)
        for cut in [*point.cuts[1:], None][: len(point.cuts)]:
            assert stage.fired, f"never cut: only {len(stage.calls)} calls"
            stage.disarm()
            stage.wait(point.down_s)
            stage.arm(actor, cut)
            stage.start(actor)
            stage.wait_for_cut(RECOVERY_S if cut is not None else 1)
            calls.append(stage.calls)
        stage.disarm()
        deed.afterwards(stage)
        stage.settle()
    except AssertionError as error:
        raise AssertionError(f"{point}: {error}\n{calls[:1]}") from error
    finally:
        stage.close()
    return calls


def points(deed: Deed) -> Iterator[Point]:
    """Every single cut: before and after each call; back soon, and back late."""
    (calls,) = run(Point(deed, (), 0))
    for number in range(1, len(calls) + 1):
        for after in (False, True):
            for down_s in (SOON_S, LATE_S):
                yield Point(deed, (Cut(number, after),), down_s)
