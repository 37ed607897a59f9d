"""Storage that does not answer is noticed, whether it says so at once or hangs, and a short absence costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from hybrid.errors import StorageSick
from hybrid.hosting.storage import StorageCheck
from hybrid.loops import Loops
from hybrid.ports import Pool


class Sick:
    """A pool whose check takes `takes_s`, and fails while `sick`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.sick, self.takes_s = False, 0.0

    async def check(self) -> None:
        """Answer or fail."""
        await deferLater(self._clock, self.takes_s)
        if self.sick:
            raise StorageSick("nothing comes")

    async def clear_dead_mounts(self) -> None:
        """There are none."""


class Watched:
    """A check each second, and what it told, with the time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pool = Sick(self.clock)
        self.told: list[tuple[str, float]] = []
        self.stopping: Deferred[None] | None = None
        self.check = StorageCheck(self.clock, cast(Pool, self.pool), self._lost, self._still, self._back)
        self.loops = Loops(self.clock)
        self.loops.every(1.0, self.check.look)

    async def _lost(self) -> None:
        self.told.append(("lost", self.clock.seconds()))
        if self.stopping is not None:
            await self.stopping

    def _still(self, reason: str) -> None:
        self.told.append(("still", self.clock.seconds()))

    async def _back(self) -> None:
        self.told.append(("back", self.clock.seconds()))

    def first(self, what: str) -> float | None:
        """When it was first told."""
        return next((at_s for told, at_s in self.told if told == what), None)

    def last(self, seconds: float) -> None:
        """Time passes."""
        self.clock.pump([0.1] * round(seconds * 10))


@pytest.fixture
def watched() -> Iterator[Watched]:
    """Storage that answers."""
    watched = Watched()
    watched.last(3.0)
    yield watched
    watched.loops.stop()


def test_one_missed_check_is_nothing(watched: Watched) -> None:
    """A daemon that is slow once loses nobody's sites."""
    watched.pool.sick = True
    watched.last(1.0)
    watched.pool.sick = False
    watched.last(10.0)
    assert (watched.told, watched.check.answers) == ([], True)


def test_a_daemon_that_is_restarted_keeps_its_sites(watched: Watched) -> None:
    """What ran on it is stopped and comes back; no other node is asked to take over."""
    watched.pool.sick = True
    watched.last(4.0)
    watched.pool.sick = False
    watched.last(4.0)
    assert [what for what, _ in watched.told] == ["lost", "back"]


@pytest.mark.parametrize("takes_s", [0.0, 5.0])
def test_storage_that_stays_away_is_given_up_in_time(watched: Watched, takes_s: float) -> None:
    """Also where it hangs and every check runs into its deadline: others must be serving twenty seconds later."""
    watched.pool.sick, watched.pool.takes_s = True, takes_s
    begin_s = watched.clock.seconds()
    watched.last(30.0)
    lost_s, still_s = watched.first("lost"), watched.first("still")
    assert lost_s is not None and still_s is not None
    assert lost_s <= still_s <= begin_s + 13.0


def test_what_cannot_be_stopped_does_not_keep_others_from_taking_over(watched: Watched) -> None:
    """A container that hangs on its dead disk takes its time; the word that the storage is lost goes out before."""
    watched.stopping = Deferred()
    watched.pool.sick, watched.pool.takes_s = True, 5.0
    watched.last(15.0)
    assert watched.first("still") is not None
