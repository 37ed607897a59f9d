"""What a node does for sites beyond serving them, put together: proofs, clones, hooks, groups. Shell."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from hybrid.deeds import TimeMachine
from hybrid.hosting.cloning import Cloning
from hybrid.hosting.creation import Creation
from hybrid.hosting.deletions import Shared
from hybrid.hosting.groups import Groups
from hybrid.hosting.holdings import Holdings
from hybrid.hosting.hooks import Hooked
from hybrid.hosting.instant import Instant
from hybrid.hosting.moving import Moving
from hybrid.hosting.proofs import Proofs
from hybrid.hosting.rolling import Rolling
from hybrid.hosting.sleeping import Sleeping
from hybrid.hosting.tasks import SiteTasks, in_background
from hybrid.hosting.terms import Terms
from hybrid.loops import Deed
from hybrid.model import SiteId
from hybrid.ports import Containers, Pool
from hybrid.settings import Settings
from hybrid.view import View

OFTEN_S = 5.0
SELDOM_S = 30.0


class Care:
    """
    The parts.

    Attributes:
        proofs: Copies are started to see whether they work.
        cloning: Staging copies.
        hooked: Snapshots that applications know of.
        groups: Sites whose moments belong together.
        sleeping: Sites that nobody asks for stop, and start when somebody does.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        settings: Settings,
        pool: Pool,
        containers: Containers,
        machine: TimeMachine,
        holdings: Holdings,
        terms: Terms,
        tasks: SiteTasks,
        creation: Creation,
        rolling: Rolling,
        moving: Moving,
        shared: Shared,
        view: Callable[[], View],
        event: Callable[[str, SiteId, str], None],
        wall_s: Callable[[], float],
    ) -> None:
        """`event(kind, site, text)` records it for people."""
        self.proofs = Proofs(reactor, settings, pool, containers, machine, holdings, view, shared, wall_s)
        self.cloning = Cloning(reactor, machine, holdings, terms, tasks, creation, view)
        self.hooked = Hooked(containers, machine, holdings, tasks, in_background, event, wall_s)
        at_once = pool.capabilities.many_snapshots_at_once
        instant = Instant(reactor, at_once, containers, machine, self.hooked)
        self.sleeping = Sleeping(reactor, holdings, terms, tasks, event)
        self.groups = Groups(
            reactor,
            machine,
            holdings,
            terms,
            tasks,
            rolling,
            moving,
            instant,
            shared,
            view,
            in_background,
            event,
            wall_s,
        )

    def loops(self) -> tuple[tuple[float, Deed], ...]:
        """What is done again and again, and every how many seconds."""
        return (
            (OFTEN_S, self.hooked.look),
            (OFTEN_S, self.groups.look),
            (OFTEN_S, self.sleeping.look),
            (SELDOM_S, self.proofs.look),
            (SELDOM_S, self.cloning.look),
        )
