"""Does what the decisions about strict sites say, one deed at a time per site. Shell: a deed never decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.cluster.candidates import burdens
from hybrid.cluster.ledger import Ledger
from hybrid.cluster.membership import Membership
from hybrid.errors import HybridError
from hybrid.hosting.holdings import Holdings
from hybrid.hosting.tasks import SiteTasks, in_background
from hybrid.hosting.terms import Terms
from hybrid.model import Claim, NodeId, SiteId
from hybrid.strict.claims import EtcdClaims, SiteClaims
from hybrid.strict.decisions import (
    Blocked,
    Decision,
    Look,
    Reclaim,
    Release,
    Resign,
    Stay,
    StrictElections,
    Take,
    Yield,
)
from hybrid.strict.failsafe import Promises
from hybrid.strict.tenure import Tenures
from hybrid.wire import Agreed, AgreeOwner

BLOCKED = "stopped, because etcd cannot be reached: nobody can tell whether another server owns this site"

AGREED = "etcd cannot be reached: it goes on only as long as every server that holds it agrees"


class StrictSteward:
    """Looks at every strict site in turn and does what must be done."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        me: NodeId,
        membership: Membership,
        ledger: Ledger,
        elections: StrictElections,
        tenures: Tenures,
        claims: SiteClaims,
        etcd: EtcdClaims | None,
        holdings: Holdings,
        terms: Terms,
        tasks: SiteTasks,
        owner_seen: Callable[[SiteId], Awaitable[bool]],
        event: Callable[[str, SiteId, str], None],
    ) -> None:
        """
        Args:
            owner_seen: Whether another node still sees an owner (rule R2).
            event: `event(kind, site, text)` records a transition for people.
        """
        self._clock, self._me, self._membership, self._ledger = clock, me, membership, ledger
        self._elections, self._tenures, self._claims, self._etcd = elections, tenures, claims, etcd
        self._holdings, self._terms, self._tasks = holdings, terms, tasks
        self._owner_seen, self._event = owner_seen, event
        self._promises = Promises(tenures.spans)
        self._stopping: set[SiteId] = set()

    # ---------------------------------------------------------------------------------------------------- sites

    def sites(self) -> list[SiteId]:
        """Strict sites of which this node holds something."""
        return self._claims.strict_sites()

    def to_read(self) -> list[SiteId]:
        """Those about which etcd is to be asked."""
        return [site for site in self.sites() if self._elections.wants_reading(self._look(site))]

    def owned(self) -> dict[SiteId, Claim]:
        """Those this node owns or is about to, and its claims."""
        held = {site: self._holdings.need(site) for site in self.sites()}
        return {site: one.claim for site, one in held.items() if one.claim is not None and one.role != "stashing"}

    # ------------------------------------------------------------------------------------------------- decisions

    def look(self) -> None:
        """Decide about every strict site and begin the deeds. One site's trouble is that site's alone."""
        self._sweep()
        for site in self.sites():
            try:
                self._do(site, self._elections.decide(self._look(site)))
            except Exception:
                self.log.failure("looking at {site} failed", site=site)

    def _sweep(self) -> None:
        """Have etcd name nobody for what was deleted, or made available, or could not be created."""
        for site in self._tenures.sites:
            if self._holdings.get(site) is None or not self._claims.is_strict(site):
                self._tasks.start(site, "give back", lambda site=site: self._give_back(site))  # type: ignore[misc]  # default argument

    def _look(self, site: SiteId) -> Look:
        now_s, nodes = self._clock.seconds(), self._ledger.nodes()
        me = nodes.get(self._me)
        known = {node: "" for node in self._membership.known}
        return Look(
            site=site,
            registers=self._ledger.registers(site),
            live=self._membership.live(now_s),
            now_s=now_s,
            fit=self._membership.fit(now_s),
            free_space_ok=me is None or me.storage_ok,
            home_dc=self._holdings.need(site).spec.home_dc,
            dcs={**known, **{node: register.dc for node, register in nodes.items()}},
            loads=burdens(nodes),
            sure=self._tenures.sure(site, now_s),
            in_etcd=self._tenures.in_etcd(site),
            may_stand=self._promises.kept(site, now_s),
        )

    def _do(self, site: SiteId, decision: Decision) -> None:
        self._say(site, isinstance(decision, Blocked))
        match decision:
            case Stay() | Blocked():
                return
            case Take():
                self._tasks.start(site, "take over", lambda: self._take(site))
            case Reclaim():
                self._tasks.start(site, "claim anew", lambda: self._reclaim(site))
            case Resign():
                self._stop_now(site)
                self._tasks.start(site, "stop", lambda: self._resign(site))
            case Yield(owner, claim):
                self._stop_now(site)
                self._tasks.start(site, "fence", lambda: self._yield(site, owner, claim))
            case Release():
                self._tasks.start(site, "give up", lambda: self._release(site))
            case _:
                assert_never(decision)

    def _say(self, site: SiteId, blocked: bool) -> None:
        """
        Without etcd a replica says so, as long as it is so: by its trouble others come first, and people know.

        So does an owner that goes on all the same; that it is served makes it no reason for anything.
        """
        holding = self._holdings.need(site)
        agreed = holding.role == "owner" and self._tenures.by_agreement(site, self._clock.seconds())
        trouble = BLOCKED if blocked else AGREED if agreed and holding.serving else ""
        if holding.trouble != trouble and (trouble or holding.trouble in (BLOCKED, AGREED)):
            self._holdings.update(site, trouble=trouble)

    # ----------------------------------------------------------------------------------------------------- deeds

    async def _take(self, site: SiteId) -> None:
        if await self._owner_seen(site):
            self._event("election-called-off", site, "another node still sees the owner")
            return
        if self._elections.decide(self._look(site)) != Take():
            self._event("election-called-off", site, "what is known changed while others were asked")
            return
        claim = await self._claims.next(site)
        self._event("elected", site, f"this node takes over under {claim}")
        try:
            await self._terms.open(site, claim)
        except HybridError as error:
            await self._failed(site, error)
            raise
        self._event("opened", site, f"serving under {claim}")

    async def _failed(self, site: SiteId, error: HybridError) -> None:
        """Let the next candidate have its turn, unless something of it may still run here."""
        self._elections.failed(site, self._clock.seconds())
        self._holdings.update(site, trouble=str(error))
        self._event("takeover-failed", site, str(error))
        if self._holdings.need(site).role == "replica":
            await self._give_back(site)

    async def _reclaim(self, site: SiteId) -> None:
        claim = await self._claims.next(site)
        await self._holdings.claim(site, claim)
        self._event("re-affirmed", site, f"now under {claim}")

    async def _resign(self, site: SiteId) -> None:
        self._event("fenced", site, "etcd did not say in time that this node owns it")
        await self._terms.close(site)
        self._holdings.update(site, trouble=BLOCKED)

    async def _yield(self, site: SiteId, owner: NodeId, claim: Claim) -> None:
        self._event("fenced", site, f"{owner} owns it under {claim}")
        self._tenures.let_go(site)
        await self._holdings.saw(site, claim)
        await self._terms.close(site)

    async def _release(self, site: SiteId) -> None:
        await self._terms.stop(site)
        self._event("given-up", site, "it does not run here: another server may take it")
        await self._give_back(site)

    async def _give_back(self, site: SiteId) -> None:
        if self._etcd is not None:
            await self._etcd.give_back(site)

    def _stop_now(self, site: SiteId) -> None:
        """Whatever else is being done to the site, and however long that takes: its container stops now."""
        if not self._tasks.busy(site) or site in self._stopping:
            return
        self._stopping.add(site)

        async def stop() -> None:
            try:
                await self._terms.stop(site)
            finally:
                self._stopping.discard(site)

        in_background(f"stopping {site}", stop)

    # --------------------------------------------------------------------------------------------------- answers

    async def agree(self, sender: NodeId, request: AgreeOwner) -> Agreed:
        """Answer an owner that hears nothing from etcd."""
        site, now_s = request.site, self._clock.seconds()
        if sender != request.claim.node:
            return Agreed("only the owner itself can ask that")
        named = self._elections.named(site, now_s)
        return Agreed(
            self._promises.ask(
                site,
                request.claim,
                self._ledger.registers(site).get(self._me),
                named.node if named is not None else None,
                self._tasks.busy(site) is not None,
                now_s,
            )
        )
