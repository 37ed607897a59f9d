"""
Who owns a strict site, decided by each node for itself from what etcd says and how sure it is of that. Pure.

Strict sites take no part in the elections of `hybrid.cluster.election`: two claims of one cannot be in force, so there
is nothing to settle. What is the same: history first among the candidates, the best stands first, later ones `fail_s`
after each other, one that failed rests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hybrid.cluster.candidates import CLAIMING, Registers, ailing, candidates, largest_claim, live_claims
from hybrid.model import Claim, NodeId, SiteId, SiteRegister
from hybrid.settings import Timing
from hybrid.strict.tenure import Spans

FRESH_S = 5.0
"""What etcd said longer ago is no reason to do anything."""
LONGEST_REST_S = 300.0


@dataclass(frozen=True, slots=True)
class Stay:
    """Nothing to do; `why` is for people."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class Blocked:
    """The site has no owner, and this node may not stand because etcd does not answer it: to be told to people."""


@dataclass(frozen=True, slots=True)
class Take:
    """Claim the site in etcd, then open it."""


@dataclass(frozen=True, slots=True)
class Reclaim:
    """Own on, under a new claim: the key in etcd is gone, or a larger claim is known somewhere."""


@dataclass(frozen=True, slots=True)
class Resign:
    """Stop: for too long neither etcd nor all other holders said that this node is the owner; another may be by now."""


@dataclass(frozen=True, slots=True)
class Yield:
    """Stop: etcd names another owner."""

    owner: NodeId
    claim: Claim


@dataclass(frozen=True, slots=True)
class Release:
    """Give the key in etcd back, so that a node that can run the site may take it."""


Decision = Stay | Blocked | Take | Reclaim | Resign | Yield | Release


@dataclass(frozen=True, slots=True)
class Named:
    """Whom etcd named as the owner of a site, when it was last read."""

    node: NodeId | None
    revision: int
    read_s: float
    """When the reading was asked for."""
    vacant_since_s: float | None = None
    """Since when every reading found nobody; counted from the first one's answer."""
    counted: frozenset[NodeId] | None = None
    """The holders that the last owner counted on; `None`: none wrote any down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at one site. `registers`, `live`, `fit`, `free_space_ok`, `dcs`, `loads` as for `Elections.decide`."""

    site: SiteId
    registers: Registers
    live: frozenset[NodeId]
    now_s: float
    fit: bool = True
    free_space_ok: bool = True
    home_dc: str = ""
    dcs: Mapping[NodeId, str] = field(default_factory=dict)
    loads: Mapping[NodeId, float] = field(default_factory=dict)
    sure: bool = False
    """From `Tenures.sure`."""
    in_etcd: bool = False
    """From `Tenures.in_etcd`."""
    may_stand: bool = True
    """From `Promises.kept`."""


