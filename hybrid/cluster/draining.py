"""Where the sites of a node go that is to own nothing any more. Pure; that it is, stands in the shared map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import msgspec

from hybrid.cluster.groups import Group
from hybrid.cluster.placement import kept_apart, refuses
from hybrid.model import NodeId, SiteId
from hybrid.view import NodeView, SiteView, View

KEY = "drain/"
"""`drain/<node>` in the shared map: JSON of a `Wish`."""
AT_ONCE = 2
"""Sites that leave a drained node at the same time."""
GUESSED_S = 4.0
"""One move takes so long where the copy is fresh."""
SLOW_BYTES_S = 20e6
"""A whole copy is taken to be made so fast."""


class Wish(msgspec.Struct, frozen=True):
    """A person wants a node to own nothing."""

    by: str
    at_s: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Where each site goes, and which have no place, with the reason; both by name of the site."""

    to: dict[SiteId, NodeId]
    stuck: dict[SiteId, str]
    seconds: float
    """That is likely to take."""


def encode(wish: Wish) -> str:
    """As it stands in the shared map."""
    return msgspec.json.encode(wish).decode()


def plan(view: View, fresh: Callable[[SiteView], Collection[NodeId]], groups: Collection[Group]) -> Plan:
    """
    For every site this node owns, the best node that can take it: one with a fresh copy, else with an old one, else
    one to which all has to be sent; of those the one with the least to do. Sites of a group go where its first goes.

    Args:
        fresh: Other nodes whose copy lacks no more than what is under way.
    """
    owned = sorted((site for site in view.sites.values() if site.owner == view.me), key=lambda site: site.spec.name)
    leaders = {member: group.sites[0] for group in groups for member in group.sites[1:]}
    apart = {node: set(words) for node, words in kept_apart(view).items()}
    owned.sort(key=lambda site: site.spec.id in leaders)
    coming: Counter[NodeId] = Counter(site.owner for site in view.sites.values() if site.owner is not None)
    to: dict[SiteId, NodeId] = {}
    stuck: dict[SiteId, str] = {}
    seconds = 0.0
    for site in owned:
        near = fresh(site)
        chosen = _with_leader(leaders.get(site.spec.id), to, view) or _best(site, near, coming, apart, view)
        if site.spec.pinned or chosen is None:
            stuck[site.spec.id] = "it is pinned" if site.spec.pinned else _why(view)
            continue
        apart[chosen].add(site.spec.apart)
        to[site.spec.id] = chosen
        coming[chosen] += 1
        seconds += GUESSED_S if chosen in near else GUESSED_S + (site.data_bytes + site.history_bytes) / SLOW_BYTES_S
    return Plan(to, stuck, seconds / AT_ONCE)


def _with_leader(leader: SiteId | None, to: dict[SiteId, NodeId], view: View) -> NodeId | None:
    """Where the first site of its group goes, or is."""
    if leader is None or leader not in view.sites:
        return None
    owner = to.get(leader) or view.sites[leader].owner
    return owner if owner in view.nodes and owner != view.me and not refuses(view.nodes[owner]) else None


def _best(
    site: SiteView,
    near: Collection[NodeId],
    coming: Mapping[NodeId, int],
    apart: Mapping[NodeId, Collection[str]],
    view: View,
) -> NodeId | None:
    able = [node for node in view.nodes.values() if node.id != view.me and not refuses(node)]

    def worth(node: NodeView) -> tuple[bool, bool, bool, bool, float, NodeId]:
        cores = node.measured.cores if node.measured else 1.0
        home = node.dc == (site.spec.home_dc or view.nodes[view.me].dc)
        alone = not site.spec.apart or site.spec.apart not in apart[node.id]
        return alone, node.id in near, node.id in site.holders, home, -coming.get(node.id, 0) / cores, node.id

    return max(able, key=worth).id if able else None


def _why(view: View) -> str:
    """Why no node takes it: the reasons of all."""
    others = sorted((node for node in view.nodes.values() if node.id != view.me), key=lambda node: node.name)
    return "; ".join(f"{node.name} {refuses(node)}" for node in others) or "there is no other node"
