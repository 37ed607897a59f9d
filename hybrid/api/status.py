"""The cluster's health in one sentence. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from hybrid.api import schema
from hybrid.api.moments import rfc3339
from hybrid.api.names import node_name
from hybrid.cluster.placement import replicas
from hybrid.cluster.proving import newest
from hybrid.cluster.room import MEANS, Level, level, percent
from hybrid.model import NodeId
from hybrid.view import SiteView, View

MAX_FINDINGS = 50


def summarise(view: View, now_s: float, decisions: int = 0) -> schema.Status:
    """What an operator wants to know first; `decisions` wait for a person."""
    live = [node for node in view.nodes.values() if node.live]
    states: Counter[str] = Counter(site.state for site in view.sites.values())
    lags = [site.lag_s for site in view.sites.values() if site.lag_s is not None]
    worst_lag_s = max(lags) if lags else None
    critical, degraded = _critical(view), _degraded(view)
    if decisions:
        degraded.append(f"{_count(decisions, 'thing')} for a person to decide or look at: hybrid decisions")
    health: Literal["ok", "degraded", "critical"] = "critical" if critical else "degraded" if degraded else "ok"
    can_lose, dcs = can_lose_nodes(view), can_lose_dcs(view)
    return schema.Status(
        health=health,
        sentence=_sentence(view, len(live), worst_lag_s, _can_lose(view, can_lose, dcs)),
        findings=bounded([*critical, *degraded]),
        nodes=len(view.nodes),
        nodes_live=len(live),
        sites=len(view.sites),
        sites_by_state=schema.SiteCounts(**states),
        worst_lag_s=worst_lag_s,
        decisions=decisions,
        can_lose_nodes=can_lose,
        can_lose_dcs=dcs,
        as_of=rfc3339(now_s),
        from_node=node_name(view, view.me),
    )


def bounded(findings: list[str]) -> tuple[str, ...]:
    """The first `MAX_FINDINGS`, and how many more there are: an outage must not make the status unreadable."""
    more = len(findings) - MAX_FINDINGS
    return (*findings[:MAX_FINDINGS], f"and {more} more") if more > 0 else tuple(findings)


def can_lose_nodes(view: View) -> int:
    """How many live nodes may die, whichever they are, while every site's data is still held by a live one."""
    live = sum(1 for node in view.nodes.values() if node.live)
    spare = [max(0, len(_copies(view, site)) - 1) for site in view.sites.values()]
    return max(0, min([live - 1, *spare]))


def can_lose_dcs(view: View) -> tuple[str, ...]:
    """The data centres with a live node, by name, any one of which may vanish while others hold every site's data."""
    live = {node.id: node.dc for node in view.nodes.values() if node.live}

    def outlives(held: Iterable[NodeId], dc: str) -> bool:
        return any(live.get(node, dc) != dc for node in held)

    dcs = sorted(set(live.values()))
    return tuple(dc for dc in dcs if all(outlives(held, dc) for held in (live, *_held(view))))


def _held(view: View) -> Iterable[tuple[NodeId, ...]]:
    """Who keeps each site that anybody holds."""
    return [_copies(view, site) for site in view.sites.values() if site.holders]


def _copies(view: View, site: SiteView) -> tuple[NodeId, ...]:
    """Live nodes that keep `site` up to date: one that holds it from an earlier time counts no more."""
    if len(site.holders) <= site.spec.copies + 1:
        return site.holders
    kept = {site.owner, *replicas(site, view)}
    return tuple(node for node in site.holders if node in kept)


def _can_lose(view: View, nodes: int, dcs: tuple[str, ...]) -> str:
    """What may happen next without loss; data centres are spoken of where there are several."""
    alive = {node.dc for node in view.nodes.values() if node.live}
    if len(alive) < 2:
        return f"can lose {_count(nodes, 'node') if nodes else 'no node'}"
    any_of = f"any {_count(nodes, 'node')}" if nodes else "no node for certain"
    if len(dcs) == len(alive):
        return f"can lose {any_of}, or {'either' if len(dcs) == 2 else 'any'} data centre"
    return f"can lose {any_of}, {'or all of ' + ' or '.join(dcs) if dcs else 'but no data centre'}"


def _sentence(view: View, live: int, worst_lag_s: float | None, can_lose: str) -> str:
    """For example: `3 nodes up, 214 sites, all replicated, can lose any 1 node, or either data centre`."""
    nodes = _count(live, "node") + " up"
    if live < len(view.nodes):
        nodes = f"{live} of {_count(len(view.nodes), 'node')} up"
    parts = [nodes, _count(len(view.sites), "site")]
    if worst_lag_s is not None:
        parts.append("all replicated" if worst_lag_s == 0 else f"replicated up to {worst_lag_s:.0f} s ago")
    parts.append(can_lose)
    return ", ".join(parts)


def _critical(view: View) -> list[str]:
    """Findings that mean somebody is not served, or soon may not be."""
    down = [f"site {site.spec.name} is unavailable{_why(site)}" for site in _sites(view) if site.state == "unavailable"]
    sick = [f"the storage of {node.name} does not answer" for node in view.nodes.values() if not node.storage_ok]
    alarms = [f"{node.name}: {alarm}" for node in view.nodes.values() for alarm in node.alarms]
    return [*down, *sick, *_filled(view, full=True), *alarms]


def _filled(view: View, full: bool) -> list[str]:
    """Pools that are `full`, or that are filling up, fullest first."""
    found = [
        (percent(node.size_bytes, node.free_bytes), node.name, MEANS[reached])
        for node in view.nodes.values()
        if node.live and (reached := level(node.size_bytes, node.free_bytes)) and (reached is Level.FULL) == full
    ]
    return [f"the pool of {name} is {part} % full: {means}" for part, name, means in sorted(found, reverse=True)]


def _degraded(view: View) -> list[str]:
    """Findings that will matter if something else happens."""
    dead = [
        f"node {node.name} ({node.dc}) is down" + (": its copies are made again elsewhere" if node.lost else "")
        for node in view.nodes.values()
        if not node.live
    ]
    troubled = [
        f"site {site.spec.name}: {site.trouble}"
        for site in _sites(view)
        if site.trouble and site.state != "unavailable"
    ]
    late = [
        f"site {site.spec.name}: newest data {site.lag_s:.0f} s old is on no other node"
        for site in _sites(view)
        if site.lag_s is not None and site.lag_s > 2 * site.spec.snapshot_every_s
    ]
    possible = sum(1 for node in view.nodes.values() if node.live) - 1
    few = [
        f"site {site.spec.name} has {_count(len(site.holders) - 1, 'replica')} of {site.spec.copies}"
        for site in _sites(view)
        if site.holders and len(site.holders) - 1 < min(site.spec.copies, possible)
    ]
    broken = [
        f"site {site.spec.name}: its copy on {node_name(view, last[0])} was tried out and does not work"
        for site in _sites(view)
        if (last := newest(site.proofs)) is not None and last[1].outcome == "failed"
    ]
    return [*dead, *_filled(view, full=False), *troubled, *late, *few, *broken]


def _sites(view: View) -> list[SiteView]:
    """By name."""
    return sorted(view.sites.values(), key=lambda site: site.spec.name)


def _why(site: SiteView) -> str:
    """`: <trouble>`, where there is one to tell."""
    return f": {site.trouble}" if site.trouble else ""


def _count(number: int, noun: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