class StrictElections:
    """What this node remembers to decide by."""

    def __init__(self, me: NodeId, spans: Spans, timing: Timing, started_s: float) -> None:
        """`started_s`: when this process started; what an earlier one promised, it does not know."""
        self._me, self._spans, self._timing, self._started_s = me, spans, timing, started_s
        self._named: dict[SiteId, Named] = {}
        self._ailing_since_s: dict[SiteId, float] = {}
        self._failures: dict[SiteId, tuple[int, float]] = {}

    # ----------------------------------------------------------------------------------------------------- facts

    def read(
        self,
        site: SiteId,
        node: NodeId | None,
        revision: int,
        counted: frozenset[NodeId] | None,
        asked_s: float,
        now_s: float,
    ) -> bool:
        """
        etcd, asked at `asked_s`, answered at `now_s` that `node` owns `site` since `revision`.

        Returns:
            Whether that is news: something that was asked later may be known already (this node claimed it meanwhile).
        """
        before = self._named.get(site)
        if before is not None and asked_s < before.read_s:
            return False
        since_s = None
        if node is None:
            going_on = before is not None and asked_s - before.read_s < self._spans.fence_s
            since_s = before.vacant_since_s if before is not None and going_on else None
            since_s = now_s if since_s is None else since_s
        self._named[site] = Named(node, revision, asked_s, since_s, counted)
        return True

    def named(self, site: SiteId, now_s: float) -> Named | None:
        """What etcd said of `site`, if that was just now."""
        named = self._named.get(site)
        return named if named is not None and now_s - named.read_s < FRESH_S else None

    def failed(self, site: SiteId, now_s: float) -> None:
        """A stand could not be carried out: rest, twice as long each time."""
        count = self._failures.get(site, (0, 0.0))[0] + 1
        self._failures[site] = (count, now_s + min(LONGEST_REST_S, self._timing.settle_s * 2**count))

    def forget(self, site: SiteId) -> None:
        """The site is not here any more, or not strict."""
        for known in (self._named, self._ailing_since_s, self._failures):
            known.pop(site, None)

    def wants_reading(self, look: Look) -> bool:
        """Whether what etcd says of the site matters now: it has no owner of use among the living."""
        mine = look.registers.get(self._me)
        return mine is not None and (mine.role in CLAIMING or not self._owned(look))

    # ------------------------------------------------------------------------------------------------- decisions

    def decide(self, look: Look) -> Decision:
        """What this node must do about the site now. To be asked at each tick, and when something changed."""
        mine = look.registers.get(self._me)
        if mine is None or mine.role in ("none", "stashing"):
            return Stay("nothing to own it with")
        if mine.claim is not None and mine.role in CLAIMING:
            return self._as_owner(look, mine, mine.claim)
        return self._as_replica(look)

    def _as_owner(self, look: Look, mine: SiteRegister, claim: Claim) -> Decision:
        named = self.named(look.site, look.now_s)
        if named is not None and named.node is not None and named.node != self._me:
            return Yield(named.node, Claim(named.revision, named.node))
        if not look.sure:
            return Resign()
        if self._hopeless(look, mine):
            return Release()
        if mine.role == "owner":
            self._failures.pop(look.site, None)
            outdone = largest_claim(look.registers.values()) > claim
            other = named is not None and named.revision != claim.epoch
            if named is not None and (outdone or other or not look.in_etcd):
                return Reclaim()
        return Stay("owner")

    def _hopeless(self, look: Look, mine: SiteRegister) -> bool:
        """Whether it does not run here for a while now, and another node could do better."""
        better = [
            node for node in self._order(look) if node != self._me and not look.registers[node].trouble and look.in_etcd
        ]
        if not ailing(mine) or not better:
            self._ailing_since_s.pop(look.site, None)
            return False
        return look.now_s - self._ailing_since_s.setdefault(look.site, look.now_s) >= self._timing.fence_s

    def _as_replica(self, look: Look) -> Decision:
        self._ailing_since_s.pop(look.site, None)
        if self._owned(look):
            return Stay("it has an owner")
        named = self.named(look.site, look.now_s)
        if named is None:
            return Blocked()
        if look.now_s < self._failures.get(look.site, (0, 0.0))[1]:
            return Stay("could not open it a moment ago")
        if named.node not in (None, self._me):
            return Stay(f"the lease of {named.node} has not run out")
        alone = {*look.dcs, *look.registers, *look.live} <= {self._me}
        quarantine_s = 0.0 if alone else max(self._timing.boot_s, self._spans.promise_s)
        if look.now_s < self._started_s + quarantine_s:
            return Stay("not sure yet what was promised before this process started")
        if not look.may_stand:
            return Stay("this node agreed that its owner goes on without etcd")
        if named.node == self._me:  # it stopped itself; nobody else can have been owner
            return Take()
        return self._as_candidate(look, named)

    def _as_candidate(self, look: Look, named: Named) -> Decision:
        """Nobody owns it. Stand after the lock delay as the best candidate, as the next one `fail_s` later …"""
        if named.counted is not None and self._me not in named.counted:
            return Stay("its last owner did not count on this copy")
        order = self._order(look)
        if self._me not in order:
            return Stay("no copy to own it with")
        place = (order.index(self._me) if look.free_space_ok else len(order)) + (not look.fit)
        waited_s = look.now_s - (named.vacant_since_s if named.vacant_since_s is not None else look.now_s)
        delay_s = self._spans.amnesia_s if named.counted is None else self._spans.lock_delay_s
        if waited_s < delay_s + place * self._timing.fail_s:
            return Stay("its last owner may not have stopped yet" if place == 0 else "others come first")
        return Take()

    def _owned(self, look: Look) -> bool:
        """Whether another living node owns it, and is of use."""
        claims = live_claims(look.registers, look.live)
        return any(node != self._me and not ailing(look.registers[node]) for node in claims)

    def _order(self, look: Look) -> list[NodeId]:
        return candidates(look.registers, look.live, look.home_dc, look.dcs, look.loads)
