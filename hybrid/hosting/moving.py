"""
Planned moves: hand a running site to another node with a gap of a second or two (rule R10). Shell.

Whoever holds the largest durable claim goes on when any step fails: before the successor claims, that is this node.
"""

from __future__ import annotations

from twisted.logger import Logger

from hybrid import crashpoint
from hybrid.deeds import Progress, TimeMachine
from hybrid.errors import Conflict, HybridError, PeerError
from hybrid.hosting.claims import Claims
from hybrid.hosting.holdings import Holdings, dataset_of
from hybrid.hosting.terms import Terms
from hybrid.model import Claim, Guid, NodeId, SiteId
from hybrid.ports import Peers, Pool
from hybrid.wire import Done, TakeOver

HAND_OVER_S = 60.0
"""Mounting and starting on the successor may take so long."""


class Moving:
    """Both sides of a hand-over."""

    log = Logger()

    def __init__(
        self,
        me: NodeId,
        pool: Pool,
        peers: Peers,
        machine: TimeMachine,
        holdings: Holdings,
        terms: Terms,
        claims: Claims,
    ) -> None:
        self._me, self._pool, self._peers = me, pool, peers
        self._machine, self._holdings, self._terms, self._claims = machine, holdings, terms, claims

    async def move(self, site: SiteId, to: NodeId, progress: Progress) -> None:
        """See `hybrid.deeds.Hosting.move`."""
        holding = self._holdings.need(site)
        claim = holding.claim
        if holding.role != "owner" or claim is None:
            raise Conflict(f"site {holding.spec.name} is {holding.role} on this node", "", "try again in some seconds")
        if to == self._me:
            raise Conflict(f"site {holding.spec.name} is on that node already")
        with progress.step("send history"):
            await self._machine.push(self._holdings.need(site).spec, claim, to)
        try:
            with progress.step("stop container"):
                self._holdings.update(site, role="leaving", serving=False, successor=to)
                await self._terms.stop(site)
                crashpoint.reached("move-stopped")
            with progress.step("send last changes"):
                head = await self._last_changes(site, claim, to)
                crashpoint.reached("move-sent")
            with progress.step("start on the other node"):
                self._claims.let_go(site)
                await self._peers.request(to, TakeOver(site, claim, head), deadline_s=HAND_OVER_S)
                crashpoint.reached("move-answered")
        except HybridError:
            await self._go_on(site, claim)
            raise
        await self._holdings.release(site)

    async def _last_changes(self, site: SiteId, claim: Claim, to: NodeId) -> Guid:
        async with self._machine.exclusive(site):
            await self._terms.unmount(site)
            await self._pool.set_readonly(dataset_of(site), True)
            await self._machine.snapshot(site, claim, only_if_changed=True)
        return await self._machine.push(self._holdings.need(site).spec, claim, to)

    async def _go_on(self, site: SiteId, claim: Claim) -> None:
        """The move failed: serve here again, unless the successor claimed after all."""
        if self._holdings.seen(site) > claim:
            await self._terms.close(site)
            return
        self.log.warn("site {site} stays: the move failed", site=site)
        self._holdings.update(site, role="opening", successor=None)
        regained = await self._claims.regain(site, claim)
        if regained != claim:
            await self._holdings.claim(site, regained)
        await self._terms.restart(site)

    async def take_over(self, sender: NodeId, request: TakeOver) -> Done:
        """The successor's side: claim above the sender's, and serve. Raises `Conflict` when something is missing."""
        history = self._machine.history(request.site)
        if not history or history[-1].guid != request.head:
            raise Conflict(f"this node does not hold snapshot {request.head} of {request.site}")
        if self._holdings.get(request.site) is None:
            await self._holdings.refresh(request.site)  # it came a moment ago
        if self._holdings.seen(request.site) > request.claim:
            raise Conflict(f"a newer claim on {request.site} is known here")
        if sender != request.claim.node:
            raise PeerError("a hand-over comes from the owner", f"{sender} is not {request.claim.node}")
        crashpoint.reached("take-over-asked")
        await self._terms.open(request.site, await self._claims.next(request.site, after=request.claim))
        crashpoint.reached("take-over-done")
        return Done()
