"""Asks the pool whether it answers, and tells when that changes. Shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.logger import Logger

from hybrid.errors import HybridError
from hybrid.ports import Pool

MISSES = 2
"""Failed checks in a row that mean the storage is lost."""
PATIENCE = 6
"""Failed checks in a row after which it does not look like a restart of its daemon any more."""


class StorageCheck:
    """Remembers whether the storage answered; one `look` at a time."""

    log = Logger()

    def __init__(
        self,
        pool: Pool,
        lost: Callable[[], Awaitable[None]],
        still_lost: Callable[[str], None],
        back: Callable[[], Awaitable[None]],
    ) -> None:
        """`lost()` and `back()` are awaited when the answer changes; `still_lost(reason)` is told at later misses."""
        self._pool, self._lost, self._still_lost, self._back = pool, lost, still_lost, back
        self._misses = 0
        self.answers = True

    async def look(self) -> None:
        """Check once. Never raises."""
        try:
            if not self.answers:
                await self._pool.clear_dead_mounts()
            await self._pool.check()
        except HybridError as error:
            await self._missed(str(error))
            return
        self._misses = 0
        if not self.answers:
            await self._came_back()

    async def _missed(self, reason: str) -> None:
        self._misses += 1
        if self._misses >= PATIENCE:
            self._still_lost(reason)
        if not self.answers or self._misses < MISSES:
            return
        self.answers = False
        self.log.error("storage does not answer: {reason}", reason=reason)
        try:
            await self._lost()
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
