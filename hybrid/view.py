"""
The view: what this node knows and concludes now. Every component follows it; nobody else's memory is asked.

Pure values, sent whole or as a `Change` over the feed to the proxy and DNS processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from hybrid.leaves import Leaves, unlike
from hybrid.load import NodeLoad, Placed, SiteLoad
from hybrid.model import Claim, Guid, NodeId, Proof, SiteId, SiteSpec, Stash

SiteState = Literal["serving", "changing", "asleep", "stopped", "unavailable"]
"""
`serving`: the owner answers. `asleep`: it does not run, its owner starts it for who asks.
`changing`: an owner is coming up, or one is being found: hold requests.
`stopped`: by the user's wish. `unavailable`: no live node holds it, or it could not be started (see `trouble`).
"""


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """A node as seen from here."""

    id: NodeId
    name: str
    dc: str
    address: str
    cluster_port: int
    interior_port: int
    api_port: int
    live: bool
    lost: bool = False
    alarms: tuple[str, ...] = ()
    """What a person must look at, as that node sees it."""
    """Silent for so long that its copies are made again elsewhere; `Timing.repair_s`."""
    size_bytes: int = 0
    free_bytes: int = 0
    release: str = ""
    storage_ok: bool = True
    load: float = 0.0
    measured: NodeLoad | None = None
    """What it has and what of that is in use, in coarse steps; `None`: it does not say."""
    draining: bool = False
    """It is to own nothing, as a person wished."""


class SiteView(msgspec.Struct, frozen=True, kw_only=True):
    """A site as seen from here."""

    spec: SiteSpec
    state: SiteState
    owner: NodeId | None = None
    """The live node with the largest claim, while it is `serving` or `changing`."""
    claim: Claim | None = None
    upstream: str | None = None
    """The container's address; only on the owner itself, only while `serving`."""
    holders: tuple[NodeId, ...] = ()
    """Live nodes that hold the dataset: owner first, then the best replica first."""
    away: tuple[NodeId, ...] = ()
    """Nodes that hold it and are silent, but not lost: their copies count until they are. By id."""
    lag_s: float | None = None
    """Exact on nodes that hold it; elsewhere in coarse steps, 0.0 while it is as usual."""
    safe_copies: int = 0
    """Other live nodes whose head is the owner's; on nodes that do not hold it, but for the last minute."""
    data_bytes: int = 0
    """What its live data refer to on the owner, in coarse steps; 0 until that was measured."""
    history_bytes: int = 0
    """What its history takes there besides."""
    stashes: tuple[Stash, ...] = ()
    trouble: str = ""
    united: tuple[Guid, ...] = ()
    """Heads of stashes that hold nothing which the main line lacks."""
    awaiting: tuple[Claim, ...] = ()
    """Claims of a conflict in which a person is to pick one (policy `ask`), sorted; mostly none."""
    stuck: tuple[NodeId, ...] = ()
    """Live nodes that must give the site up and cannot stop or unmount it. By id."""
    proofs: dict[NodeId, Proof] = {}
    """What came of starting copies, by the node that did, silent ones too; see `hybrid.cluster.proving`."""
    load: SiteLoad | None = None
    """What it takes of its owner, in coarse steps; `None`: as good as nothing, or not measured."""
    placed: tuple[Placed, ...] = ()
    """How it came where it is, and where it was before, oldest first."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `serial` grows with each change; `zones` are the cluster's own DNS zones, first is the main one."""

    me: NodeId
    serial: int
    zones: tuple[str, ...]
    nodes: dict[NodeId, NodeView]
    sites: Mapping[SiteId, SiteView]
    """In no order. What has not changed since the view before is the same object: see `hybrid.leaves`."""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """Something only a person can decide, or should look at."""

    kind: Literal["pick", "fence", "deletion", "alarm", "stash"]
    """
    `pick`: which of two histories goes on (policy `ask`). `fence`: a node that lost the site cannot stop it.
    `deletion`: it was deleted while somebody who was cut off went on writing. `alarm`: a node does not trust another.
    `stash`: history that lost a conflict.
    """
    site: SiteId | None = None
    """`None` where it is about a node."""
    name: str
    """Of the site, or of the node."""
    nodes: tuple[str, ...] = ()
    """Names of the nodes to choose from, or that it is about."""
    text: str
    try_: str
    """What to do about it."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """From one view to a later one."""

    serial: int
    zones: tuple[str, ...]
    nodes: dict[NodeId, NodeView]
    sites: dict[SiteId, SiteView]
    """Only those that differ."""
    gone_nodes: tuple[NodeId, ...] = ()
    gone_sites: tuple[SiteId, ...] = ()


def difference(old: View, new: View) -> Change:
    """What turns `old` into `new`. Costs little where `new` was made from `old`."""
    nodes, gone_nodes = unlike(new.nodes, old.nodes)
    sites, gone_sites = unlike(new.sites, old.sites)
    return Change(
        serial=new.serial,
        zones=new.zones,
        nodes=nodes,
        sites=sites,
        gone_nodes=tuple(gone_nodes),
        gone_sites=tuple(gone_sites),
    )


def apply(view: View, change: Change) -> View:
    """`view` after `change`. Costs little where `view` is itself the result of a change."""
    gone = set(change.gone_nodes)
    sites = view.sites if isinstance(view.sites, Leaves) else Leaves(view.sites)
    return View(
        me=view.me,
        serial=change.serial,
        zones=change.zones,
        nodes={**{key: node for key, node in view.nodes.items() if key not in gone}, **change.nodes},
        sites=sites.replaced(change.sites, change.gone_sites),
    )


def site_of_domain(view: View, host: str) -> SiteView | None:
    """The site that answers for `host` (lower case, no final dot), by a scan; hot paths keep their own index."""
    return next((site for site in view.sites.values() if host in site.spec.domains), None)
