"""What Prometheus scrapes, and the alerts and the dashboard that use it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

CONTRIB = Path(__file__).parents[2] / "contrib"


def scraped(node: Any) -> dict[tuple[str, tuple[str, ...]], float]:
    """Name and label values, by the names of labels, to value."""
    answer = node("GET", "/v1/metrics")
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.body.decode())
    return {
        (s.name, tuple(value for _, value in sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
    }


def test_each_site_is_told_by_its_owner_alone(cluster: Any) -> None:
    """Sums over all nodes are sums over all sites."""
    told = [scraped(node) for node in (cluster.n1, cluster.n2, cluster.n3)]
    assert [("hybrid_site_serving", ("", "blog")) in one for one in told] == [True, False, False]
    assert [("hybrid_site_serving", ("", "shop")) in one for one in told] == [False, True, False]


def test_a_dead_node_is_seen(cluster: Any) -> None:
    """By all that live."""
    cluster.world.live.discard(cluster.n3.id)
    told = scraped(cluster.n1)
    assert told["hybrid_node_up", ("london", "n3")] == 0 and told["hybrid_node_up", ("paris", "n1")] == 1
    assert told["hybrid_sites", ("serving",)] == 2


def test_nobody_without_a_token_sees_them(cluster: Any) -> None:
    """Names of sites are nobody else's business."""
    assert cluster.n1("GET", "/v1/metrics", headers={"Authorization": ""}).status == 401


def test_alerts_and_dashboard_ask_for_what_is_told(cluster: Any) -> None:
    """No alert waits for a figure that nobody tells."""
    names = {name for name, _ in scraped(cluster.n1)} | {"hybrid_site_lag_seconds", "hybrid_site_proven_age_seconds"}
    names |= {"hybrid_site_quota_bytes", "hybrid_stream_bytes_per_second", "hybrid_stream_saved_bytes"}
    rules = (CONTRIB / "prometheus" / "hybrid.rules.yml").read_text()
    board = json.loads((CONTRIB / "grafana" / "hybrid.json").read_text())
    asked = re.findall(r"\bhybrid_[a-z_]+", "\n".join(re.findall(r"expr: (.*)", rules)))
    asked += re.findall(r"\bhybrid_[a-z_]+", json.dumps([panel["targets"] for panel in board["panels"]]))
    assert set(asked) and set(asked) <= names, set(asked) - names
