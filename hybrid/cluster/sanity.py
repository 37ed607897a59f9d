"""
What no healthy node says of epochs. Pure.

Epochs grow by one with each election. A node that says more, by a defect or on purpose, would burn the epochs of a site
for everybody: whatever came after would be older than what it said. Strict sites take theirs from etcd, whose revisions
grow with everything that is written there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from hybrid.cluster.candidates import largest_claim, newest_spec
from hybrid.model import Copy, NodeId, SiteId, SiteRegister
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


@dataclass(frozen=True, slots=True)
class Leap:
    """A part of a register that no healthy node writes."""

    writer: NodeId
    site: SiteId
    part: SiteRegister | Copy
    text: str
    """What is wrong with it, for people."""


def unreasonable(gossip: Gossip, ledger: Registered) -> Iterator[Leap]:
    """What in `gossip` no healthy node writes, whoever passes it on."""
    for site, writer, part, said in _epochs(gossip):
        if said <= MAX_LEAP:
            continue
        registers = ledger.registers(site)
        known = largest_claim(registers.values()).epoch
        words = [*registers.values(), *([part] if isinstance(part, SiteRegister) else [])]
        spec = newest_spec(words)
        if leaps(known, said, spec is not None and spec.consistency == "strict"):
            text = f"it tells of epoch {said} of {site}, where {known} is the largest known"
            yield Leap(writer, site, part, text)


def _epochs(gossip: Gossip) -> Iterator[tuple[SiteId, NodeId, SiteRegister | Copy, int]]:
    """Site, writer, part, and the largest epoch in it."""
    for node, words in gossip.sites.items():
        for site, word in words.items():
            claimed = word.claim.epoch if word.claim else 0
            yield site, node, word, max(claimed, word.seen.epoch, word.head_epoch)
    for node, copies in gossip.copies.items():
        for site, copy in copies.items():
            yield site, node, copy, copy.head_epoch
