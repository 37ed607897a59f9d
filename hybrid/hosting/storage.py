"""Asks the pool and its mounts whether they answer, and tells when that changes. Shell."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from hybrid.ports import HybridError, Pool

MISSES = 2
"""Failed checks in a row that mean the storage is lost."""


class Mounts(Protocol):
    """Tells which mounts are dead."""

    async def dead(self, paths: Sequence[str]) -> list[str]:
        """Those of `paths` whose file system's daemon is gone."""


class MountProbe:
    """
    Looks at mounts in a thread of its own, since a hung one may never answer.

    While one look hangs, the next ones say nothing: hanging is for the pool's own check to notice.
    """

    def __init__(self, reactor: IReactorThreads) -> None:
        self._reactor = reactor
        self._threads = ThreadPool(0, 1, "mounts")
        self._looking = False

    async def dead(self, paths: Sequence[str]) -> list[str]:
        """See `Mounts`."""
        if self._looking or not paths:
            return []
        self._looking = True
        if not self._threads.started:
            self._threads.start()
        try:
            return await deferToThreadPool(self._reactor, self._threads, dead_mounts, list(paths))
        finally:
            self._looking = False

    def stop(self) -> None:
        """End the thread, unless it hangs."""
        if self._threads.started and not self._looking:
            self._threads.stop()


def dead_mounts(paths: Sequence[str]) -> list[str]:
    """Those of `paths` that fail with ENOTCONN: FUSE without its daemon. Blocks."""
    return [path for path in paths if _is_dead(path)]


def _is_dead(path: str) -> bool:
    try:
        os.stat(path)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


class StorageCheck:
    """Remembers whether the storage answered; one `look` at a time."""

    log = Logger()

    def __init__(
        self,
        pool: Pool,
        mounts: Mounts,
        paths: Callable[[], Sequence[str]],
        lost: Callable[[str], Awaitable[None]],
        back: Callable[[], Awaitable[None]],
    ) -> None:
        """`paths()` are the mounts in use; `lost(reason)` and `back()` are awaited when the answer changes."""
        self._pool, self._mounts, self._paths = pool, mounts, paths
        self._lost, self._back = lost, back
        self._misses = 0
        self.answers = True

    async def look(self) -> None:
        """Check once. Never raises."""
        try:
            dead = await self._mounts.dead(self._paths())
            if dead and self.answers:
                await self._gone(f"its daemon died under {dead[0]}")
            await self._pool.check()
        except HybridError as error:
            self._misses += 1
            if self.answers and self._misses >= MISSES:
                await self._gone(str(error))
            return
        except Exception:
            self.log.failure("the storage check failed")
            return
        self._misses = 0
        if not self.answers:
            await self._came_back()

    async def _gone(self, reason: str) -> None:
        self.answers = False
        self.log.error("storage does not answer: {reason}", reason=reason)
        try:
            await self._lost(reason)
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
