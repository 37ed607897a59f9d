"""When a site falls asleep, as its front doors tell: what they did not tell counts as use."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from hybrid.hosting.idleness import FORGET_S, LATE_S, Idleness, Step
from hybrid.model import SiteId
from hybrid.sitetraffic import Used

SHOP, BLOG = SiteId("s-shop"), SiteId("s-blog")
AFTER_S = 60.0


class World:
    """Front doors that tell every ten seconds, and one site that is awake."""

    def __init__(self, fronts: Iterable[str] = ("f1", "f2")) -> None:
        self.idleness, self.now_s = Idleness(), 1000.0
        self.numbers = dict.fromkeys(fronts, 0)
        self.asleep = False
        self.serving = True

    def tell(self, front: str, *sites: SiteId) -> None:
        """One front door tells which sites are in use."""
        self.numbers[front] = self.numbers.get(front, 0) + 1
        self.idleness.heard(Used(front, self.numbers[front], sites), self.now_s)

    def decide(self, after_s: float = AFTER_S) -> Step | None:
        """What is to be done about the shop."""
        step = self.idleness.decide(SHOP, after_s, self.asleep, self.serving, self.now_s)
        if step == "doze":
            self.idleness.dozed(SHOP, self.now_s)
            self.asleep = True
        return step

    def pass_time(self, seconds: float, silent: Iterable[str] = (), used_at: str = "") -> list[Step]:
        """Let time pass; what was decided meanwhile."""
        steps = []
        for _ in range(round(seconds / 10)):
            self.now_s += 10
            for front in list(self.numbers):
                if front not in silent:
                    self.tell(front, *((SHOP,) if front == used_at else ()))
            step = self.decide()
            if step is not None:
                steps.append(step)
        return steps


@pytest.fixture
def world() -> World:
    """All known, nobody asked yet."""
    world = World()
    world.pass_time(10)
    return world


def test_nobody_asks(world: World) -> None:
    """It dozes after its time, no sooner, and is shut once every front door has confirmed that nobody uses it."""
    assert world.pass_time(50) == []
    assert world.pass_time(10) == ["doze"]
    assert world.decide() is None
    assert world.pass_time(10) == ["shut"]


def test_sleep_is_off_by_default(world: World) -> None:
    """A site of which nobody said that it may sleep never does."""
    for _ in range(100):
        world.now_s += 3600
        for front in ("f1", "f2"):
            world.tell(front)
        assert world.decide(after_s=0.0) is None


@pytest.mark.parametrize("front", ["f1", "f2"])
def test_one_front_door_that_sees_use_is_enough(world: World, front: str) -> None:
    """Whichever process a visitor came to; afterwards the time counts from the last use."""
    assert world.pass_time(600, used_at=front) == []
    assert world.pass_time(50) == []
    assert world.pass_time(10) == ["doze"]


def test_use_while_it_dozes(world: World) -> None:
    """A request that was under way when it was about to stop is not cut off: the site goes on."""
    world.pass_time(60)
    assert world.asleep
    assert world.pass_time(10, used_at="f2") == ["rouse"]


def test_a_front_door_that_says_nothing(world: World) -> None:
    """As long as one may have visitors of which it cannot tell, nothing sleeps; gone for long, it counts no more."""
    assert world.pass_time(LATE_S + 60, silent=["f2"]) == []
    steps = world.pass_time(FORGET_S, silent=["f2"])
    assert steps[:2] == ["doze", "shut"]


def test_a_silent_one_while_it_dozes(world: World) -> None:
    """What dozes and is not confirmed goes on running."""
    world.pass_time(60)
    assert world.asleep
    assert world.pass_time(70, silent=["f2"])[-1] == "rouse"


def test_a_word_that_was_lost(world: World) -> None:
    """A gap in what a front door told counts as use at its end, whatever was in it."""
    world.pass_time(50)
    world.numbers["f1"] += 1
    assert world.pass_time(60) == []
    assert world.pass_time(20) == ["doze", "shut"]


def test_a_new_front_door(world: World) -> None:
    """One that was started again knows nothing of what the one before it saw last: the time begins anew."""
    world.pass_time(50)
    del world.numbers["f1"]
    world.numbers["f3"] = 0
    assert world.pass_time(60) == []


def test_no_front_door_at_all() -> None:
    """Where none runs, nobody knows who would have come."""
    world = World(fronts=())
    assert world.pass_time(1000) == []


def test_somebody_is_inside(world: World) -> None:
    """A command that runs in its container keeps a site awake, however long, and counts at its end."""
    world.idleness.enter(SHOP, world.now_s)
    world.idleness.enter(SHOP, world.now_s)
    world.idleness.leave(SHOP, world.now_s)
    assert world.pass_time(600) == []
    world.idleness.leave(SHOP, world.now_s)
    assert world.pass_time(50) == []
    assert world.pass_time(10) == ["doze"]


def test_time_before_it_served_is_not_idle(world: World) -> None:
    """One that came here, or up, a moment ago has not been without visitors for an hour."""
    world.serving = False
    assert world.pass_time(600) == []
    world.serving = True
    assert world.pass_time(60) == []
    assert world.pass_time(10) == ["doze"]


def test_woken_while_it_dozes(world: World) -> None:
    """Its container still runs; the time begins anew. One that was shut has to be started."""
    world.pass_time(60)
    assert world.idleness.woken(SHOP, world.now_s)
    world.asleep = False
    assert world.decide() is None and world.pass_time(50) == []
    assert world.pass_time(20) == ["doze", "shut"]
    world.idleness.shut(SHOP)
    assert not world.idleness.woken(SHOP, world.now_s)


def test_others_are_not_kept_awake(world: World) -> None:
    """Use of one site says nothing about another."""
    for _ in range(6):
        world.now_s += 10
        for front in ("f1", "f2"):
            world.tell(front, BLOG)
        world.decide()
    assert world.asleep


def test_what_slept_before_this_process(world: World) -> None:
    """A site that was asleep when the node process started is left asleep."""
    world.asleep = True
    assert world.pass_time(600) == []
