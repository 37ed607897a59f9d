"""
Who owns a site, decided by each node for itself from registers and liveness: rules R0, R1, R2, R5, R9, R10. Pure.

`Elections` remembers since when a site has looked as it does, nothing else. Deciding again with the same facts gives
the same decision until the deed shows in this node's own register, so a caller never needs to remember one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hybrid.cluster.candidates import (
    CLAIMING,
    HOLDING,
    Registers,
    ailing,
    candidates,
    largest_claim,
    live_claims,
)
from hybrid.cluster.conflict import hands_over, missing_bids, rivals, winner
from hybrid.model import Bid, Claim, NodeId, SiteId, SiteRegister, SiteSpec
from hybrid.settings import Timing

LEAVING_S = 120.0
"""A hand-over ends by itself, well or not; one that still goes on after so long has hung, and others may stand."""
LONGEST_REST_S = 300.0
"""A node that failed to open a site again and again tries at least this often."""


@dataclass(frozen=True, slots=True)
class Stay:
    """Nothing to do now; `why` is for people."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class Stand:
    """Ask `confirmation` nodes, then open the site under `claim`."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Reaffirm:
    """Own on, under the larger `claim`: a ghost of a larger one makes receivers refuse the old one for ever."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class PublishBid:
    """Publish `bid` for the conflict `key`; it may never change afterwards."""

    key: str
    bid: Bid


@dataclass(frozen=True, slots=True)
class Fence:
    """Stop serving, keep what is not in a snapshot, give the claim up: `winner` owns the site under `claim`."""

    winner: NodeId
    claim: Claim


@dataclass(frozen=True, slots=True)
class AwaitPick:
    """Policy `ask`: stop writing and tell people that `rivals` and this node have different histories."""

    rivals: tuple[NodeId, ...]


