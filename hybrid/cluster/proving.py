"""
Decides whose turn it is to prove that a site could be restored from its copies, and when. Pure.

Each holder but the owner starts its own copy in turn, so that over the days all copies are tried. A day is long, so
this goes by the time of day (`Proof.at_s`), and outlives restarts: where a clock is wrong, a proof comes too early or
too late, and nothing else happens. What is dated in the future is taken for not there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hybrid.model import NodeId, Proof, SiteId, SiteSpec
from hybrid.view import SiteView, View

EVERY_S = 86400.0
"""How often each site is proven, unless the cluster or the site is told otherwise."""
AGAIN_S = 3600.0
"""One that failed is tried so much later by the next holder, one that was skipped by the same."""
TURN_S = 900.0
"""Where the holder whose turn it is does not do it, the next one does so much later."""
TOLERANCE_S = 300
"""So far ahead may the clock be of who dated a proof."""


def every_s(spec: SiteSpec, cluster_s: float) -> float:
    """Seconds between two proofs of a site; 0: never."""
    return cluster_s if spec.verify_every_s is None else spec.verify_every_s


def provers(site: SiteView, view: View) -> tuple[NodeId, ...]:
    """Who may prove `site`: living holders with healthy storage, but for the owner; whose turn it is first."""
    able = [node for node in site.holders if node != site.owner and node in view.nodes and view.nodes[node].storage_ok]
    return tuple(sorted(able, key=lambda node: (_at_s(site.proofs, node), _digest(site.spec.id, node))))


@dataclass(frozen=True, slots=True)
class Turn:
    """When this node is to start its copy."""

    due_s: float
    """Seconds since the epoch, maybe long ago."""
    patience_s: float
    """It has to be seen due for so long first: one whose turn comes before may be about to do it."""


def turn(site: SiteView, view: View, born_s: float, cluster_s: float, now_s: float) -> Turn | None:
    """
    When this node is to start its copy of `site`; `None`: not at all.

    Args:
        born_s: When its oldest snapshot here was taken. A site that nobody proved yet has its first turn within one
            interval from then on, at a moment of its own: they shall not all come at once.
        cluster_s: The interval of sites that do not say another; 0: never.
        now_s: Seconds since the epoch.
    """
    interval_s, able = every_s(site.spec, cluster_s), provers(site, view)
    if interval_s <= 0 or view.me not in able:
        return None
    past = {node: proof for node, proof in site.proofs.items() if proof.at_s <= now_s + TOLERANCE_S}
    tried = [proof for proof in past.values() if proof.outcome != "skipped"]
    if tried:
        last = max(tried, key=lambda proof: proof.at_s)
        due_s = last.at_s + (interval_s if last.outcome == "good" else min(interval_s, AGAIN_S))
    else:
        due_s = born_s + interval_s * _digest(site.spec.id) / 2**64
    mine = past.get(view.me)
    if mine is not None and mine.outcome == "skipped":
        due_s = max(due_s, mine.at_s + min(interval_s, AGAIN_S))
    return Turn(due_s, able.index(view.me) * min(TURN_S, interval_s / 4))


def newest(proofs: Mapping[NodeId, Proof]) -> tuple[NodeId, Proof] | None:
    """The last word on a site, and whose; one that was skipped only where there is no other."""
    return max(proofs.items(), key=lambda item: (item[1].outcome != "skipped", item[1].at_s), default=None)


def good_at_s(proofs: Iterable[Proof]) -> int:
    """When a copy, on whatever node, was last found good; 0: never."""
    return max((proof.good_at_s for proof in proofs), default=0)


def _at_s(proofs: Mapping[NodeId, Proof], node: NodeId) -> int:
    """When `node` last tried; 0: never."""
    return proofs[node].at_s if node in proofs else 0


def _digest(*parts: SiteId | NodeId) -> int:
    """Below 2^64."""
    return int.from_bytes(hashlib.blake2b("/".join(parts).encode(), digest_size=8).digest())
