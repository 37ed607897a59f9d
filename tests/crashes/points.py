"""Cuts the power at the chosen calls of a deed, lets the node return, and says what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.crashes.deeds import Deed
from tests.crashes.stage import Stage
from tests.node.lives import Cut

SOON_S, LATE_S = 1.0, 25.0
"""A node that returns before anybody missed it, and one whose sites others have taken over by then."""
RECOVERY_S = 15.0
"""In this time after its return a node finishes what was cut short; the second cut falls into it."""


@dataclass(frozen=True, slots=True)
class Point:
    """Where the power goes, once or again and again, and how long it is away each time."""

    deed: Deed
    cuts: tuple[Cut, ...]
    down_s: float = SOON_S

    def __str__(self) -> str:
        where = ", then ".join(f"{'after' if cut.after else 'before'} call {cut.number}" for cut in self.cuts)
        return f"{self.deed.name}: power of {self.deed.actor} cut {where or 'never'}, back after {self.down_s:.0f} s"


def run(point: Point, stages: Callable[[], Stage] = Stage) -> list[str]:
    """
    One whole history: the deed, the cuts and returns, and quiet until all is in order.

    Returns:
        The changing calls of the acting node after the last return, or of the whole deed where nothing was cut.

    Raises:
        AssertionError: Something was lost or left unfinished, or there are not so many calls.
    """
    deed, stage, cuts = point.deed, stages(), list(point.cuts)
    actor = stage.cluster.members[deed.actor]
    try:
        deed.prepare(stage)
        stage.arm(actor, cuts.pop(0) if cuts else None)
        deed.act(stage)
        stage.wait_for_cut(deed.lasts_s)
        for cut in [*cuts, None][: len(point.cuts)]:
            assert stage.fired, f"there are only {len(stage.calls)} calls"
            stage.disarm()
            stage.wait(point.down_s)
            stage.arm(actor, cut)
            stage.start(actor)
            stage.wait_for_cut(RECOVERY_S)
        calls = list(stage.calls)
        stage.disarm()
        deed.afterwards(stage)
        stage.settle()
    except AssertionError as error:
        raise AssertionError(f"{point}: {error}") from error
    finally:
        stage.close()
    return calls


def points(deed: Deed) -> Iterator[Point]:
    """Every single cut: before and after each call; back soon, and back late."""
    for number in range(1, len(run(Point(deed, ()))) + 1):
        for after in (False, True):
            for down_s in (SOON_S, LATE_S):
                yield Point(deed, (Cut(number, after),), down_s)


def sample(deed: Deed) -> Iterator[Point]:
    """At every third call one of the four."""
    for index, point in enumerate(points(deed)):
        call, variant = divmod(index, 4)
        if call % 3 == 0 and variant == call // 3 % 4:
            yield point


def pairs(deed: Deed, apart: int = 1) -> Iterator[Point]:
    """
    Every cut followed by every cut of the recovery from it, or every `apart`th of both.

    Before a call is enough: to the disk it is the same as after the one before.
    """
    for first in range(1, len(run(Point(deed, ()))) + 1, apart):
        once = Point(deed, (Cut(first, False),))
        for second in range(1, len(run(once)) + 1, apart):
            yield Point(deed, (*once.cuts, Cut(second, False)))