Decision = Stay | Stand | Reaffirm | PublishBid | Fence | AwaitPick


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One look at one site."""

    site: SiteId
    registers: Registers
    live: frozenset[NodeId]
    spec: SiteSpec | None
    now_s: float
    fit: bool
    free_space_ok: bool
    dcs: Mapping[NodeId, str]
    loads: Mapping[NodeId, float]
    picked: NodeId | None


class Elections:
    """The elections of one node, for all sites."""

    def __init__(self, me: NodeId, timing: Timing, started_s: float) -> None:
        """`started_s`: when this process started, by the clock of `now_s`. It listens from its first look on."""
        self._me, self._timing = me, timing
        self._started_s = started_s
        self._listening_s: float | None = None
        self._since: dict[SiteId, tuple[str, float, float]] = {}
        """Reason to wait, since when, and when that was last looked at."""
        self._failures: dict[SiteId, tuple[int, float]] = {}

    def decide(
        self,
        site: SiteId,
        registers: Registers,
        live: frozenset[NodeId],
        spec: SiteSpec | None,
        now_s: float,
        fit: bool,
        free_space_ok: bool,
        dcs: Mapping[NodeId, str],
        loads: Mapping[NodeId, float] | None = None,
        picked: NodeId | None = None,
    ) -> Decision:
        """
        What this node must do about `site` now. To be asked at each heartbeat, and when something changed.

        Args:
            site: Any site.
            registers: What each node says about it.
            live: From `Membership.live`.
            spec: The newest spec, for policy and home data centre.
            now_s: Monotonic seconds.
            fit: From `Membership.fit`.
            free_space_ok: Whether there is room here to own it.
            dcs: Data centre of *every* node known, also of those not heard yet (`""`): being the only one in it, this
                node knows that there is nobody to wait for.
            loads: Load of nodes, where known.
            picked: With policy `ask`, whose history a person picked.
        """
        look = _Look(
            site=site,
            registers=registers,
            live=live,
            spec=spec,
            now_s=now_s,
            fit=fit,
            free_space_ok=free_space_ok,
            dcs=dcs,
            loads=loads or {},
            picked=picked,
        )
        if self._listening_s is None:
            self._listening_s = max(now_s, self._started_s)
        mine = registers.get(self._me)
        if mine is None or mine.role in ("none", "stashing"):
            self._since.pop(site, None)
            return Stay("nothing to own it with")
        if mine.claim is not None and mine.role in CLAIMING:
            return self._as_owner(look, mine, mine.claim)
        return self._as_replica(look)

    def failed(self, site: SiteId, now_s: float) -> None:
        """
        A stand could not be carried out: rest, twice as long each time, and let the next candidate have its turn.

        The caller publishes `trouble`, by which all others see that this node comes last now.
        """
        count = self._failures.get(site, (0, 0.0))[0] + 1
        rest_s = min(LONGEST_REST_S, self._timing.settle_s * 2**count)
        self._failures[site] = (count, now_s + rest_s)

    def called_off(self, site: SiteId, now_s: float) -> None:
        """Somebody still sees an owner (`refuted`): begin to wait anew. No failure."""
        self._since.pop(site, None)

    # ------------------------------------------------------------------------------------------------ as owner

    def _as_owner(self, look: _Look, mine: SiteRegister, claim: Claim) -> Decision:
        if mine.role == "owner":
            self._failures.pop(look.site, None)
        successor = mine.successor
        theirs = look.registers[successor].claim if successor in look.registers and successor in look.live else None
        if successor is not None and theirs is not None and hands_over(mine, claim, successor, theirs):
            return Fence(successor, theirs)
        against = rivals(look.registers, look.live, self._me)
        if against:
            self._since.pop(look.site, None)
            return self._contest(look, mine, against)
        if mine.role == "leaving":
            return self._stand_when_due(look, "leaving", LEAVING_S)
        return self._reaffirm(look, mine, claim)

    def _contest(self, look: _Look, mine: SiteRegister, against: dict[NodeId, Claim]) -> Decision:
        """Rule R5. The winner changes nothing until the losers have fenced: the conflict keeps its name and bids."""
        if look.spec is not None and look.spec.policy == "ask" and look.picked is None:
            return AwaitPick(tuple(sorted(against)))
        beaten_by = winner(look.registers, self._me, against)
        if beaten_by is not None:
            return Fence(beaten_by, against[beaten_by])
        missing = missing_bids(mine, against.values(), look.spec, look.picked)
        for key, bid in missing.items():
            return PublishBid(key, bid)
        return Stay("waiting for the bids of others, or for them to give way")

    def _reaffirm(self, look: _Look, mine: SiteRegister, claim: Claim) -> Decision:
        """Rule R9."""
        seen = largest_claim(look.registers.values())
        if seen <= claim or mine.role != "owner":
            self._since.pop(look.site, None)
            return Stay("owner")
        if self._quarantined(look):
            return Stay("a larger claim is known, and somebody may hold it")
        since_s = self._since_s(look, "outdone")
        if not _given_up(look.registers, look.live, seen) and look.now_s - since_s < self._timing.settle_s:
            return Stay("a larger claim is known, and somebody may hold it")
        return Reaffirm(Claim(seen.epoch + 1, self._me))

    # ---------------------------------------------------------------------------------------------- as replica

    def _as_replica(self, look: _Look) -> Decision:
        """Rule R2: stand for a site without an owner, with one that hangs in a hand-over, or that is of no use."""
        claims = live_claims(look.registers, look.live)
        if not claims:
            return self._stand_when_due(look, "vacant", self._timing.settle_s)
        owners = [look.registers[node] for node in claims]
        if len(owners) > 1:
            self._since.pop(look.site, None)
            return Stay("its owners are about to settle who it is")
        if ailing(owners[0]):
            return self._relieve(look)
        if owners[0].role == "leaving":
            return self._stand_when_due(look, "leaving", LEAVING_S)
        self._since.pop(look.site, None)
        return Stay("it has an owner")

    def _relieve(self, look: _Look) -> Decision:
        """Take over from an owner in trouble, but only where nothing is known to be wrong: the site may be at fault."""
        waits_for_pick = look.spec is not None and look.spec.policy == "ask"
        if look.registers[self._me].trouble or waits_for_pick:
            self._since.pop(look.site, None)
            return Stay("its owner is in trouble, and so is this node, or a person is asked")
        return self._stand_when_due(look, "ailing", self._timing.fence_s)

    def _stand_when_due(self, look: _Look, reason: str, patience_s: float) -> Decision:
        """
        Stand after `patience_s` as the best candidate; as the next one `fail_s` later, and so on.

        So a best one that for whatever reason does not stand delays, but never prevents. The same for one that is
        not fit: were all nodes overloaded, nobody would ever stand.
        """
        if self._quarantined(look):
            self._since.pop(look.site, None)
            return Stay("not sure yet who is there")
        waited_s = look.now_s - self._since_s(look, reason)
        if look.now_s < self._failures.get(look.site, (0, 0.0))[1]:
            return Stay("could not open it a moment ago")
        home_dc = look.spec.home_dc if look.spec else ""
        order = candidates(look.registers, look.live, home_dc, look.dcs, look.loads)
        if self._me not in order:
            return Stay("no copy to own it with")
        place = (order.index(self._me) if look.free_space_ok else len(order)) + (not look.fit)
        if waited_s < patience_s + place * self._timing.fail_s:
            return Stay("its owner may still speak up" if place == 0 else "others come first")
        return Stand(Claim(largest_claim(look.registers.values()).epoch + 1, self._me))

    # --------------------------------------------------------------------------------------------------- waits

    def _quarantined(self, look: _Look) -> bool:
        """Rule R0: a node that just started has not heard everybody yet, unless there is nobody else."""
        if {*look.dcs, *look.registers, *look.live} <= {self._me}:
            return False
        return self._listening_s is None or look.now_s < self._listening_s + self._timing.boot_s

    def _since_s(self, look: _Look, reason: str) -> float:
        """Since when the site has looked so. Time in which nobody looked (the process was stopped) does not count."""
        known = self._since.get(look.site)
        if known is None or known[0] != reason or look.now_s - known[2] > self._timing.fail_s / 2:
            known = (reason, look.now_s, look.now_s)
        self._since[look.site] = (reason, known[1], look.now_s)
        return known[1]


def _given_up(registers: Registers, live: Iterable[NodeId], claim: Claim) -> bool:
    """Whether the living holder of `claim` itself says that it does not hold it any more."""
    register = registers.get(claim.node)
    return claim.node in live and register is not None and register.seen >= claim and register.role not in CLAIMING


def confirmation(registers: Registers, live: frozenset[NodeId], me: NodeId) -> list[NodeId]:
    """
    Whom to ask before a stand whether they see an owner (rule R2).

    Returns:
        The last owner first, though it seems dead; then the living holders, by id.
    """
    last = largest_claim(registers.values()).node
    holders = sorted(node for node, register in registers.items() if node in live and register.role in HOLDING)
    asked = [last, *(node for node in holders if node != last)] if last in registers else holders
    return [node for node in asked if node != me]


def refuted(answers: Iterable[Claim | None], claim: Claim) -> bool:
    """Whether one of the answers to `SeesOwner` forbids to stand with `claim`: somebody sees an owner."""
    return any(answer is not None and answer != claim for answer in answers)


def owner_seen(registers: Registers, live: frozenset[NodeId], asker: NodeId) -> Claim | None:
    """
    The answer to `SeesOwner`: the claim of a living owner other than the asker, where there is one that is of use.

    Neither an owner in trouble nor one that is leaving forbids a stand.
    """
    claims = live_claims(registers, live)
    good = [
        claim
        for node, claim in claims.items()
        if node != asker and not ailing(registers[node]) and registers[node].role != "leaving"
    ]
    return max(good, default=None)
