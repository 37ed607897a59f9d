"""An owner meets others: conflicts (rule R5), ghosts of larger claims (R9), its own successor (R10). Pure."""

from __future__ import annotations

import msgspec

from hybrid.cluster.candidates import CLAIMING, ailing, largest_claim
from hybrid.cluster.conflict import hands_over, missing_bids, rivals, winner
from hybrid.cluster.decisions import AwaitPick, Decision, Fence, Look, PublishBid, Reaffirm, Resume, Stay
from hybrid.cluster.patience import Patience
from hybrid.cluster.standing import LEAVING_S, stand_when_due
from hybrid.model import Claim, NodeId, SiteRegister, SiteSpec
from hybrid.settings import Timing


def as_owner(look: Look, patience: Patience, timing: Timing, mine: SiteRegister, claim: Claim) -> Decision:
    """What the holder of `claim`, who says `mine`, has to do."""
    given = _given_away(look, mine, claim)
    if given is not None:
        return given
    rivals_seen = rivals(look.registers, look.live, look.me)
    against = {node: claim for node, claim in rivals_seen.items() if not _lost(look, node)}
    look = msgspec.structs.replace(look, spec=_agreed(look, against))
    if mine.awaiting or (against and look.asks):
        patience.over(look.site)
        asked = _picked(look, patience, mine, claim, against)
        if asked is not None:
            return asked
    if against:
        patience.over(look.site)
        return _contest(look, mine, against)
    if mine.role == "leaving":
        return stand_when_due(look, patience, timing, "leaving", LEAVING_S)
    return _reaffirm(look, patience, timing, mine, claim)


def _lost(look: Look, node: NodeId) -> bool:
    """
    Whether the storage of a claimant is gone: it counts as dead until that is back.

    It can neither serve, nor bid, nor give its claim up; who waits for it would never re-affirm a claim of its own.
    """
    return node in look.sick and ailing(look.registers[node], storage_lost=True)


def _agreed(look: Look, against: dict[NodeId, Claim]) -> SiteSpec | None:
    """
    The spec that settles a conflict: the newest of all owners, who may have changed the policy while they were parted.

    Where any of them asks for a person, a person is asked.
    """
    specs = [look.spec, *(look.registers[node].spec for node in against)]
    known = [spec for spec in specs if spec is not None]
    newest = max(known, key=lambda spec: spec.version, default=None)
    if newest is not None and any(spec.policy == "ask" for spec in known):
        return msgspec.structs.replace(newest, policy="ask")
    return newest


def _given_away(look: Look, mine: SiteRegister, claim: Claim) -> Fence | None:
    """Rule R10: the successor of a planned move has claimed."""
    successor = mine.successor
    if successor is None or successor not in look.live or successor not in look.registers:
        return None
    theirs = look.registers[successor].claim
    if theirs is None or not hands_over(mine, claim, successor, theirs):
        return None
    return Fence(successor, theirs)


def _picked(
    look: Look, patience: Patience, mine: SiteRegister, claim: Claim, against: dict[NodeId, Claim]
) -> Decision | None:
    """
    Policy `ask`: whether a person has to pick first; `None` when that is settled and bids may be compared.

    Who waits goes on waiting when the other is out of sight again, for ever if need be: that is what was asked for.
    """
    claims = tuple(sorted({claim, *against.values(), *mine.awaiting}))
    if look.pick is None or not look.pick.decides(claims):
        return AwaitPick(claims)
    if mine.awaiting and look.pick.picks(claim):
        return Stay("picked, and listening before it goes on") if patience.quarantined(look) else Resume()
    if against:
        return None
    node = look.pick.claim.node
    if node in look.live and node in look.registers and look.registers[node].role not in CLAIMING:
        return Fence(node, look.pick.claim)  # it fell before it could go on: the pick makes it the next owner
    return Stay("another history was picked; its owner is out of sight")


def _contest(look: Look, mine: SiteRegister, against: dict[NodeId, Claim]) -> Decision:
    """
    Rule R5. The winner changes nothing until the losers have fenced: the conflict keeps its name and bids.

    One that cannot serve anyway, and has not bid yet, gives way to one that can without more ado: its disk may not
    even take the bid.
    """
    beaten_by = winner(look.registers, look.me, against)
    if beaten_by is not None:
        return Fence(beaten_by, against[beaten_by])
    missing = missing_bids(mine, against.values(), look.spec, look.pick, look.dcs.get(look.me, ""))
    if len(missing) == len(against) and ailing(mine) and not look.asks:
        well = [node for node in against if not ailing(look.registers[node])]
        if well:
            best = max(well, key=lambda node: against[node])
            return Fence(best, against[best])
    for key, bid in missing.items():
        return PublishBid(key, bid)
    return Stay("waiting for the bids of others, or for them to give way")


def _reaffirm(look: Look, patience: Patience, timing: Timing, mine: SiteRegister, claim: Claim) -> Decision:
    """Rule R9."""
    seen = largest_claim(look.registers.values())
    if seen <= claim or mine.role != "owner":
        patience.over(look.site)
        return Stay("owner", settled=seen <= claim)
    if patience.quarantined(look):
        return Stay("a larger claim is known, and somebody may hold it")
    waited_s = patience.waited_s(look, "outdone")
    if not _given_up(look, seen) and waited_s < timing.settle_s:
        return Stay("a larger claim is known, and somebody may hold it")
    return Reaffirm(Claim(seen.epoch + 1, look.me))


def _given_up(look: Look, claim: Claim) -> bool:
    """Whether the living holder of `claim` itself says that it does not hold it any more."""
    register = look.registers.get(claim.node)
    return claim.node in look.live and register is not None and register.seen >= claim and register.role not in CLAIMING
