"""
Rule R2: who stands for a site without an owner of use, and when. Pure.

All nodes rank the same registers alike, so one is the best; the others wait longer the lower they rank.
"""

from __future__ import annotations

from hybrid.cluster.candidates import ailing, candidates, largest_claim, live_claims
from hybrid.cluster.decisions import Decision, Look, Stand, Stay
from hybrid.cluster.patience import Patience
from hybrid.model import Claim, NodeId
from hybrid.settings import Timing

LEAVING_S = 120.0
"""A hand-over ends by itself, well or not; one that still goes on after so long has hung, and others may stand."""


def as_replica(look: Look, patience: Patience, timing: Timing) -> Decision:
    """Stand for a site without an owner, with one that hangs in a hand-over, or that is of no use."""
    claims = live_claims(look.registers, look.live)
    if not claims:
        return stand_when_due(look, patience, timing, "vacant", timing.settle_s)
    if len(claims) > 1:
        patience.over(look.site)
        return Stay("its owners are about to settle who it is")
    (owner,) = claims
    if ailing(look.registers[owner], owner in look.sick):
        return _relieve(look, patience, timing, owner)
    if look.registers[owner].role == "leaving":
        return stand_when_due(look, patience, timing, "leaving", LEAVING_S)
    patience.over(look.site)
    return Stay("it has an owner", settled=True)


def _relieve(look: Look, patience: Patience, timing: Timing, owner: NodeId) -> Decision:
    """
    Take over from an owner in trouble, but only where nothing is known to be wrong: the site may be at fault.

    Lost storage is certain and no fault of the site, so what went wrong here some time ago does not count against a
    try; anything else may still pass.
    """
    if owner in look.sick:
        return stand_when_due(look, patience, timing, "storage lost", timing.settle_s)
    if look.registers[look.me].trouble:
        patience.over(look.site)
        return Stay("its owner is in trouble, and so is this node")
    return stand_when_due(look, patience, timing, "ailing", timing.fence_s)


def stand_when_due(look: Look, patience: Patience, timing: Timing, reason: str, patience_s: float) -> Decision:
    """
    Stand after `patience_s` as the best candidate; as the next one `fail_s` later, and so on.

    So a best one that for whatever reason does not stand delays, but never prevents. The same for one that is not
    fit: were all nodes overloaded, nobody would ever stand.
    """
    if patience.quarantined(look):
        patience.over(look.site)
        return Stay("not sure yet who is there")
    waited_s = patience.waited_s(look, reason)
    if patience.rests(look.site, look.now_s):
        return Stay("could not open it a moment ago")
    home_dc = look.spec.home_dc if look.spec else ""
    order = _picked_first(look, candidates(look.registers, look.live, home_dc, look.dcs, look.loads))
    if look.me not in order:
        return Stay("no copy to own it with")
    place = (order.index(look.me) if look.free_space_ok else len(order)) + (not look.fit)
    if waited_s < patience_s + place * timing.fail_s:
        return Stay("its owner may still speak up" if place == 0 else "others come first")
    return Stand(Claim(largest_claim(look.registers.values()).epoch + 1, look.me))


def _picked_first(look: Look, order: list[NodeId]) -> list[NodeId]:
    """As long as nobody claimed since a person picked, the picked one is the best candidate, if it can at all."""
    pick = look.pick
    if pick is None or pick.claim.node not in order or look.registers[pick.claim.node].trouble:
        return order
    if largest_claim(look.registers.values()) not in (pick.claim, *pick.over):
        return order
    return sorted(order, key=lambda node: node != pick.claim.node)
