"""What a change of the view means to people: the events in it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from hybrid.api.names import node_name
from hybrid.cluster.room import MEANS, level, percent
from hybrid.model import Fact, HistoryThinned, NodeId, SendFailed, SiteId, SnapshotFailed, StorageFailed, StreamBroken
from hybrid.view import NodeView, SiteView, View, difference


@dataclass(frozen=True, slots=True)
class Told:
    """An event before it has a number and a time."""

    kind: str
    text: str
    site: SiteId | None = None
    node: NodeId | None = None


def between(old: View, new: View) -> list[Told]:
    """What happened between two views, nodes first."""
    change = difference(old, new)
    told: list[Told] = []
    for key, node in sorted(change.nodes.items()):
        told += _node(old.nodes.get(key), node)
    for key in change.gone_nodes:
        told.append(Told("node-removed", f"node {old.nodes[key].name} was removed", node=key))
    for id_ in change.gone_sites:
        told.append(Told("site-deleted", f"site {old.sites[id_].spec.name} was deleted", site=id_))
    for id_, site in sorted(change.sites.items()):
        told += _site(old.sites.get(id_), site, new)
    return told


def of_fact(fact: Fact) -> Told | None:
    """Facts worth telling one by one; the rest shows in the view."""
    match fact:
        case SnapshotFailed(site, reason):
            return Told("trouble", f"no snapshot could be taken: {reason}", site=site)
        case SendFailed(site, node, reason):
            return Told("trouble", f"replication did not arrive: {reason}", site=site, node=node)
        case StreamBroken(node, reason):
            return Told("trouble", f"a stream was refused: {reason}", node=node)
        case HistoryThinned(site, history_bytes, budget_bytes):
            taken = f"its history takes {history_bytes:,} bytes, {budget_bytes:,} are allowed"
            return Told("history-thinned", f"{taken}: old history goes earlier", site=site)
        case StorageFailed(reason):
            return Told("trouble", f"the pool does not answer: {reason}")
        case _:
            return None


def _node(old: NodeView | None, new: NodeView) -> list[Told]:
    """What happened to a node."""
    told = []
    if old is None:
        told.append(Told("node-new", f"node {new.name} ({new.dc}) is known", node=new.id))
    if new.live and (old is None or not old.live):
        told.append(Told("node-up", f"node {new.name} is up", node=new.id))
    if old is not None and old.live and not new.live:
        told.append(Told("node-down", f"node {new.name} is down", node=new.id))
    told += _room(old, new)
    known = old.alarms if old is not None else ()
    told += [Told("alarm", f"{new.name}: {alarm}", node=new.id) for alarm in new.alarms if alarm not in known]
    if old is not None and old.storage_ok and not new.storage_ok:
        told.append(Told("trouble", f"the storage of {new.name} does not answer", node=new.id))
    return told


def _room(old: NodeView | None, new: NodeView) -> list[Told]:
    """Its pool reached a level, or has room again. A pool of unknown size says nothing."""
    if old is None or not old.size_bytes or not new.size_bytes:
        return []
    before, now = level(old.size_bytes, old.free_bytes), level(new.size_bytes, new.free_bytes)
    if now == before:
        return []
    text = f"the pool of {new.name} is {percent(new.size_bytes, new.free_bytes)} % full"
    return [Told("pool-level", f"{text}: {MEANS[now]}" if now else f"{text} again", node=new.id)]


def _site(old: SiteView | None, new: SiteView, view: View) -> list[Told]:
    """What happened to a site."""
    name, id_ = new.spec.name, new.spec.id
    if old is None:
        return [Told("site-new", f"site {name} is known, {new.state}", site=id_, node=new.owner)]
    told = []
    if new.owner != old.owner and new.owner is not None:
        told.append(Told("site-owner", f"{name} is on {node_name(view, new.owner)} now", site=id_, node=new.owner))
    if new.state != old.state:
        told.append(Told("site-state", f"{name} is {new.state} (was {old.state})", site=id_, node=new.owner))
    if new.trouble != old.trouble and new.trouble:
        told.append(Told("trouble", f"{name}: {new.trouble}", site=id_, node=new.owner))
    known = {stash.id for stash in old.stashes}
    for stash in new.stashes:
        if stash.id not in known:
            told.append(Told("stash", f"history of {name} was set aside as {stash.id} ({stash.why})", site=id_))
    for node, proof in new.proofs.items():
        if proof != old.proofs.get(node) and proof.outcome == "failed":
            text = f"the copy of {name} on {node_name(view, node)} does not work: {proof.why}"
            told.append(Told("proof-failed", text, site=id_, node=node))
    if new.spec.version != old.spec.version:
        told.append(Told("site-changed", f"the settings of {name} changed", site=id_, node=new.owner))
    return told
