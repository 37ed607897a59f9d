"""
A wall clock that does not believe in leaps ahead: what is deleted by age must not go because a clock was set wrong.

Pure: both clocks are given. A clock that is suddenly more than ten minutes ahead of the time that passed is not
followed for a day, in which somebody may notice and set it right; one that goes back is followed at once, since then
nothing is deleted early.
"""

from __future__ import annotations

from collections.abc import Callable

LEAP_S = 600.0
DOUBTED_S = 86400.0
MONTH_S = 31 * 86400.0


class PatientClock:
    """Call it for the time, in seconds since the epoch; seldom enough, it only watches while it is asked."""

    def __init__(
        self, wall_s: Callable[[], float], monotonic_s: Callable[[], float], last_s: float | None = None
    ) -> None:
        """`last_s`: when this node last wrote something; a clock more than a month after that is doubted at once."""
        self._wall_s, self._monotonic_s = wall_s, monotonic_s
        away = last_s is not None and wall_s() - last_s > MONTH_S
        self._offset_s = (last_s if last_s is not None and away else wall_s()) - monotonic_s()
        self._doubted_since_s: float | None = None

    def __call__(self) -> float:
        """The time, as far as it is believed."""
        now_s = self._monotonic_s()
        offset_s = self._wall_s() - now_s
        if offset_s - self._offset_s <= LEAP_S:
            self._offset_s, self._doubted_since_s = offset_s, None
        elif self._doubted_since_s is None:
            self._doubted_since_s = now_s
        elif now_s - self._doubted_since_s >= DOUBTED_S:
            self._offset_s, self._doubted_since_s = offset_s, None
        return now_s + self._offset_s

    @property
    def leap_s(self) -> float:
        """By how much the clock is ahead of what is believed; 0.0 for one that is believed."""
        if self._doubted_since_s is None:
            return 0.0
        return self._wall_s() - self._monotonic_s() - self._offset_s
