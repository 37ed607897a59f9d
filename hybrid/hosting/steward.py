"""
Carries out what the elections decide, one deed at a time per site. Shell: a deed never decides.

Each look asks the pure decision for every site and starts its deed in the background; a failure is published as the
site's trouble and told to the elections, so that the next candidate may stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypedDict, assert_never

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.cluster import picks
from hybrid.cluster.candidates import burdens, largest_claim
from hybrid.cluster.confirming import confirmation, owner_seen, refuted
from hybrid.cluster.decisions import AwaitPick, Decision, Fence, PublishBid, Reaffirm, Resume, Stand, Stay
from hybrid.cluster.election import Elections
from hybrid.cluster.ledger import Ledger
from hybrid.cluster.membership import Membership
from hybrid.cluster.room import Level, level
from hybrid.errors import HybridError, PeerError
from hybrid.hosting.holdings import Holdings
from hybrid.hosting.tasks import SiteTasks
from hybrid.hosting.terms import Terms
from hybrid.hosting.turns import Turns
from hybrid.model import Claim, NodeId, SiteId
from hybrid.ports import Peers
from hybrid.wire import OwnerSeen, SeesOwner

NEVER_S = float("-inf")
LOOK_AGAIN_S = 5.0
"""A site about which nothing seems to have changed is looked at so often: nothing depends on an event alone."""


class _Around(TypedDict):
    """What is the same for all sites of one look. See `Elections.decide`."""

    live: frozenset[NodeId]
    now_s: float
    fit: bool
    free_space_ok: bool
    dcs: dict[NodeId, str]
    loads: dict[NodeId, float]
    sick: frozenset[NodeId]


CONFIRM_S = 1.5
"""A node that does not say within this time that it sees the owner does not see it."""


class Steward:
    """Looks at every site in turn and does what must be done."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        me: NodeId,
        membership: Membership,
        ledger: Ledger,
        elections: Elections,
        peers: Peers,
        holdings: Holdings,
        terms: Terms,
        tasks: SiteTasks,
        event: Callable[[str, SiteId, str], None],
        is_strict: Callable[[SiteId], bool],
        jitter: Callable[[], float],
        note: Callable[[SiteId, str, str], None],
    ) -> None:
        """
        Args:
            event: `event(kind, site, text)` records a transition for people.
            is_strict: Sites that are left to `hybrid.strict`.
            jitter: Between 0 and 1, at random.
            note: `note(site, came, why)`: a site is about to come here, see `hybrid.load.Placed`.
        """
        self._note = note
        self._reactor, self._me = reactor, me
        self._membership, self._ledger, self._elections = membership, ledger, elections
        self._peers, self._holdings, self._terms, self._tasks = peers, holdings, terms, tasks
        self._event, self._is_strict = event, is_strict
        self._turns = Turns(jitter)
        self._standing: set[SiteId] = set()
        self._settled_s: dict[SiteId, float] = {}
        """Sites at rest, and since when."""
        self._rest_s = NEVER_S
        """All of them are, none for longer than since then."""

    def changed(self, sites: Iterable[SiteId] | None = None) -> None:
        """Something that decisions about `sites` depend on is not as it was; `None`: about all sites."""
        self._rest_s = NEVER_S
        if sites is None:
            self._settled_s.clear()
            return
        for site in sites:
            self._settled_s.pop(site, None)

    def look(self) -> None:
        """Decide about every site in which this node has a part and that is not at rest, and begin the deeds."""
        now_s = self._reactor.seconds()
        if now_s - self._rest_s < LOOK_AGAIN_S:
            return
        self._rest_s = now_s
        wanted: dict[SiteId, Claim] = {}
        around: _Around | None = None
        for site in self._holdings:
            settled_s = self._settled_s.get(site, NEVER_S)
            if now_s - settled_s < LOOK_AGAIN_S:
                self._rest_s = min(self._rest_s, settled_s)
                continue
            around = around or self._around()
            try:
                decision = self._look_at(site, now_s, around)
            except Exception:
                self.log.failure("looking at {site} failed", site=site)
                self._rest_s = NEVER_S
                continue
            if site not in self._settled_s:
                self._rest_s = NEVER_S
            if isinstance(decision, Stand):
                wanted[site] = decision.claim
        for site in self._turns.next(wanted, len(self._standing), now_s, self._holdings.busy):
            self._tasks.start(site, "take over", partial(self._stand, site, wanted[site]))

    def _look_at(self, site: SiteId, now_s: float, around: _Around) -> Decision | None:
        if self._tasks.busy(site) or self._is_strict(site):
            self._settled_s.pop(site, None)
            return None
        decision = self._decide(site, around)
        if isinstance(decision, Stay) and decision.settled:
            self._settled_s[site] = now_s
        else:
            self._settled_s.pop(site, None)
        self._do(site, decision)
        return decision

    def _around(self) -> _Around:
        """What decisions about all sites are made with."""
        now_s, nodes = self._reactor.seconds(), self._ledger.nodes()
        me = nodes.get(self._me)
        known = {node: "" for node in self._membership.known}
        return {
            "live": self._membership.live(now_s),
            "now_s": now_s,
            "fit": self._membership.fit(now_s),
            "free_space_ok": me is None or (me.storage_ok and level(me.size_bytes, me.free_bytes) < Level.FULL),
            "dcs": {**known, **{node: register.dc for node, register in nodes.items()}},
            "loads": burdens(nodes),
            "sick": self._sick(),
        }

    def _sick(self) -> frozenset[NodeId]:
        return frozenset(node for node, register in self._ledger.nodes().items() if not register.storage_ok)

    def _decide(self, site: SiteId, around: _Around) -> Decision:
        return self._elections.decide(
            site,
            self._ledger.registers(site),
            spec=self._holdings.need(site).spec,
            pick=picks.decode(self._ledger.shared_value(picks.KEY + site)),
            **around,
        )

    def _do(self, site: SiteId, decision: Decision) -> None:
        match decision:
            case Stay() | Stand():
                return  # whose turn it is to be taken over is decided among all sites
            case Fence(winner, claim):
                self._tasks.start(site, "fence", lambda: self._fence(site, winner, claim))
            case PublishBid(key, bid):
                self._tasks.start(site, "bid", lambda: self._holdings.bid(site, key, bid))
            case Reaffirm(claim):
                self._tasks.start(site, "re-affirm", lambda: self._reaffirm(site, claim))
            case AwaitPick(claims):
                holding = self._holdings.need(site)
                if not holding.paused or holding.awaiting != claims:
                    self._tasks.start(site, "wait for a pick", lambda: self._await_pick(site, claims))
            case Resume():
                self._tasks.start(site, "go on as picked", lambda: self._resume(site))
            case _:
                assert_never(decision)

    # --------------------------------------------------------------------------------------------------- deeds

    async def _stand(self, site: SiteId, claim: Claim) -> None:
        self._standing.add(site)
        try:
            await self._take_over(site, claim)
        finally:
            self._standing.discard(site)

    async def _take_over(self, site: SiteId, claim: Claim) -> None:
        if await self.owner_seen(site, claim):
            self._event("election-called-off", site, "another node still sees the owner")
            self._elections.called_off(site, self._reactor.seconds())
            return
        if self._decide(site, self._around()) != Stand(claim):
            self._event("election-called-off", site, "what is known changed while others were asked")
            return
        self._event("elected", site, f"this node takes over under {claim}")
        self._note(site, "election", self._reason(site))
        try:
            await self._terms.open(site, claim)
        except HybridError as error:
            self._elections.failed(site, self._reactor.seconds())
            self._holdings.update(site, trouble=str(error))
            self._event("takeover-failed", site, str(error))
            raise
        self._event("opened", site, f"serving under {claim}")

    def _reason(self, site: SiteId) -> str:
        """Whom this node takes over from."""
        last = largest_claim(self._ledger.registers(site).values()).node
        known = self._ledger.nodes().get(last)
        name = "this node" if last == self._me else known.name if known is not None else last
        return f"no living node owned it; the last owner was {name}, and of the copies left this one was the best"

    async def owner_seen(self, site: SiteId, claim: Claim) -> bool:
        """Rule R2: ask the last owner and the other holders; one "yes" calls the election off."""
        live = self._membership.live(self._reactor.seconds())
        nodes = confirmation(self._ledger.registers(site), live, self._me)
        asked = [Deferred.fromCoroutine(self._ask(node, site)) for node in nodes]
        return refuted(await gatherResults(asked), claim)

    async def _ask(self, node: NodeId, site: SiteId) -> Claim | None:
        try:
            answer = await self._peers.request(node, SeesOwner(site), deadline_s=CONFIRM_S)
        except PeerError:
            return None
        return answer.claim if isinstance(answer, OwnerSeen) else None

    async def _fence(self, site: SiteId, winner: NodeId, claim: Claim) -> None:
        self._event("fenced", site, f"{winner} owns it under {claim}")
        await self._holdings.saw(site, claim)
        try:
            await self._terms.fence(site)
        except HybridError as error:
            self._event("fence-stuck", site, str(error))
            raise

    async def _reaffirm(self, site: SiteId, claim: Claim) -> None:
        await self._holdings.claim(site, claim)
        self._event("re-affirmed", site, f"now under {claim}")

    async def _await_pick(self, site: SiteId, claims: tuple[Claim, ...]) -> None:
        await self._holdings.await_pick(site, claims)
        await self._terms.pause(site)
        nodes = ", ".join(sorted({claim.node for claim in claims} - {self._me}))
        self._event("pick-wanted", site, f"two histories, here and on {nodes}: hybrid site pick")

    async def _resume(self, site: SiteId) -> None:
        self._event("picked", site, "a person picked the history of this node")
        self._holdings.update(site, paused=False)  # one that does not start is open half-way: it is none that waits
        try:
            await self._terms.restart(site)
        except HybridError:
            await self._terms.pause(site)  # a person may pick another one
            raise
        await self._holdings.picked(site)

    # ------------------------------------------------------------------------------------------------- answers

    async def sees_owner(self, sender: NodeId, request: SeesOwner) -> OwnerSeen:
        """Answer another candidate: the live owner's claim as seen from here, or that of this node, soon."""
        now_s, registers = self._reactor.seconds(), self._ledger.registers(request.site)
        seen = owner_seen(registers, self._membership.live(now_s), sender, self._sick())
        return OwnerSeen(seen or self._turns.spoken_for(request.site, self._me, sender, registers, now_s))
