"""Every placement explains itself, and loads are seen, through any node."""

from __future__ import annotations

from typing import Any

import msgspec

from hybrid.load import NodeLoad, SiteLoad


def test_why_is_answered_by_the_owner_whoever_is_asked(cluster: Any) -> None:
    """How it came there, what it takes, what speaks against every other node, and who left for it."""
    for node in (cluster.n1, cluster.n2, cluster.n3):
        answer = node("GET", "/v1/sites/shop/why").json
        assert (answer["owner"], answer["from_node"]) == ("n2", "n2")
        assert answer["sentence"].startswith("shop is on n2: it made room for a busy neighbour at ")
        assert "n2 has 25% of its processors in use" in answer["sentence"]
        assert answer["moves"][0] | {"at": ""} == {"at": "", "on": "n2", "came": "burst", "why": "n3 was hot"}
        assert [one["node"] for one in answer["others"]] == ["n1", "n3"]
        assert [(one["site"], one["to"]) for one in answer["made_room"]] == [("blog", "n3")]
    assert cluster.n1("GET", "/v1/sites/nowhere/why").status == 404


def test_loads_are_seen_on_every_node(cluster: Any) -> None:
    """Of sites, nothing where nothing is told; of nodes what they have, `null` where they do not measure."""
    seen = cluster.world.sites[cluster.shop]
    cluster.world.sites[cluster.shop] = msgspec.structs.replace(seen, load=SiteLoad(0.5, 2**27, 0.0, 16.0))
    load = cluster.n1("GET", "/v1/sites/shop").json["load"]
    assert load == {"cpu": 0.5, "memory_bytes": 2**27, "io_bytes_s": 0.0, "requests_s": 16.0}
    assert cluster.n1("GET", "/v1/sites/blog").json["load"]["cpu"] == 0.0
    assert cluster.n1("GET", "/v1/nodes/n1").json["capacity"] is None
    cluster.world.measured[cluster.n1.id] = NodeLoad(8.0, 2**36, 0.5, 0.125, 0.0)
    capacity = cluster.n2("GET", "/v1/nodes/n1").json["capacity"]
    assert capacity == {"cores": 8.0, "memory_bytes": 2**36, "cpu": 0.5, "memory": 0.125, "io": 0.0}


def test_bursting_is_switched_for_the_whole_cluster(cluster: Any) -> None:
    """By one call; what else is said for all sites stays."""
    before = cluster.n1("GET", "/v1/defaults").json
    assert before["bursting"] is True
    assert cluster.n2("PATCH", "/v1/defaults", {"bursting": False}).json == before | {"bursting": False}
    assert cluster.n3("GET", "/v1/defaults").json["bursting"] is False
    assert cluster.n3("PATCH", "/v1/defaults", {"bursting": "maybe"}).status == 400


def test_a_node_is_drained_whoever_is_asked(cluster: Any) -> None:
    """It says first where its sites would go; then it is an operation of that node; any node resumes it."""
    planned = cluster.n3("GET", "/v1/nodes/n2/drain").json
    assert (planned["node"], planned["draining"]) == ("n2", False)
    assert planned["sites"] == [{"site": "shop", "to": "n1"}]
    answer = cluster.n3("POST", "/v1/nodes/n2/drain", {})
    assert (answer.status, answer.json["node"], answer.json["kind"]) == (202, "n2", "drain")
    ended = cluster.n1("GET", f"/v1/operations/{answer.json['id']}").json
    assert (ended["state"], ended["result"]) == ("done", {"moved": 1})
    assert cluster.n1("GET", "/v1/nodes/n2").json["draining"] is True
    assert cluster.n1("POST", "/v1/nodes/n2/resume", {}).status == 204
    assert cluster.n3("GET", "/v1/nodes/n2").json["draining"] is False
    assert cluster.n1("POST", "/v1/nodes/n9/drain", {}).status == 404


def test_without_a_place_for_all_its_sites_a_node_is_not_drained(cluster: Any) -> None:
    """It is said before anything is begun."""
    cluster.world.live = {cluster.n2.id}
    refused = cluster.n2("POST", "/v1/nodes/n2/drain", {})
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    assert "shop: n2 is down" in refused.json["detail"]
    assert cluster.n2("GET", "/v1/operations").json["items"] == []
    assert cluster.n2("POST", "/v1/nodes/n1/drain", {}).status == 503
