"""
Two owners of one site see each other: whose history becomes the main line (rule R5). Pure.

Each publishes once, for the pair of claims, what it offers; both then compare the same two bids. A bid does not
depend on the pair, so among three or more owners there is always exactly one whom nobody beats.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from hybrid.cluster.candidates import Registers, ailing, live_claims
from hybrid.cluster.picks import Pick
from hybrid.model import PREFER, Bid, Claim, NodeId, SiteRegister, SiteSpec

BUCKET_S = 60
"""Wall clocks of nodes differ: a minute more or less of "last changed" decides nothing."""

PICKED, NOT_PICKED = 9, -1
"""Above and below every other first figure of a bid's value."""


def conflict_key(one: Claim, other: Claim) -> str:
    """The name of a conflict: `<lower claim>/<higher claim>`."""
    return f"{min(one, other)}/{max(one, other)}"


def rivals(registers: Registers, live: Collection[NodeId], me: NodeId) -> dict[NodeId, Claim]:
    """
    Living nodes that claim what `me` claims, where that is a conflict.

    A hand-over is none: of a leaving owner and its successor with a larger claim, the successor has it.
    """
    claims = live_claims(registers, live)
    mine = claims.pop(me, None)
    if mine is None:
        return {}
    return {
        node: claim
        for node, claim in claims.items()
        if not hands_over(registers[me], mine, node, claim) and not hands_over(registers[node], claim, me, mine)
    }


def hands_over(register: SiteRegister, claim: Claim, successor: NodeId, next_claim: Claim) -> bool:
    """Whether the leaving owner behind `register` gave its site to `successor`, who has claimed it by now."""
    return register.role == "leaving" and register.successor == successor and next_claim > claim


def value(
    register: SiteRegister, claim: Claim, spec: SiteSpec | None, pick: Pick | None = None, dc: str = ""
) -> tuple[int, ...]:
    """
    What a writer's history is worth, most important first.

    The first figure tells apart what nothing outweighs: `PICKED` by a person, of use or not. By policy come then, with
    `value`: number of the newest snapshot (numbers go on along a line, so between two lines with a common base the
    difference is how often each changed since), its epoch, about when it was taken. With `epoch`: the newest election.
    With `prefer:<dc>`: whether the writer is in that data centre, then as `value`. With `ask`: nothing but the pick.
    So bids can be compared also where a policy was changed on one side of the partition.

    Args:
        register: What the writer says.
        claim: Its claim.
        spec: Of the site, for the policy.
        pick: With `ask`, what a person picked.
        dc: The writer's data centre.
    """
    policy = spec.policy if spec else "value"
    if policy == "ask":
        return (PICKED,) if pick is not None and pick.picks(claim) else (NOT_PICKED,)
    of_use = int(not ailing(register))
    if policy == "epoch":
        return of_use, claim.epoch
    worth = register.head_counter, register.head_epoch, register.head_at_s // BUCKET_S
    if policy.startswith(PREFER):
        return of_use, int(dc == policy.removeprefix(PREFER)), *worth
    return of_use, *worth


def missing_bids(
    register: SiteRegister,
    against: Collection[Claim],
    spec: SiteSpec | None,
    pick: Pick | None = None,
    dc: str = "",
) -> dict[str, Bid]:
    """
    The bids the owner behind `register` has still to publish for its conflicts with `against`.

    A conflict that joins one under way gets the same bid: were it worth more by then, three owners could each lose.
    """
    mine = register.claim
    if mine is None:
        return {}
    keys = {claim: conflict_key(mine, claim) for claim in against}
    published = [register.bids[key] for key in keys.values() if key in register.bids]
    bid = published[0] if published else Bid(value(register, mine, spec, pick, dc), mine)
    return {keys[claim]: bid for claim in sorted(against) if keys[claim] not in register.bids}


def winner(registers: Registers, me: NodeId, against: dict[NodeId, Claim]) -> NodeId | None:
    """Of the rivals whose bid is known to beat that of `me`, the one with the largest bid; `None`: nobody yet."""
    register = registers[me]
    mine = register.claim
    if mine is None:
        return None
    offers: dict[NodeId, Bid] = {}
    for node, claim in against.items():
        key = conflict_key(mine, claim)
        ours, theirs = register.bids.get(key), registers[node].bids.get(key)
        if ours is not None and theirs is not None and theirs > ours:
            offers[node] = theirs
    return max(offers, key=lambda node: offers[node], default=None)


def bids_in_force(bids: Mapping[str, Bid], claim: Claim | None) -> dict[str, Bid]:
    """Those of `bids` that still mean something: made for `claim`, which is held now. The rest may be dropped."""
    return {key: bid for key, bid in bids.items() if str(claim) in key.split("/")}
