"""Consistency groups through the API: made anywhere, worked on by the owner of their first site."""

from typing import Any


def test_a_group_from_the_first_to_the_last_day(cluster: Any) -> None:
    """Made, shown by every node, snapshotted, rolled back, undone and deleted."""
    made = cluster.n1("POST", "/v1/groups", {"name": "all", "sites": ["shop", "blog"], "every_s": 60})
    assert (made.status, made.json["sites"], made.json["owner"]) == (201, ["shop", "blog"], "n2")
    assert (made.json["together"], made.json["every_s"]) == (False, 60.0)
    assert [group["name"] for group in cluster.n3("GET", "/v1/groups").json["items"]] == ["all"]
    taken = cluster.n1("POST", "/v1/groups/all/snapshots")
    assert (taken.status, taken.json["kind"]) == (201, "group")
    assert [one["name"] for one in cluster.n3("GET", "/v1/groups/all/snapshots").json["items"]] == [taken.json["name"]]
    begun = cluster.n1("POST", "/v1/groups/all/rollback", {"to": taken.json["guid"]})
    assert (begun.status, begun.json["node"], begun.json["site_name"]) == (202, "n2", "group all")
    assert cluster.n1("POST", "/v1/groups/all/undo").status == 202
    assert cluster.n2.groups.calls == [("rollback", "all", taken.json["name"]), ("undo", "all")]
    assert cluster.n3("DELETE", "/v1/groups/all").status == 204
    assert cluster.n1("GET", "/v1/groups").json["items"] == []


def test_what_is_refused(cluster: Any) -> None:
    """Groups of one, of sites there are not, of sites that belong to another; moments and groups there are not."""
    cluster.n1("POST", "/v1/groups", {"name": "all", "sites": ["shop", "blog"]})
    refused = [
        ("/v1/groups", {"name": "x", "sites": ["shop"]}, 400),
        ("/v1/groups", {"name": "x", "sites": ["shop", "shop"]}, 400),
        ("/v1/groups", {"name": "x", "sites": ["shop", "nobody"]}, 404),
        ("/v1/groups", {"name": "x/y", "sites": ["shop", "blog"]}, 400),
        ("/v1/groups", {"name": "x", "sites": ["shop", "blog"]}, 409),
        ("/v1/groups", {"name": "x", "sites": ["shop", "blog"], "every_s": -1}, 400),
        ("/v1/groups/all/rollback", {"to": "10m"}, 404),
        ("/v1/groups/all/rollback", {}, 400),
        ("/v1/groups/none/rollback", {"to": "10m"}, 404),
        ("/v1/groups/none/snapshots", {}, 404),
    ]
    for path, body, status in refused:
        assert (path, body, cluster.n1("POST", path, body).status) == (path, body, status)
    assert cluster.n1("DELETE", "/v1/groups/none").status == 404
