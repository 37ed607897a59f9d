"""Asks the pool whether it answers, and tells when that changes. Shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.errors import HybridError
from hybrid.ports import Pool

MISSES = 2
"""Failed checks in a row that mean the storage is lost."""
PATIENCE_S = 6.0
"""Having failed for so long it does not look like a restart of its daemon any more: where it hangs, one check may."""


class StorageCheck:
    """Remembers whether the storage answered; one `look` at a time."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        pool: Pool,
        lost: Callable[[], Coroutine[Deferred[Any], Any, None]],
        still_lost: Callable[[str], None],
        back: Callable[[], Awaitable[None]],
    ) -> None:
        """`lost()` and `back()` are awaited when the answer changes; `still_lost(reason)` is told at later misses."""
        self._clock = clock
        self._pool, self._lost, self._still_lost, self._back = pool, lost, still_lost, back
        self._misses, self._failing_s = 0, 0.0
        self.answers = True

    async def look(self) -> None:
        """Check once. Never raises."""
        begin_s = self._clock.seconds()
        try:
            if not self.answers:
                await self._pool.clear_dead_mounts()
            await self._pool.check()
        except HybridError as error:
            self._failing_s = self._failing_s if self._misses else begin_s
            await self._missed(str(error))
            return
        self._misses = 0
        if not self.answers:
            await self._came_back()

    async def _missed(self, reason: str) -> None:
        self._misses += 1
        losing: Deferred[None] | None = None
        if self.answers and self._misses >= MISSES:
            self.answers = False
            self.log.error("storage does not answer: {reason}", reason=reason)
            losing = Deferred.fromCoroutine(self._lost())
        if not self.answers and self._clock.seconds() - self._failing_s >= PATIENCE_S:
            self._still_lost(reason)  # not after `lost`: stopping what hangs on that storage may take long
        try:
            if losing is not None:
                await losing
        except Exception:
            self.log.failure("closing what ran on the lost storage failed")

    async def _came_back(self) -> None:
        try:
            await self._back()
        except Exception:
            self.log.failure("using the storage again failed; trying at the next check")
            return
        self.answers = True
        self.log.info("storage answers again")
