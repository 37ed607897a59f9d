"""
What a node measures, for Prometheus: its own sites and streams, and how it sees the cluster. Pure.

A figure of a site is told by its owner only, so that sums over all nodes are sums over all sites. What counts up
is told by no node for another: it would go back when a site moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from hybrid.api.names import node_name
from hybrid.api.status import can_lose_nodes
from hybrid.deeds import TransferSeen
from hybrid.model import NodeId
from hybrid.view import SiteState, SiteView, View

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Told:
    """A collector of what is there already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        yield from self._metrics


def exposition(view: View, now_s: float, running: int, decisions: int, transfers: Iterable[TransferSeen]) -> bytes:
    """
    The text to be scraped.

    Args:
        running: Operations under way on this node.
        decisions: What waits for a person.
    """
    registry = CollectorRegistry(auto_describe=False)
    mine = [site for site in view.sites.values() if site.owner == view.me]
    registry.register(
        _Told([*_cluster(view, running, decisions), *_nodes(view), *_sites(mine, now_s), *_streams(view, transfers)])
    )
    return generate_latest(registry)


def _gauge(name: str, told: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"hybrid_{name}", told, value=value)


def _labelled(
    name: str, told: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"hybrid_{name}", told, labels=labels)
    for words, value in values:
        family.add_metric(words, value)
    return family


def _cluster(view: View, running: int, decisions: int) -> list[Metric]:
    states = Counter(site.state for site in view.sites.values())
    return [
        _labelled(
            "sites",
            "Sites of the cluster, as this node sees them, by state.",
            ("state",),
            [((state,), states[state]) for state in get_args(SiteState)],
        ),
        _gauge("can_lose_nodes", "Nodes that may die at once without history being lost.", can_lose_nodes(view)),
        _gauge("decisions", "What waits for a person to decide or look at.", decisions),
        _gauge("operations_running", "Operations under way on this node.", running),
    ]


def _nodes(view: View) -> list[Metric]:
    me = view.nodes.get(view.me)
    found: list[Metric] = [
        _labelled(
            "node_up",
            "Whether this node takes that one for alive.",
            ("node", "dc"),
            [((node.name, node.dc), float(node.live)) for node in view.nodes.values()],
        )
    ]
    if me is not None:
        found += [
            _gauge("pool_size_bytes", "Of this node's pool.", me.size_bytes),
            _gauge("pool_free_bytes", "Free in this node's pool.", me.free_bytes),
            _gauge("storage_ok", "Whether this node's storage answers.", float(me.storage_ok)),
        ]
    return found


def _sites(mine: list[SiteView], now_s: float) -> list[Metric]:
    def of(name: str, told: str, value: Callable[[SiteView], float | None]) -> Metric:
        rows = [((one.spec.name, one.spec.account), found) for one in mine if (found := value(one)) is not None]
        return _labelled(name, told, ("site", "account"), rows)

    return [
        of("site_serving", "Whether a site of this node serves.", lambda one: float(one.state == "serving")),
        of("site_wanted", "Whether a site of this node should.", lambda one: float(one.spec.runs)),
        of("site_lag_seconds", "Age of its oldest change that no other node holds.", lambda one: one.lag_s),
        of("site_safe_copies", "Other nodes that hold all of it.", lambda one: one.safe_copies),
        of("site_wanted_copies", "How many should.", lambda one: one.spec.copies),
        of("site_data_bytes", "What its data take.", lambda one: one.data_bytes),
        of("site_quota_bytes", "What they may.", lambda one: one.spec.quota_bytes),
        of("site_history_bytes", "What its history takes besides.", lambda one: one.history_bytes),
        of("site_stashes", "Histories set aside.", lambda one: len(one.stashes)),
        of("site_proven_age_seconds", "Since a copy was last found good.", lambda one: _proven_age_s(one, now_s)),
    ]


def _proven_age_s(site: SiteView, now_s: float) -> float | None:
    good_at_s = max((proof.good_at_s for proof in site.proofs.values()), default=0)
    return now_s - good_at_s if good_at_s else None


def _streams(view: View, transfers: Iterable[TransferSeen]) -> list[Metric]:
    rates: Counter[tuple[str, ...]] = Counter()
    saved: Counter[tuple[str, ...]] = Counter()
    for one in transfers:
        ends = one.way, node_name(view, NodeId(one.node))
        rates[ends] += one.bytes_per_s
        saved[ends] += one.saved_bytes
    told = "Of streams under way to and from other nodes, on average."
    less = "Of streams under way: they did not have to travel, being compressed."
    return [
        _labelled("stream_bytes_per_second", told, ("way", "node"), rates.items()),
        _labelled("stream_saved_bytes", less, ("way", "node"), saved.items()),
    ]
