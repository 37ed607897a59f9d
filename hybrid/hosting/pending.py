"""What waits for a person's decision, or at least for a person's eyes, drawn from the view. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hybrid.hosting.tombstones import Tombstone
from hybrid.model import NodeId, SiteId
from hybrid.view import Pending, SiteView, View


def pending(view: View, stones: Mapping[SiteId, Tombstone]) -> list[Pending]:
    """
    All there is to decide: what keeps a site down first, then by site's name.

    Args:
        view: The newest.
        stones: Tombstones of sites that are in the view all the same.
    """
    found: list[Pending] = []
    for site in sorted(view.sites.values(), key=lambda site: (site.spec.name, site.spec.id)):
        found += [*_picks(view, site), *_fences(view, site), *_deletions(view, site, stones), *_stashes(site)]
    found += [
        Pending(kind="alarm", name=node.name, nodes=(node.name,), text=alarm, try_=f"hybrid node show {node.name}")
        for node in sorted(view.nodes.values(), key=lambda node: node.name)
        for alarm in node.alarms
    ]
    return sorted(found, key=lambda one: _ORDER.index(one.kind))


_ORDER = ("pick", "fence", "deletion", "alarm", "stash")


def _picks(view: View, site: SiteView) -> Iterable[Pending]:
    if site.awaiting:
        nodes = tuple(sorted({_name(view, claim.node) for claim in site.awaiting}))
        yield Pending(
            kind="pick",
            site=site.spec.id,
            name=site.spec.name,
            nodes=nodes,
            text=f"histories of two sides of a partition, on {', '.join(nodes)}: not served until one is picked",
            try_=f"hybrid site pick {site.spec.name} {nodes[0]}",
        )


def _fences(view: View, site: SiteView) -> Iterable[Pending]:
    if site.stuck:
        nodes = tuple(_name(view, node) for node in site.stuck)
        yield Pending(
            kind="fence",
            site=site.spec.id,
            name=site.spec.name,
            nodes=nodes,
            text=f"{', '.join(nodes)} cannot stop or unmount it; it is not served there, and its network is cut",
            try_="end the processes that hold it, or restart that server",
        )


def _deletions(view: View, site: SiteView, stones: Mapping[SiteId, Tombstone]) -> Iterable[Pending]:
    stone = stones.get(site.spec.id)
    if stone is not None and site.owner is not None:
        owner = _name(view, site.owner)
        yield Pending(
            kind="deletion",
            site=site.spec.id,
            name=site.spec.name,
            nodes=(owner,),
            text=f"deleted by {_name(view, stone.by)}, but {owner} was cut off and went on: it serves",
            try_=f"hybrid site undelete {site.spec.id} keeps it, hybrid site delete deletes it again",
        )


def _stashes(site: SiteView) -> Iterable[Pending]:
    for stash in site.stashes:
        if stash.why in ("conflict", "modified") and stash.head not in site.united:
            yield Pending(
                kind="stash",
                site=site.spec.id,
                name=site.spec.name,
                text=f"history that lost a conflict is kept as {stash.id}",
                try_=f"hybrid stash list {site.spec.name}",
            )


def _name(view: View, node: NodeId) -> str:
    return view.nodes[node].name if node in view.nodes else node
