"""Where sites are: what is measured, why they are there, what moves for it; put together. Composition."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping

from twisted.internet.interfaces import IReactorTime

from hybrid.cluster.draining import KEY, Plan
from hybrid.cluster.groups import Group
from hybrid.cluster.loads import Gauge, Loads
from hybrid.deeds import Progress
from hybrid.hosting.bursting import Bursting
from hybrid.hosting.deletions import Shared
from hybrid.hosting.draining import Draining
from hybrid.hosting.holdings import Holdings
from hybrid.hosting.measuring import Measuring
from hybrid.hosting.moving import Moving
from hybrid.hosting.placements import Placements
from hybrid.hosting.tasks import Silent, SiteTasks
from hybrid.load import NodeLoad
from hybrid.loops import Deed
from hybrid.model import Fact, NodeId, SiteId, SiteRegister
from hybrid.placing_deeds import Why
from hybrid.settings import Settings
from hybrid.view import View

LOOK_EVERY_S = 5.0
Move = Callable[[SiteId, NodeId, str], Awaitable[None]]


class Placing:
    """See `hybrid.placing_deeds.PlacingDeeds`."""

    def __init__(
        self,
        clock: IReactorTime,
        settings: Settings,
        gauge: Gauge | None,
        view: Callable[[], View],
        holdings: Holdings,
        placements: Placements,
        registers: Callable[[SiteId], Mapping[NodeId, SiteRegister]],
        groups: Callable[[], Collection[Group]],
        shared: Shared,
        tasks: SiteTasks,
        moving: Moving,
        allowed: Callable[[], bool],
        told: Callable[[str, SiteId, str], None],
        described: Callable[[], None],
        wall_s: Callable[[], float],
        me: NodeId,
    ) -> None:
        """
        See `hybrid.hosting.bursting.Bursting` and `hybrid.hosting.draining.Draining`.

        Args:
            gauge: `None` where nothing is measured.
            described: Called when this node has something else to say of itself.
        """
        self._tasks, self._moving, self._shared = tasks, moving, shared
        loads = Loads(settings.bursting.window_s, settings.bursting.cores)
        self._measuring = Measuring(clock, gauge, holdings, loads)
        self._bursting = Bursting(
            clock,
            settings.bursting,
            view,
            loads,
            holdings,
            placements,
            registers,
            groups,
            tasks.busy,
            allowed,
            self._mover("burst"),
            told,
            wall_s,
        )
        self._draining = Draining(
            clock, me, view, registers, groups, shared, self._mover("drain"), told, described, wall_s
        )

    def _mover(self, came: str) -> Move:
        """Hands sites over for a reason."""

        async def move(site: SiteId, to: NodeId, why: str) -> None:
            await self._tasks.run(site, "move", lambda: self._moving.move(site, to, Silent(), came, why))

        return move

    def loops(self) -> tuple[tuple[float, Deed], ...]:
        """What is done over and over, and how often."""
        looks = (self._measuring.look, self._bursting.look, self._draining.look)
        return tuple((LOOK_EVERY_S, look) for look in looks)

    def report(self, fact: Fact) -> None:
        """A component observed something."""
        self._measuring.report(fact)

    def measured(self) -> NodeLoad | None:
        """What this node has and what of that is in use; `None`: it is not measured."""
        return self._measuring.loads.node()

    def draining(self) -> bool:
        """Whether this node is to own nothing."""
        return self._draining.wanted()

    def plan(self) -> Plan:
        """See `PlacingDeeds`."""
        return self._draining.plan()

    async def drain(self, by: str, progress: Progress) -> int:
        """See `PlacingDeeds`."""
        return await self._draining.drain(by, progress)

    def resume(self, node: NodeId) -> None:
        """See `PlacingDeeds`."""
        if self._shared.get(KEY + node) is not None:
            self._shared.put(KEY + node, None)

    def why(self, site: SiteId) -> Why:
        """See `PlacingDeeds`."""
        return self._bursting.why(site)
