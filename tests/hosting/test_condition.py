"""What a pool and a clock say of themselves becomes an alarm, and ends with its cause."""

from __future__ import annotations

from hybrid.detach import detach
from hybrid.errors import StorageSick
from hybrid.hosting.condition import Condition
from hybrid.patience import PatientClock
from hybrid.ports import Health
from hybrid.storage.memory import MemoryPool


class Watched:
    """A condition of a pool in memory, and how often it changed."""

    def __init__(self) -> None:
        self.pool, self.wall_s, self.changes = MemoryPool(), 1000.0, 0
        clock = PatientClock(lambda: self.wall_s, lambda: 0.0)
        self._clock = clock
        self.condition = Condition(self.pool, "tank", clock, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def look(self) -> tuple[str, ...]:
        """The alarms after a look."""
        self._clock()
        detach(self.condition.look())
        return self.condition.alarms


def test_a_disk_that_fails_is_told_until_it_is_replaced() -> None:
    """An alarm stands while the pool is degraded, says with which disk, and goes with its cause."""
    watched = Watched()
    assert watched.look() == ()
    watched.pool.condition = Health("degraded", devices=("/dev/a is faulted",))
    assert "/dev/a is faulted" in watched.look()[0]
    watched.look()
    assert watched.changes == 1
    watched.pool.condition = Health()
    assert watched.look() == ()
    assert watched.changes == 2


def test_a_pool_that_does_not_answer_changes_no_alarm() -> None:
    """That it does not answer is told elsewhere, and what was wrong before is not known to be right."""
    watched = Watched()
    watched.pool.condition = Health(data_errors=3)
    before = watched.look()
    watched.pool.fail_next("health", StorageSick("it hangs"))
    assert watched.look() == before != ()


def test_a_clock_that_leapt_is_told() -> None:
    """Until somebody has set it right."""
    watched = Watched()
    watched.wall_s += 7200
    assert "the clock leapt ahead by 7200 s" in watched.look()[0]
    watched.wall_s -= 7200
    assert watched.look() == ()
