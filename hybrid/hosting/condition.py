"""Asks the pool how it is, and what people must hear of it and of the clock. Shell."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from hybrid.errors import HybridError
from hybrid.patience import PatientClock
from hybrid.ports import Pool
from hybrid.storage.health import alarms


class Condition:
    """
    What is wrong with this node's pool and clock.

    Attributes:
        alarms: For people, worst first; empty while all is well. Of a pool that does not answer: what was said last.
    """

    log = Logger()

    def __init__(self, pool: Pool, name: str, clock: Callable[[], float] | None, changed: Callable[[], None]) -> None:
        """
        Args:
            name: The pool's.
            clock: The one by which history grows old; a `PatientClock` tells of leaps.
            changed: Called when `alarms` are others than before.
        """
        self._pool, self._name, self._clock, self._changed = pool, name, clock, changed
        self.alarms: tuple[str, ...] = ()

    async def look(self) -> None:
        """Ask once. Never raises."""
        try:
            found = (*alarms(self._name, await self._pool.health()), *self._leap())
        except HybridError as error:
            self.log.debug("the pool did not say how it is: {error}", error=str(error))
            return
        if found != self.alarms:
            for alarm in sorted(set(found) - set(self.alarms)):
                self.log.error("{alarm}", alarm=alarm)
            self.alarms = found
            self._changed()

    def _leap(self) -> tuple[str, ...]:
        if not isinstance(self._clock, PatientClock) or not self._clock.leap_s:
            return ()
        return (
            f"the clock leapt ahead by {self._clock.leap_s:.0f} s: no history is deleted by it for a day."
            " Set it right, and use NTP",
        )
