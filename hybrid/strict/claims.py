"""
`hybrid.hosting.claims.Claims`: available sites' claims are minted here, strict sites' come from etcd. Shell.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.cluster.candidates import newest_spec
from hybrid.cluster.ledger import Ledger
from hybrid.errors import BadRequest, Conflict, HybridError
from hybrid.hosting.holdings import Holdings
from hybrid.model import NO_CLAIM, Claim, NodeId, SiteId, SiteSpec
from hybrid.strict.decisions import StrictElections
from hybrid.strict.keeper import LeaseKeeper
from hybrid.strict.ports import EtcdUnreachable, NoSuchLease
from hybrid.strict.records import Record, Records
from hybrid.strict.tenure import Tenures

ADOPT_WITHIN_S = 6.0
"""A process that just started asks etcd for so long whether it may go on with what it found running."""


class EtcdClaims:
    """Claims on strict sites, where this node knows an etcd."""

    def __init__(
        self,
        clock: IReactorTime,
        me: NodeId,
        records: Records,
        keeper: LeaseKeeper,
        tenures: Tenures,
        elections: StrictElections,
    ) -> None:
        self._clock, self._me, self._records, self._keeper = clock, me, records, keeper
        self._tenures, self._elections = tenures, elections

    async def claim(self, site: SiteId, seen: Claim, after: Claim | None = None) -> Claim:
        """
        A new claim, larger than `seen`.

        Raises:
            Conflict: Another node owns it, or etcd is too young.
            EtcdUnreachable, EtcdRefused: etcd does not answer, or does not want to.
        """
        lease = await self._keeper.need()
        record = (await self._records.read([site]))[site]
        if record.owner is not None and record.owner != self._me:
            if after is None or (record.owner, record.revision) != (after.node, after.epoch):
                raise Conflict(f"{record.owner} owns {site} in etcd", "", "wait until its lease has run out")
        try:
            revision = await self._records.take(site, record, self._me, lease, seen)
        except NoSuchLease:
            self._tenures.lost()
            raise
        self._took(site, revision, lease, record)
        return Claim(revision, self._me)

    def _took(self, site: SiteId, revision: int, lease: int, record: Record) -> None:
        self._tenures.took(site, revision, lease)
        now_s = self._clock.seconds()
        self._elections.read(site, self._me, revision, record.counted, now_s, now_s)

    async def adopt(self, site: SiteId) -> bool:
        """Whether etcd still names this node, under the lease that an earlier process of it left."""
        lease = await self._keeper.need()
        record = (await self._records.read([site]))[site]
        if (record.owner, record.lease) != (self._me, lease):
            return False
        self._took(site, record.revision, lease, record)
        return True

    async def give_back(self, site: SiteId) -> None:
        """Have etcd name nobody, if it names this node. The site must have stopped."""
        revision = self._tenures.revision(site)
        if revision is not None:
            await self._records.give_back(site, revision)
        self._tenures.let_go(site)


class SiteClaims:
    """See `hybrid.hosting.claims.Claims`."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        me: NodeId,
        holdings: Holdings,
        ledger: Ledger,
        tenures: Tenures,
        etcd: EtcdClaims | None,
        feed: Callable[[], Awaitable[None]],
    ) -> None:
        """`feed()` tells the guardian what is to be frozen when; it raises where there is none."""
        self._clock, self._me, self._holdings, self._ledger, self._tenures = clock, me, holdings, ledger, tenures
        self._etcd, self._feed = etcd, feed
        self._adopt_until_s = clock.seconds() + ADOPT_WITHIN_S
        self._strict: set[SiteId] = set()
        ledger.follow(self._changed)

    def is_strict(self, site: SiteId) -> bool:
        """
        Whether the newest spec that anybody published says so: a node that missed the switch must obey it too.

        At rest this is asked for every site here twice a second, so it is found out when a register changes.
        """
        if site in self._strict:
            return True
        holding = self._holdings.get(site)
        unheard = holding is not None and holding.spec.consistency == "strict" and not self._ledger.registers(site)
        return unheard

    @property
    def any_strict(self) -> bool:
        """Whether there is any strict site, here or elsewhere."""
        return bool(self._strict)

    def strict_sites(self) -> list[SiteId]:
        """Those of which this node holds something, by id."""
        return sorted(site for site in self._strict if self._holdings.get(site) is not None)

    def _changed(self, site: SiteId) -> None:
        """Somebody said something else of `site`."""
        spec = newest_spec([said for said in self._ledger.registers(site).values() if said.role != "none"])
        if spec is not None and spec.consistency == "strict":
            self._strict.add(site)
        else:
            self._strict.discard(site)

    async def first(self, spec: SiteSpec) -> Claim:
        """See `hybrid.hosting.claims.Claims`."""
        if spec.consistency != "strict":
            return Claim(1, self._me)
        return await self._need(spec.name).claim(spec.id, NO_CLAIM)

    async def next(self, site: SiteId, after: Claim | None = None) -> Claim:
        """See `hybrid.hosting.claims.Claims`."""
        seen = self._holdings.seen(site)
        if not self.is_strict(site):
            return Claim(seen.epoch + 1, self._me)
        return await self._need(site).claim(site, seen, after)

    async def switch(self, old: SiteSpec, new: SiteSpec) -> Claim | None:
        """See `hybrid.hosting.claims.Claims`."""
        if new.consistency == old.consistency or new.consistency != "strict":
            return None
        return await self._need(new.name).claim(new.id, self._holdings.seen(new.id))

    def let_go(self, site: SiteId) -> None:
        """See `hybrid.hosting.claims.Claims`."""
        self._tenures.let_go(site)

    async def regain(self, site: SiteId, claim: Claim) -> Claim:
        """See `hybrid.hosting.claims.Claims`."""
        return await self.next(site) if self.is_strict(site) else claim

    async def permit(self, site: SiteId) -> None:
        """See `hybrid.hosting.claims.Claims`."""
        if not self.is_strict(site):
            return
        self._need(site)
        self._be_sure(site)
        await self._feed()
        self._be_sure(site)

    def _be_sure(self, site: SiteId) -> None:
        if not self._tenures.sure(site, self._clock.seconds()):
            raise Conflict(f"{site} may not run here", "etcd did not say lately that this server owns it")

    async def adopt(self, site: SiteId, claim: Claim) -> bool:
        """See `hybrid.hosting.claims.Claims`."""
        if not self.is_strict(site):
            return True
        if self._etcd is None:
            return False
        while True:
            try:
                if not await self._etcd.adopt(site):
                    self.log.warn("{site} is not adopted: etcd does not name this node", site=site)
                    return False
                await self._feed()
                return True
            except HybridError as error:
                if self._clock.seconds() > self._adopt_until_s or not isinstance(error, EtcdUnreachable):
                    self.log.warn("{site} is not adopted: {error}", site=site, error=str(error))
                    return False
            await deferLater(self._clock, 0.2)

    def _need(self, site: str) -> EtcdClaims:
        if self._etcd is None:
            raise BadRequest(
                f"{site} cannot be strict", "this server knows no etcd", "name its members in the settings: [strict]"
            )
        return self._etcd
