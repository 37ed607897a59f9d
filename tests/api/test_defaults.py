"""How histories are kept, for one site and for the cluster, through the API."""

from __future__ import annotations

from typing import Any

from hybrid.grid import DEFAULT_TEXT


def test_the_cluster_has_a_default_that_can_be_changed(cluster: Any) -> None:
    """Any node answers; what was written comes back as it is understood."""
    assert cluster.n1("GET", "/v1/defaults").json == {"retention": DEFAULT_TEXT, "bursting": True}
    changed = cluster.n1("PATCH", "/v1/defaults", {"retention": "ALL 2h, 1 per 10 min 24h, daily 90d"})
    assert changed.json["retention"] == "all for 2h, 1 per 10min for 24h, daily for 90d"
    assert cluster.n2("GET", "/v1/defaults").json == changed.json


def test_what_is_no_grid_is_refused(cluster: Any) -> None:
    """With what is wrong about it, and an example; nothing has changed then."""
    for body in ({}, {"retention": "daily"}, {"retention": "all for 1h, hourly for 1h"}, {"retention": "x" * 401}):
        answer = cluster.n1("PATCH", "/v1/defaults", body)
        assert answer.status == 400, body
        assert answer.json["detail"] or answer.json["hint"]
    assert cluster.n1("GET", "/v1/defaults").json == {"retention": DEFAULT_TEXT, "bursting": True}


def test_a_site_shows_its_data_and_its_history_apart(cluster: Any) -> None:
    """What it takes now, what its past takes, and the limits of both."""
    site = cluster.n1("GET", "/v1/sites/blog").json
    sizes = ("data_bytes", "history_bytes", "quota_bytes", "history_budget_bytes", "retention")
    assert {name: site[name] for name in sizes} == {
        "data_bytes": 0,
        "history_bytes": 0,
        "quota_bytes": None,
        "history_budget_bytes": None,
        "retention": "",
    }
