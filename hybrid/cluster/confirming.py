"""Rule R2, confirm before claim: whom a candidate asks, what an answer says, what the answers mean. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from hybrid.cluster.candidates import HOLDING, Registers, ailing, largest_claim, live_claims
from hybrid.model import Claim, NodeId


def confirmation(registers: Registers, live: frozenset[NodeId], me: NodeId) -> list[NodeId]:
    """
    Whom to ask before a stand whether they see an owner.

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


def owner_seen(
    registers: Registers, live: frozenset[NodeId], asker: NodeId, sick: frozenset[NodeId] = frozenset()
) -> Claim | None:
    """
    The answer to `SeesOwner`: the claim of a living owner other than the asker, where there is one that is of use.

    Neither an owner in trouble nor one that is leaving forbids a stand.
    """
    claims = live_claims(registers, live)
    good = [
        claim
        for node, claim in claims.items()
        if node != asker and not ailing(registers[node], node in sick) and registers[node].role != "leaving"
    ]
    return max(good, default=None)
