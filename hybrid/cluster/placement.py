"""Where copies of sites should be, and which numbers and nodes new ones get. Pure: the same view, the same answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache

from hybrid.cluster.room import Level, level
from hybrid.model import NodeId, SiteId
from hybrid.view import NodeView, SiteView, View

NUMBERS = 32_000
"""Ranges of 65,536 ids from a million on stay below 2^31 then: zfs-fuse refuses larger ids (EINVAL, measured)."""
"""Site numbers go from 1 to this."""


def replicas(site: SiteView, view: View) -> tuple[NodeId, ...]:
    """
    The nodes that should hold copies of `site` besides its owner, best first.

    At most `spec.copies` nodes with healthy storage that live, or that hold it and are silent but not lost; where room
    is scarce no new copies come, and a full one counts for as little as one without any. Each is
    chosen for a data centre that has no copy yet, then for holding the site already (so that nothing is moved without
    need), then for room. Room counts only in steps of a factor of two, and ties are broken by the site's id: a choice
    stays until something real changes.
    """
    able = {
        node: (view.nodes[node].dc, _worth(view.nodes[node], site))
        for node in view.nodes
        if node != site.owner and _is_place(view.nodes[node], site)
    }
    covered = {view.nodes[site.owner].dc} if site.owner in view.nodes else set()
    chosen: list[NodeId] = []
    while able and len(chosen) < site.spec.copies:
        best = max(able, key=lambda node: (able[node][1][0], able[node][0] not in covered, able[node][1]))
        chosen.append(best)
        covered.add(able.pop(best)[0])
    return tuple(chosen)


def _is_place(node: NodeView, site: SiteView) -> bool:
    there = node.storage_ok and (node.live or node.id in site.away)
    return there and (_holds(node, site) or level(node.size_bytes, node.free_bytes) < Level.SCARCE)


def _worth(node: NodeView, site: SiteView) -> tuple[bool, bool, int, int]:
    holds = _holds(node, site)
    room = 0 if holds else node.free_bytes.bit_length()
    takes = level(node.size_bytes, node.free_bytes) < Level.FULL
    return takes, holds, room, _digest(site.spec.id, node.id)


def _holds(node: NodeView, site: SiteView) -> bool:
    return node.id in site.holders or node.id in site.away


def first_owner(view: View) -> NodeId:
    """
    The node on which a new site should begin: with room, then with the fewest sites; on a drained one only for want
    of others.

    Without any living node with healthy storage and room, this one.
    """
    able = [
        node
        for node in view.nodes.values()
        if node.live and node.storage_ok and level(node.size_bytes, node.free_bytes) < Level.SHORT
    ]
    able = [node for node in able if not node.draining] or able
    owned = [site.owner for site in view.sites.values()]
    best = max(able, key=lambda node: (node.free_bytes.bit_length(), -owned.count(node.id), node.id), default=None)
    return best.id if best else view.me


def refuses(node: NodeView) -> str:
    """Why `node` can take no site, whatever its load; empty: it can."""
    if not node.live:
        return "is down"
    if not node.storage_ok:
        return "has storage that does not answer"
    if node.draining:
        return "is drained"
    if node.size_bytes and level(node.size_bytes, node.free_bytes) >= Level.SCARCE:
        return "has a pool that is filling up"
    return ""


def kept_apart(view: View) -> Mapping[NodeId, frozenset[str]]:
    """For each node the words (`SiteSpec.apart`) of sites it owns."""
    words: dict[NodeId, set[str]] = {node: set() for node in view.nodes}
    for site in view.sites.values():
        if site.spec.apart and site.owner in words:
            words[site.owner].add(site.spec.apart)
    return {node: frozenset(found) for node, found in words.items()}


def free_number(view: View, site: SiteId) -> int:
    """
    An unused number for a new site, 1 to `NUMBERS`.

    Counted from a digest of its id, so that two components of a parted cluster rarely give the same one.

    Raises:
        ValueError: All are in use.
    """
    used = {number for known in view.sites.values() for number in (known.spec.number, known.spec.ids)}
    start = _digest(site) % NUMBERS
    for step in range(NUMBERS):
        number = (start + step) % NUMBERS + 1
        if number not in used:
            return number
    raise ValueError(f"all {NUMBERS} site numbers are in use")


@lru_cache(16384)
def _digest(*parts: str) -> int:
    return int.from_bytes(hashlib.blake2b("/".join(parts).encode(), digest_size=8).digest())
