"""
What no healthy node says of epochs. Pure.

Epochs grow by one with each election. A node that says more, by a defect or on purpose, would burn the epochs of a site
for everybody: whatever came after would be older than what it said. Strict sites take theirs from etcd, whose revisions
grow with everything that is written there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from hybrid.cluster.candidates import largest_claim, newest_spec
from hybrid.model import NodeId, SiteId, SiteRegister
from hybrid.wire import Gossip

MAX_LEAP = 1_000_000
"""From the largest epoch known of a site to the next one heard of: weeks of an election each second."""
MAX_EPOCH = 2**62
"""No epoch gets here, not even a strict site's."""


class Registered(Protocol):
    """A ledger, as it is read here."""

    def registers(self, site: SiteId) -> Mapping[NodeId, SiteRegister]:
        """What each node says about it."""


def leaps(known: int, said: int, strict: bool) -> bool:
    """
    Whether no healthy node says the epoch `said`.

    Args:
        known: The largest epoch this node knows of the site; 0: none, which proves nothing.
        said: The one it hears.
        strict: Whether the site is a strict one.
    """
    return said >= MAX_EPOCH or (not strict and 0 < known < said - MAX_LEAP)


def unreasonable(gossip: Gossip, ledger: Registered) -> str:
    """What in `gossip` no healthy node says, for people; empty when nothing is."""
    for site, node, said, register in _epochs(gossip):
        if said <= MAX_LEAP:
            continue
        registers = ledger.registers(site)
        known = largest_claim(registers.values()).epoch
        spec = newest_spec([*registers.values(), *([register] if register else [])])
        if leaps(known, said, spec is not None and spec.consistency == "strict"):
            return f"it tells of epoch {said} of {site}, by {node}, where {known} is the largest known"
    return ""


def _epochs(gossip: Gossip) -> Iterator[tuple[SiteId, NodeId, int, SiteRegister | None]]:
    """Site, whose word, its largest epoch, and the word itself where it is one."""
    for node, words in gossip.sites.items():
        for site, word in words.items():
            claimed = word.claim.epoch if word.claim else 0
            yield site, node, max(claimed, word.seen.epoch, word.head_epoch), word
    for node, copies in gossip.copies.items():
        for site, copy in copies.items():
            yield site, node, copy.head_epoch, None
