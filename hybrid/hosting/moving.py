"""
Planned moves: hand a running site to another node with a gap of a second or two (rule R10). Shell.

Whoever holds the largest durable claim goes on when any step fails: before the successor claims, that is this node.
The successor asks back just before it claims, so that a request which arrives late, after the owner has given up
waiting and gone on, makes no second owner.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid import crashpoint
from hybrid.cluster.sanity import leaps
from hybrid.deeds import Progress, TimeMachine
from hybrid.errors import Conflict, HybridError, PeerError
from hybrid.hosting.claims import Claims
from hybrid.hosting.holdings import Holdings, dataset_of
from hybrid.hosting.terms import Terms
from hybrid.model import Claim, Guid, NodeId, SiteId
from hybrid.ports import Peers, Pool
from hybrid.settings import Timing
from hybrid.wire import Done, OwnerSeen, SeesOwner, TakeOver

HAND_OVER_S = 60.0
"""Mounting and starting on the successor may take so long."""
ASK_S = 1.5
"""Either side answers the other within this time, or is taken to be out of reach."""


class Moving:
    """Both sides of a hand-over."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        timing: Timing,
        me: NodeId,
        pool: Pool,
        peers: Peers,
        machine: TimeMachine,
        holdings: Holdings,
        terms: Terms,
        claims: Claims,
        claim_of: Callable[[SiteId, NodeId], Claim | None],
        note: Callable[[SiteId, str, str], None],
    ) -> None:
        """
        Args:
            claim_of: `claim_of(site, node)`: the claim that `node` last said it holds.
            note: `note(site, came, why)`: a site is about to come here, see `hybrid.load.Placed`.
        """
        self._clock, self._timing, self._me, self._pool, self._peers = clock, timing, me, pool, peers
        self._machine, self._holdings, self._terms = machine, holdings, terms
        self._claims, self._claim_of, self._note = claims, claim_of, note
        self._taking: dict[SiteId, Claim] = {}

    # ------------------------------------------------------------------------------------------- the old owner

    async def move(self, site: SiteId, to: NodeId, progress: Progress, came: str = "move", why: str = "") -> None:
        """See `hybrid.deeds.Hosting.move`. `came` and `why`: what the successor is to tell of it."""
        holding = self._holdings.need(site)
        claim = holding.claim
        if holding.role != "owner" or claim is None:
            raise Conflict(f"site {holding.spec.name} is {holding.role} on this node", "", "try again in some seconds")
        if to == self._me:
            raise Conflict(f"site {holding.spec.name} is on that node already")
        with progress.step("send history"):
            await self._machine.push(self._holdings.need(site).spec, claim, to)
        asked = False
        try:
            with progress.step("stop container"):
                self._holdings.update(site, role="leaving", serving=False, successor=to)
                await self._terms.stop(site)
                crashpoint.reached("move-stopped")
            with progress.step("send last changes"):
                head = await self._last_changes(site, claim, to)
                crashpoint.reached("move-sent")
            with progress.step("start on the other node"):
                asked = True
                self._claims.let_go(site)
                await self._peers.request(to, TakeOver(site, claim, head, came, why), deadline_s=HAND_OVER_S)
                crashpoint.reached("move-answered")
        except Exception:
            await self._settle(site, claim, asked and await self._taken(site, claim, to))
            raise
        self._holdings.update(site, role="stashing")  # what fails now is tried again, as the end of every term
        await self._holdings.release(site)

    async def _last_changes(self, site: SiteId, claim: Claim, to: NodeId) -> Guid:
        async with self._machine.exclusive(site):
            await self._terms.unmount(site)
            await self._pool.set_readonly(dataset_of(site), True)
            await self._machine.snapshot(site, claim, only_if_changed=True)
        return await self._machine.push(self._holdings.need(site).spec, claim, to)

    async def _taken(self, site: SiteId, claim: Claim, to: NodeId) -> bool:
        """Whether the successor claimed, or is about to. Out of reach and unheard of for `settle_s`: it did not."""
        until_s = self._clock.seconds() + self._timing.settle_s
        while True:
            theirs = self._claim_of(site, to)
            if theirs is not None and theirs > claim:
                return True
            try:
                answer = await self._peers.request(to, SeesOwner(site), deadline_s=ASK_S)
                return isinstance(answer, OwnerSeen) and answer.claim is not None and answer.claim > claim
            except PeerError:
                if self._clock.seconds() >= until_s:
                    return False
            await deferLater(self._clock, 0.2, lambda: None)

    async def _settle(self, site: SiteId, claim: Claim, taken: bool) -> None:
        """The move failed: let go where the successor has it, else serve here again. Never raises."""
        try:
            if taken:
                await self._terms.close(site)
                return
            self.log.warn("site {site} stays: the move failed", site=site)
            self._holdings.update(site, role="opening", successor=None)
            if self._holdings.seen(site) > claim:
                await self._terms.open(site, await self._claims.next(site))
                return
            regained = await self._claims.regain(site, claim)
            if regained != claim:
                await self._holdings.claim(site, regained)
            await self._terms.restart(site)
        except HybridError as error:
            self.log.warn("{site} could not be put right after its move: {error}", site=site, error=str(error))
            self._holdings.update(site, trouble=str(error))
        except Exception as error:
            self.log.failure("{site} could not be put right after its move", site=site)
            self._holdings.update(site, trouble=f"{type(error).__name__}: see the log of this node")

    # ------------------------------------------------------------------------------------------- the successor

    def taking(self, site: SiteId) -> Claim | None:
        """A claim by which others see that this node is about to take `site` over; a larger one may come of it."""
        return self._taking.get(site)

    async def take_over(self, sender: NodeId, request: TakeOver) -> Done:
        """Claim above the sender, and serve. Raises `Conflict` when something is missing or not wanted any more."""
        await self._check(sender, request)
        self._taking[request.site] = Claim(request.claim.epoch + 1, self._me)
        try:
            await self._ask_back(sender, request.site)
            crashpoint.reached("take-over-asked")
            self._note(request.site, request.came, request.why)
            await self._take(request.site, request.claim)
            crashpoint.reached("take-over-done")
        finally:
            del self._taking[request.site]
        return Done()

    async def _check(self, sender: NodeId, request: TakeOver) -> None:
        history = self._machine.history(request.site)
        if not history or history[-1].guid != request.head:
            raise Conflict(f"this node does not hold snapshot {request.head} of {request.site}")
        if self._holdings.get(request.site) is None:
            await self._holdings.refresh(request.site)  # it came a moment ago
        seen = self._holdings.seen(request.site)
        if seen > request.claim:
            raise Conflict(f"a newer claim on {request.site} is known here")
        if leaps(seen.epoch, request.claim.epoch, self._holdings.need(request.site).spec.consistency == "strict"):
            raise PeerError("a hand-over that no healthy node asks for", f"epoch {request.claim.epoch}")
        if sender != request.claim.node:
            raise PeerError("a hand-over comes from the owner", f"{sender} is not {request.claim.node}")

    async def _ask_back(self, sender: NodeId, site: SiteId) -> None:
        """The request may have waited long: is it still meant?"""
        answer = await self._peers.request(sender, SeesOwner(site), deadline_s=ASK_S)
        if not isinstance(answer, OwnerSeen) or answer.claim is not None:
            raise Conflict(f"{sender} does not hand {site} over any more")

    async def _take(self, site: SiteId, after: Claim) -> None:
        try:
            await self._terms.open(site, await self._claims.next(site, after=after))
        except HybridError as error:
            self._holdings.update(site, trouble=str(error))
            raise
