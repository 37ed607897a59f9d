"""What only a person can decide, through any node."""

from typing import Any

import msgspec

from hybrid.model import Claim, Guid, Stash


def two_histories(cluster: Any) -> None:
    """Of blog: on n1 and n2, waiting for a person."""
    seen = cluster.world.sites[cluster.blog]
    awaiting = (Claim(3, cluster.n1.id), Claim(4, cluster.n2.id))
    cluster.world.sites[cluster.blog] = msgspec.structs.replace(seen, awaiting=awaiting, state="unavailable")


def test_decisions_are_listed_and_counted(cluster: Any) -> None:
    """What waits for a person is one list, with what to do; the status counts it. Mostly it is empty."""
    assert cluster.n3("GET", "/v1/decisions").json["items"] == []
    assert cluster.n3("GET", "/v1/status").json["decisions"] == 0
    two_histories(cluster)
    shop = cluster.world.sites[cluster.shop]
    stash = Stash(f"{cluster.shop}.1.aaaaaaaa.12345678", cluster.shop, Guid(1), Guid(2), 3, "conflict")
    cluster.world.sites[cluster.shop] = msgspec.structs.replace(shop, stashes=(stash,), stuck=(cluster.n3.id,))
    listed = cluster.n3("GET", "/v1/decisions").json["items"]
    assert [(one["kind"], one["name"], one["nodes"]) for one in listed] == [
        ("pick", "blog", ["n1", "n2"]),
        ("fence", "shop", ["n3"]),
        ("stash", "shop", []),
    ]
    assert listed[0]["hint"] == "hybrid site pick blog n1"
    status = cluster.n3("GET", "/v1/status").json
    assert status["decisions"] == 3
    assert "3 things for a person to decide or look at: hybrid decisions" in status["findings"]


def test_a_pick_is_taken_by_any_node(cluster: Any) -> None:
    """Whose history goes on is said by name, at any node; where there is nothing to pick it is refused."""
    refused = cluster.n3("POST", "/v1/sites/blog/pick", {"node": "n2"})
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    two_histories(cluster)
    assert cluster.n3("POST", "/v1/sites/blog/pick", {"node": "n2"}).status == 200
    assert cluster.n3.hosting.calls == [("pick", cluster.blog, cluster.n2.id, "admin")]
    assert cluster.n3("POST", "/v1/sites/blog/pick", {"node": "n9"}).status == 404
    assert cluster.n3("POST", "/v1/sites/blog/pick", {"nod": "n2"}).status == 400
    assert cluster.n3("POST", "/v1/sites/none/pick", {"node": "n2"}).status == 404


def test_a_deleted_site_can_be_brought_back(cluster: Any) -> None:
    """Deleted sites are listed with the time until which they can be brought back, by name or id."""
    cluster.n1("DELETE", "/v1/sites/blog")
    (listed,) = cluster.n2("GET", "/v1/deleted-sites").json["items"]
    assert (listed["name"], listed["deleted_at"], listed["until"], listed["by"]) == (
        "blog",
        "2026-09-21T14:13:20Z",
        "2026-09-28T14:13:20Z",
        "n1",
    )
    back = cluster.n2("POST", "/v1/sites/blog/undelete")
    assert (back.status, back.json["id"]) == (202, cluster.blog)
    assert cluster.n2.hosting.calls == [("undelete", cluster.blog, "admin")]
    missing = cluster.n2("POST", "/v1/sites/blog/undelete")
    assert (missing.status, missing.json["hint"]) == (404, "`hybrid site deleted` shows them")


def test_policies_are_checked(cluster: Any) -> None:
    """A policy is one of four kinds; anything else is refused before anybody relies on it."""
    for policy in ("value", "epoch", "ask", "prefer:paris"):
        assert cluster.n1("PATCH", "/v1/sites/blog", {"policy": policy}).json["policy"] == policy
    for odd in ("", "newest", "prefer:", "prefer:Paris", "ask ", 1, None):
        assert cluster.n1("PATCH", "/v1/sites/blog", {"policy": odd}).status == 400
