"""
Snapshots of several sites in one instant, between the hooks of those that have any. Shell.

Where the pool takes several in one transaction group, that is the instant. Elsewhere the containers are frozen for as
long as the single snapshots take; where that is too long they go on, and the snapshots are none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.deeds import TimeMachine
from hybrid.errors import HybridError, NoSuchContainer
from hybrid.hosting.hooks import Hooked
from hybrid.model import Claim, SiteId, Snapshot
from hybrid.ports import Containers

FROZEN_S = 5.0
"""Nobody waits longer than this for a container that is frozen for a snapshot."""


class Instant:
    """Takes them."""

    log = Logger()

    def __init__(
        self, clock: IReactorTime, at_once: bool, containers: Containers, machine: TimeMachine, hooked: Hooked
    ) -> None:
        """`at_once`: the pool takes them in one instant by itself."""
        self._clock, self._at_once = clock, at_once
        self._containers, self._machine, self._hooked = containers, machine, hooked

    async def take(self, claims: Mapping[SiteId, Claim]) -> tuple[Snapshot, ...]:
        """
        One of each site owned here under these claims, all or none, in their order.

        Raises:
            Busy: It took too long for one instant.
            StorageError: They could not be taken.
        """
        hooked = [site for site in claims if self._hooked.can_run(site)]
        known = await _together([self._hooked.before(site) for site in hooked])
        try:
            async with self._at_rest(list(claims)) as valid:
                return await self._machine.snapshot_together(claims, bool(known) and all(known), valid)
        finally:
            await _together([self._hooked.after(site) for site in hooked])

    async def thaw_left(self, sites: Sequence[SiteId]) -> None:
        """At start: let those go on that an earlier process froze, if it ended just then."""
        running = await self._containers.running()
        await self._thaw([site for site in sites if running.get(site) == "frozen"])

    @asynccontextmanager
    async def _at_rest(self, sites: Sequence[SiteId]) -> AsyncIterator[Callable[[], bool]]:
        """Nothing of them writes meanwhile, as long as what is given returns `True`."""
        if self._at_once:
            yield lambda: True
            return
        frozen: list[SiteId] = []
        late = self._clock.callLater(FROZEN_S, lambda: Deferred.fromCoroutine(self._thaw(frozen)))
        try:
            for site in sites:
                try:
                    await self._containers.freeze(site)
                except NoSuchContainer:
                    continue
                finally:
                    frozen.append(site)
            yield late.active
        finally:
            if late.active():
                late.cancel()
            await self._thaw(frozen)

    async def _thaw(self, sites: Sequence[SiteId]) -> None:
        """Never raises: the others must go on."""
        for site in list(sites):
            try:
                await self._containers.thaw(site)
            except NoSuchContainer:
                continue
            except HybridError as error:
                self.log.error("{site} stays frozen: {error}", site=site, error=str(error))


async def _together(deeds: Sequence[object]) -> list[object]:
    """What they return, in their order."""
    return list(await gatherResults([Deferred.fromCoroutine(deed) for deed in deeds]))  # type: ignore[arg-type]
