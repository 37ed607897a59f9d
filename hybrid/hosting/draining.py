"""Empties a node that a person wants to own nothing, and keeps it empty until it may own sites again. Shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.cluster import draining
from hybrid.cluster.draining import AT_ONCE, KEY, Plan, Wish
from hybrid.cluster.groups import Group
from hybrid.deeds import Progress
from hybrid.errors import Conflict, HybridError
from hybrid.hosting.bursting import fresh
from hybrid.hosting.deletions import Shared
from hybrid.hosting.tasks import Silent
from hybrid.model import NodeId, SiteId, SiteRegister
from hybrid.view import View

ROUNDS = 3
"""A site whose move fails is tried so often; then it stays until the next look."""
PAUSE_S = 2.0
AGAIN_S = 60.0
"""What could not be moved is tried again so often."""


class Draining:
    """What is done about the sites of this node while it is drained."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        me: NodeId,
        view: Callable[[], View],
        registers: Callable[[SiteId], Mapping[NodeId, SiteRegister]],
        groups: Callable[[], Collection[Group]],
        shared: Shared,
        move: Callable[[SiteId, NodeId, str], Awaitable[None]],
        told: Callable[[str, SiteId, str], None],
        changed: Callable[[], None],
        wall_s: Callable[[], float],
    ) -> None:
        """
        Args:
            registers: What each node says about a site.
            move: Hands a site over, for the reason given.
            told: `told(kind, site, text)` records an event for people.
            changed: Called when this node begins or ends to be drained.
        """
        self._clock, self._me, self._view, self._registers = clock, me, view, registers
        self._groups, self._shared, self._move, self._told = groups, shared, move, told
        self._changed, self._wall_s = changed, wall_s
        self._at_work = False
        self._again_s = 0.0

    def wanted(self) -> bool:
        """Whether this node is to own nothing."""
        return self._shared.get(KEY + self._me) is not None

    def plan(self) -> Plan:
        """Where the sites of this node would go."""
        view = self._view()
        return draining.plan(view, lambda seen: fresh(view.me, seen, self._registers(seen.spec.id)), self._groups())

    async def drain(self, by: str, progress: Progress) -> int:
        """See `hybrid.placing_deeds.PlacingDeeds`."""
        plan = self.plan()
        if plan.stuck:
            names = ", ".join(self._name(site) for site in plan.stuck)
            why = next(iter(plan.stuck.values()))
            raise Conflict(f"there is no place for {names}", why, "bring another node up, or make room")
        if self._at_work:
            raise Conflict("this node is being emptied already")
        self._shared.put(KEY + self._me, draining.encode(Wish(by, int(self._wall_s()))))
        self._changed()
        count = len(plan.to)
        with progress.step(f"{count} sites to move, {AT_ONCE} at a time, about {plan.seconds:.0f} s"):
            pass
        left = await self._empty(progress)
        if left and not self.wanted():
            raise Conflict("it was called off", f"{len(left)} sites are still here")
        if left:
            names = ", ".join(self._name(site) for site in left)
            raise Conflict(f"{names} could not be moved", next(iter(left.values())), "it is tried again by itself")
        return count

    async def look(self) -> None:
        """Move what came to this node all the same, or could not be moved before. Never raises."""
        now_s = self._clock.seconds()
        if not self.wanted() or self._at_work or now_s < self._again_s or not self.plan().to:
            return
        try:
            left = await self._empty(Silent())
        except Exception:
            self.log.failure("emptying this node failed, it is tried again")
        else:
            self._again_s = self._clock.seconds() + AGAIN_S if left else 0.0

    async def _empty(self, progress: Progress) -> dict[SiteId, str]:
        """Move all there is, while it is wanted. Returns what is left, and why."""
        self._at_work = True
        failed: dict[SiteId, str] = {}
        try:
            for number in range(ROUNDS):
                if number:
                    await deferLater(self._clock, PAUSE_S, lambda: None)
                plan = self.plan()
                failed = dict(plan.stuck)
                waiting = list(plan.to.items())
                ways = [Deferred.fromCoroutine(self._way(waiting, failed, progress)) for _ in range(AT_ONCE)]
                await gatherResults(ways)
                if not self.wanted():
                    return {**failed, **dict.fromkeys((site for site, _ in waiting), "")}
                if not failed and not self.plan().to:
                    break
        finally:
            self._at_work = False
        return failed

    async def _way(self, waiting: list[tuple[SiteId, NodeId]], failed: dict[SiteId, str], progress: Progress) -> None:
        """Move one site after the other of those that wait."""
        while waiting and self.wanted():
            site, to = waiting.pop(0)
            name, node = self._name(site), self._view().nodes[to].name
            try:
                with progress.step(f"move {name} to {node}"):
                    await self._move(site, to, f"{self._view().nodes[self._me].name} is drained")
            except HybridError as error:
                failed[site] = str(error)
                self._told("drain-failed", site, str(error))
            except Exception:
                failed[site] = "see the log of this node"
                self.log.failure("moving {site} away failed", site=site)

    def _name(self, site: SiteId) -> str:
        known = self._view().sites.get(site)
        return known.spec.name if known else site
