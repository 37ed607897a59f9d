"""Strict sites of one node, all parts wired. Each has a loop of its own: an etcd that hangs delays nothing. Shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from twisted.internet.interfaces import IReactorTime

from hybrid.cluster.ledger import Ledger
from hybrid.cluster.membership import Membership
from hybrid.hosting.holdings import Holdings
from hybrid.hosting.tasks import SiteTasks
from hybrid.hosting.terms import Terms
from hybrid.loops import Loops
from hybrid.model import NodeId, SiteId
from hybrid.ports import Peers
from hybrid.settings import Settings
from hybrid.strict.claims import EtcdClaims, SiteClaims
from hybrid.strict.decisions import StrictElections
from hybrid.strict.guard import GuardFeed
from hybrid.strict.keeper import LeaseKeeper
from hybrid.strict.ports import StrictDrivers
from hybrid.strict.records import Records
from hybrid.strict.steward import StrictSteward
from hybrid.strict.tenure import Tenures
from hybrid.strict.watching import Watching
from hybrid.wire import Agreed, AgreeOwner

LOOK_S = 0.5
READ_S = 1.0


class StrictSites:
    """
    Everything about strict sites on this node; also where it knows no etcd, to leave them alone then.

    Attributes:
        claims: See `hybrid.hosting.claims.Claims`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        settings: Settings,
        me: NodeId,
        drivers: StrictDrivers | None,
        membership: Membership,
        ledger: Ledger,
        holdings: Holdings,
    ) -> None:
        self._clock, self._me, self._failsafe = clock, me, settings.strict.failsafe
        self._membership, self._ledger, self._holdings = membership, ledger, holdings
        self._tenures = Tenures(settings.strict.ttl_s)
        self._elections = StrictElections(me, self._tenures.spans, settings.timing, clock.seconds())
        self._loops = Loops(clock)
        self._records = Records(drivers.etcd, drivers.cluster) if drivers else None
        self._keeper = (
            LeaseKeeper(clock, drivers.etcd, self._tenures, drivers.kept_lease, drivers.keep_lease) if drivers else None
        )
        self._etcd = (
            EtcdClaims(clock, me, self._records, self._keeper, self._tenures, self._elections)
            if self._records and self._keeper
            else None
        )
        self._guard = GuardFeed(drivers.guard if drivers else None, holdings, self._tenures, self._is_strict)
        self.claims = SiteClaims(clock, me, holdings, ledger, self._tenures, self._etcd, self._guard.feed)

    def _is_strict(self, site: SiteId) -> bool:
        return self.claims.is_strict(site)

    def begin(
        self,
        peers: Peers,
        terms: Terms,
        tasks: SiteTasks,
        targets: Callable[[SiteId], Collection[NodeId]],
        owner_seen: Callable[[SiteId], Awaitable[bool]],
        event: Callable[[str, SiteId, str], None],
    ) -> None:
        """
        Keep the lease, ask, decide and act from now on, until `stop`. Before sites are resumed: their lease runs.

        Args:
            peers: Links to the other nodes.
            terms: Opens and closes sites.
            tasks: What is being done to sites.
            targets: To whom a site is replicated.
            owner_seen: Whether another node still sees an owner of a site.
            event: `event(kind, site, text)` records a transition for people.
        """
        self._steward = StrictSteward(
            self._clock,
            self._me,
            self._membership,
            self._ledger,
            self._elections,
            self._tenures,
            self.claims,
            self._etcd,
            self._holdings,
            terms,
            tasks,
            owner_seen,
            event,
        )
        self._peers = peers
        if self._keeper is None or self._records is None:
            return
        self._watching = Watching(
            self._clock,
            self._me,
            self._records,
            self._tenures,
            self._elections,
            peers,
            self._ledger.registers,
            targets,
            self._ledger.nodes,
        )
        self._loops.every(LOOK_S, self._keeper.look)
        self._loops.every(LOOK_S, self._guard.look)

    def decide(self) -> None:
        """Sites are resumed: begin to ask about them, and to answer owners that hear nothing from etcd."""
        self._peers.handle(AgreeOwner, self._agree)
        if self._etcd is None:
            return
        self._loops.every(READ_S, self._read)
        if self._failsafe:
            self._loops.every(LOOK_S, self._ask_holders)

    def stop(self) -> None:
        """Fall silent: the lease runs out, unless another process of this node goes on with it."""
        self._loops.stop()

    def look(self) -> None:
        """Decide about every strict site, and about those that were a moment ago; twice a second, once resumed."""
        if self.claims.any_strict or self._tenures.sites:
            self._steward.look()

    async def _read(self) -> None:
        await self._watching.read(self._steward.to_read())

    async def _ask_holders(self) -> None:
        await self._watching.agree(self._steward.owned())

    async def _agree(self, sender: NodeId, request: object) -> Agreed:
        assert isinstance(request, AgreeOwner)
        return await self._steward.agree(sender, request)
