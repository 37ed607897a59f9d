"""
What etcd says of this node's strict sites, and, while it says nothing, what the other holders say. Shell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.errors import HybridError, PeerError
from hybrid.model import Claim, NodeId, SiteId, SiteRegister
from hybrid.ports import Peers
from hybrid.strict.decisions import StrictElections
from hybrid.strict.failsafe import Counted, holders, unanimous
from hybrid.strict.records import AT_ONCE, Record, Records
from hybrid.strict.tenure import Tenures
from hybrid.wire import Agreed, AgreeOwner

AGREE_S = 1.0
"""A holder that does not answer in this time does not agree."""


class Watching:
    """The facts about strict sites that come from outside."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        me: NodeId,
        records: Records,
        tenures: Tenures,
        elections: StrictElections,
        peers: Peers,
        registers: Callable[[SiteId], Mapping[NodeId, SiteRegister]],
        targets: Callable[[SiteId], Collection[NodeId]],
        known: Callable[[], Collection[NodeId]],
    ) -> None:
        """
        Args:
            registers: What each node says of a site.
            targets: To whom a site is replicated.
            known: Every node of the cluster that was not removed, silent ones too.
        """
        self._clock, self._me, self._records, self._tenures = clock, me, records, tenures
        self._elections, self._peers = elections, peers
        self._registers, self._targets, self._known = registers, targets, known
        self._counted: dict[SiteId, tuple[int, Counted]] = {}
        """With the revision of the claim under which it was found out: of earlier ones it says nothing."""
        self._answers = True

    # ------------------------------------------------------------------------------------------------ from etcd

    async def read(self, sites: Iterable[SiteId]) -> None:
        """Ask etcd about `sites`, and write down the holders of those that this node owns where they changed."""
        wanted = sorted(sites)
        try:
            for begin in range(0, len(wanted), AT_ONCE):
                await self._read(wanted[begin : begin + AT_ONCE])
        except HybridError as error:
            if self._answers:
                self.log.warn("who owns strict sites is not known: {error}", error=str(error))
            self._answers = False
        else:
            if not self._answers:
                self.log.info("etcd answers again")
            self._answers = True

    async def _read(self, sites: list[SiteId]) -> None:
        asked_s = self._clock.seconds()
        records = await self._records.read(sites)
        now_s = self._clock.seconds()
        for site, record in records.items():
            if not self._elections.read(site, record.owner, record.revision, record.counted, asked_s, now_s):
                continue
            if record.owner != self._me:
                self._tenures.gone(site)
            elif record.revision == self._tenures.revision(site):
                await self._count(site, record)

    async def _count(self, site: SiteId, record: Record) -> None:
        """Have etcd know on which holders this node, the owner, counts."""
        counted = [node for node in record.counted or () if node in self._known()]
        nodes = holders(counted, self._registers(site), self._targets(site), self._me)
        if nodes == record.counted:
            self._counted[site] = (record.revision, Counted(nodes))
            return
        maybe = self._counted_on(site).maybe | nodes
        self._counted[site] = (record.revision, Counted(record.counted, maybe))
        if await self._records.count(site, record, nodes):
            self._counted[site] = (record.revision, Counted(nodes))

    def _counted_on(self, site: SiteId) -> Counted:
        revision, counted = self._counted.get(site, (0, Counted()))
        return counted if revision == self._tenures.revision(site) else Counted()

    # ---------------------------------------------------------------------------------------------- from holders

    async def agree(self, claims: Mapping[SiteId, Claim]) -> None:
        """
        Ask the holders of sites that etcd has not affirmed for a while.

        Args:
            claims: Those this node owns, and how.
        """
        due_s = self._tenures.spans.ttl_s / 3
        now_s = self._clock.seconds()
        sure = [site for site in claims if self._tenures.sure(site, now_s)]
        silent = [site for site in sure if now_s - (self._tenures.affirmed_s(site) or now_s) >= due_s]
        await gatherResults([Deferred.fromCoroutine(self._agree(site, claims[site])) for site in sorted(silent)])

    async def _agree(self, site: SiteId, claim: Claim) -> None:
        asked = self._counted_on(site).asked(self._me)
        if asked is None:
            return
        asked_s = self._clock.seconds()
        nodes = sorted(asked)
        answers = await gatherResults([Deferred.fromCoroutine(self._ask(node, site, claim)) for node in nodes])
        if unanimous(asked, dict(zip(nodes, answers, strict=True))):
            self._tenures.agreed(site, asked_s)

    async def _ask(self, node: NodeId, site: SiteId, claim: Claim) -> bool:
        try:
            answer = await self._peers.request(node, AgreeOwner(site, claim), deadline_s=AGREE_S)
        except PeerError:
            return False
        if isinstance(answer, Agreed) and answer.why_not:
            self.log.warn("{node} does not agree about {site}: {why}", node=node, site=site, why=answer.why_not)
        return isinstance(answer, Agreed) and not answer.why_not
