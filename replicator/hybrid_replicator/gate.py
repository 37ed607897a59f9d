"""
Who may work on a site's dataset at the moment: many sharers, or one alone. Shell.

Snapshots, sends and receives share. Who opens, closes or rolls back a site wants it alone: the gate shuts, transfers
under way are cut (they begin again by themselves later), and it is entered once all sharers have left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from hybrid.errors import Busy
from hybrid.model import SiteId

Abort = Callable[[], Awaitable[None]]


async def nothing_to_abort() -> None:
    """For sharers that end by themselves soon."""


class Gate:
    """The gate of one site."""

    log = Logger()

    def __init__(self, site: SiteId) -> None:
        self._site = site
        self._alone = DeferredLock()
        self._shut = False
        self._inside: dict[object, Abort] = {}
        self._emptied: Deferred[None] | None = None

    @property
    def shut(self) -> bool:
        """Whether somebody has it alone, or waits for that."""
        return self._shut

    @asynccontextmanager
    async def shared(self, abort: Abort = nothing_to_abort) -> AsyncIterator[None]:
        """
        Work beside others.

        Args:
            abort: Awaited when somebody wants the site alone; should make the work end soon. May be called twice.

        Raises:
            Busy: Somebody has it alone, or waits for that.
        """
        if self._shut:
            raise Busy(f"site {self._site} is at work", "it is being opened, closed or rolled back", "try again soon")
        key = object()
        self._inside[key] = abort
        try:
            yield
        finally:
            del self._inside[key]
            if not self._inside and self._emptied is not None:
                emptied, self._emptied = self._emptied, None
                emptied.callback(None)

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Work alone, after those before have left. Every sharer's calls have deadlines, so this ends."""
        async with self._alone:
            self._shut = True
            try:
                await self._drain()
                yield
            finally:
                self._shut = False

    async def cut(self) -> None:
        """Abort what sharers have under way."""
        for abort in list(self._inside.values()):
            try:
                await abort()
            except Exception:
                self.log.failure("a transfer of {site} could not be cut", site=self._site)

    async def _drain(self) -> None:
        await self.cut()
        if self._inside:
            self._emptied = Deferred()
            await self._emptied


class Gates:
    """One gate per site, made when first asked for."""

    def __init__(self) -> None:
        self._gates: dict[SiteId, Gate] = {}

    def of(self, site: SiteId) -> Gate:
        """The gate of `site`."""
        return self._gates.setdefault(site, Gate(site))

    async def cut_all(self) -> None:
        """Abort every transfer under way."""
        for gate in list(self._gates.values()):
            await gate.cut()
