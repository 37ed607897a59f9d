"""Reads: every node answers for the whole cluster, from its own view, and says so."""

from typing import Any


def test_status_is_one_sentence(cluster: Any) -> None:
    """An operator sees at a glance whether all is well and what the cluster can stand."""
    status = cluster.n1("GET", "/v1/status").json
    assert status["sentence"] == "3 nodes up, 2 sites, all replicated, can lose any 1 node, or either data centre"
    assert (status["health"], status["findings"]) == ("degraded", ["site shop has 1 replica of 2"])
    assert (status["from_node"], status["as_of"]) == ("n1", "2026-09-21T14:13:20Z")


def test_status_tells_a_dead_node(cluster: Any) -> None:
    """A node that is down is the first finding."""
    cluster.world.live.discard(cluster.n3.id)
    status = cluster.n1("GET", "/v1/status").json
    assert status["findings"][0] == "node n3 (london) is down"
    assert status["sentence"].startswith("2 of 3 nodes up")


def test_nodes(cluster: Any) -> None:
    """Nodes are listed by name and found by name or id."""
    listed = cluster.n2("GET", "/v1/nodes").json
    assert [node["name"] for node in listed["items"]] == ["n1", "n2", "n3"]
    assert listed["from_node"] == "n2"
    assert cluster.n2("GET", "/v1/nodes/n3").json == cluster.n2("GET", f"/v1/nodes/{cluster.n3.id}").json
    missing = cluster.n2("GET", "/v1/nodes/n33")
    assert (missing.status, missing.json["hint"][:12]) == (404, "did you mean")


def test_any_node_lists_all_sites(cluster: Any) -> None:
    """It does not matter which node is asked."""
    for node in (cluster.n1, cluster.n2, cluster.n3):
        sites = node("GET", "/v1/sites").json["items"]
        assert [(site["name"], site["owner"]) for site in sites] == [("blog", "n1"), ("shop", "n2")]
    assert [site["name"] for site in cluster.n1("GET", "/v1/sites?node=n2").json["items"]] == ["shop"]
    assert cluster.n1("GET", "/v1/sites?state=stopped").json["items"] == []
    assert cluster.n1("GET", "/v1/sites?state=sleeping").status == 400


def test_site_by_name_or_id(cluster: Any) -> None:
    """Both name a site; a wrong name gets the nearest right one."""
    assert cluster.n3("GET", "/v1/sites/blog").json["id"] == cluster.blog
    assert cluster.n3("GET", f"/v1/sites/{cluster.blog}").json["name"] == "blog"
    missing = cluster.n3("GET", "/v1/sites/blgo")
    assert missing.status == 404
    assert missing.headers["content-type"] == "application/problem+json"
    assert missing.json == {
        "type": "urn:hybrid:problem:no-such-site",
        "title": 'there is no site "blgo"',
        "status": 404,
        "code": "no-such-site",
        "hint": 'did you mean "blog"?',
    }


def test_snapshots_come_from_any_holder(cluster: Any) -> None:
    """A replica lists the history itself; a node without a copy asks one that has it."""
    here = cluster.n3("GET", "/v1/sites/blog/snapshots").json
    assert (here["from_node"], len(here["items"]), here["items"][0]["age_s"]) == ("n3", 4, 5)
    assert here["items"][0]["guid"] == str(2**63 + 1003)
    there = cluster.n1("GET", "/v1/sites/shop/snapshots?limit=1").json
    assert (there["from_node"], len(there["items"])) == ("n2", 1)


def test_images_of_a_named_node(cluster: Any) -> None:
    """`?node=` asks another node; each is told with its size and what it was built from, also where it only waits."""
    php, static = cluster.n1("GET", "/v1/images?node=n2").json["items"]
    assert (php["name"], php["reference"], php["packages"]) == ("php", "php@1", ["nginx 1", "php 8"])
    assert (static["name"], static["reference"], static["size_bytes"]) == ("static", None, 2 << 20)
    assert cluster.n1.peers.requests[-1][0] == cluster.n2.id
    cluster.world.live.discard(cluster.n2.id)
    assert cluster.n1("GET", "/v1/images?node=n2").status == 503


def test_every_answer_has_a_request_id(cluster: Any) -> None:
    """A person can quote it, and the log has it; a client's own is kept if it is harmless."""
    assert cluster.n1("GET", "/v1/status").headers["x-request-id"].startswith("req-")
    given = cluster.n1("GET", "/v1/status", headers={"X-Request-Id": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    odd = cluster.n1("GET", "/v1/status", headers={"X-Request-Id": "<script>"})
    assert odd.headers["x-request-id"].startswith("req-")


def test_head_is_answered_without_a_body(cluster: Any) -> None:
    """HEAD tells length and type."""
    answer = cluster.n1("HEAD", "/v1/status")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 100
