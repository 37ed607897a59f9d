"""The clock by which history grows old."""

from __future__ import annotations

from hybrid.patience import DOUBTED_S, LEAP_S, PatientClock


class World:
    """Two clocks that tests set."""

    def __init__(self) -> None:
        self.wall_s, self.monotonic_s = 1_800_000_000.0, 50.0
        self.clock = PatientClock(lambda: self.wall_s, lambda: self.monotonic_s)

    def passes(self, seconds: float, rate: float = 1.0) -> float:
        """Time passes, the wall clock `rate` times as fast. What the patient one says then."""
        self.monotonic_s += seconds
        self.wall_s += seconds * rate
        return self.clock()


def test_time_that_passes_is_believed() -> None:
    """Also by a clock that runs a hundredth too fast, for months."""
    world = World()
    for _ in range(5000):
        assert world.passes(3600.0, 1.01) == world.wall_s
    assert world.clock.leap_s == 0.0


def test_a_leap_ahead_is_doubted_for_a_day() -> None:
    """A clock a year ahead makes nothing old; a day later nobody has set it right, and it is believed."""
    world = World()
    world.wall_s += 365 * 86400
    assert world.passes(1.0) == 1_800_000_001.0
    assert world.clock.leap_s == 365 * 86400
    assert world.passes(DOUBTED_S - 2) == 1_800_000_001.0 + DOUBTED_S - 2
    assert world.passes(2.0) == world.wall_s
    assert world.clock.leap_s == 0.0


def test_a_clock_that_was_set_right_is_believed_at_once() -> None:
    """What was doubted is forgotten as soon as the clock is where it should be."""
    world = World()
    world.wall_s += 7200
    world.passes(60.0)
    world.wall_s -= 7200
    assert world.passes(1.0) == world.wall_s
    world.wall_s += LEAP_S - 1
    assert world.passes(1.0) == world.wall_s


def test_a_node_that_starts_with_a_wrong_clock_deletes_nothing_by_it() -> None:
    """More than a month after it last wrote anything, a node takes its clock for wrong; for a day, as any leap."""
    month_s = 31 * 86400.0
    for away_s, leap_s in ((3600.0, 0.0), (month_s - 1, 0.0), (month_s + 1, month_s + 1), (-3600.0, 0.0)):
        world = World()
        clock = PatientClock(lambda: world.wall_s, lambda: world.monotonic_s, world.wall_s - away_s)  # noqa: B023
        assert clock() == world.wall_s - leap_s
        assert clock.leap_s == leap_s


def test_a_clock_that_goes_back_is_followed() -> None:
    """Nothing is deleted early by it; forward again from there, by a leap, it is doubted."""
    world = World()
    world.wall_s -= 3600
    assert world.passes(1.0) == world.wall_s
    world.wall_s += 3600
    assert world.passes(1.0) == world.wall_s - 3600
