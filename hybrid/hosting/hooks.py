"""
Snapshots that an application knows of: its hooks run before and after, each within its deadline. Shell.

They are taken beside the ordinary ones, which no hook ever delays. `after` runs whatever happened, and once more for
each site when a process begins: an earlier one may have ended between the two.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import DeferredSemaphore
from twisted.logger import Logger

from hybrid.cluster import consistency
from hybrid.deeds import TimeMachine
from hybrid.errors import ContainerError, HybridError, StorageError
from hybrid.hosting.holdings import Holding, Holdings
from hybrid.hosting.tasks import Background, SiteTasks
from hybrid.model import Claim, SiteId, Snapshot
from hybrid.ports import Containers

AT_ONCE = 4
"""Sites whose hooks run by themselves at the same time."""


class Hooked:
    """The hooks of sites owned here."""

    log = Logger()

    def __init__(
        self,
        containers: Containers,
        machine: TimeMachine,
        holdings: Holdings,
        tasks: SiteTasks,
        background: Background,
        event: Callable[[str, SiteId, str], None],
        wall_s: Callable[[], float],
    ) -> None:
        """`event(kind, site, text)` records it for people."""
        self._containers, self._machine, self._holdings, self._tasks = containers, machine, holdings, tasks
        self._background, self._event, self._wall_s = background, event, wall_s
        self._slots = DeferredSemaphore(AT_ONCE)
        self._settled: set[SiteId] = set()
        self._under_way: set[SiteId] = set()
        self._tried_s: dict[SiteId, float] = {}

    def look(self) -> None:
        """Begin what is due. Costs nothing where no site has hooks."""
        for site in self._holdings:
            holding = self._holdings.get(site)
            if holding is None or not holding.serving or holding.role != "owner" or not _has_hooks(holding):
                self._settled.discard(site)
            elif site not in self._under_way and not self._tasks.busy(site):
                self._consider(site, holding)

    def _consider(self, site: SiteId, holding: Holding) -> None:
        if site not in self._settled:
            self._settled.add(site)
            self._start(site, lambda: self.after(site))
        elif consistency.due(holding.spec, self._machine.history(site), self._wall_s()) and not self._rests(holding):
            self._tried_s[site] = self._wall_s()
            self._start(site, lambda: self._take(site))

    def _rests(self, holding: Holding) -> bool:
        """One that failed is not tried again before its time."""
        since_s = self._wall_s() - self._tried_s.get(holding.spec.id, float("-inf"))
        return 0 <= since_s < holding.spec.consistent_every_s

    def _start(self, site: SiteId, deed: Callable[[], object]) -> None:
        self._under_way.add(site)

        async def run() -> None:
            try:
                await self._slots.run(deed)
            finally:
                self._under_way.discard(site)

        self._background(f"hooks of {site}", run)

    async def _take(self, site: SiteId) -> None:
        holding = self._holdings.get(site)
        if holding is not None and holding.serving and holding.claim is not None:
            await self.snapshot(site, holding.claim)

    async def snapshot(self, site: SiteId, claim: Claim) -> Snapshot:
        """
        Take a snapshot of `site` between its hooks; where it has none, or they fail, as after a power cut.

        Raises:
            StorageError: It could not be taken.
        """
        if not self.can_run(site):
            snapshot = await self._machine.snapshot(site, claim)
        else:
            known = await self.before(site)
            try:
                snapshot = await self._machine.snapshot(site, claim, consistent=known)
            finally:
                await self.after(site)
        if snapshot is None:
            raise StorageError(f"no snapshot of {site} was taken")
        return snapshot

    async def before(self, site: SiteId) -> bool:
        """Run the first hook. Whether the application's files are consistent now; why not is told as an event."""
        holding = self._holdings.need(site)
        return await self._run(site, holding.spec.hooks.before, holding.spec.hooks.deadline_s, "before")

    async def after(self, site: SiteId) -> None:
        """Run the other one, again if it fails: a lock that stays is worse than any snapshot. Never raises."""
        holding = self._holdings.get(site)
        if holding is None or not holding.spec.hooks.after:
            return
        hooks = holding.spec.hooks
        for _ in range(2):
            if await self._run(site, hooks.after, hooks.deadline_s, "after"):
                return

    def can_run(self, site: SiteId) -> bool:
        """Whether it has hooks, and runs."""
        holding = self._holdings.get(site)
        return holding is not None and holding.serving and _has_hooks(holding)

    async def _run(self, site: SiteId, argv: tuple[str, ...], deadline_s: float, which: str) -> bool:
        if not argv:
            return False
        try:
            done = await self._containers.execute(site, argv, timeout_s=deadline_s)
            if done.status == 0:
                return True
            said = (done.stderr or done.stdout)[-200:].decode("utf-8", "replace").strip()
            raise ContainerError(f"it ended with status {done.status}", said)
        except HybridError as error:
            self._event("hook-failed", site, f"the hook {which} a snapshot failed: {error}")
            return False


def _has_hooks(holding: Holding) -> bool:
    return bool(holding.spec.hooks.before or holding.spec.hooks.after)
