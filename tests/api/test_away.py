"""Copies far away, through any node."""

from typing import Any

from hybrid.away.sealing import recovery_key
from hybrid.errors import StoreUnreachable

NOW_S = 1_790_000_000
NEW = {
    "name": "vault",
    "endpoint": "https://s3.example.net",
    "bucket": "copies",
    "access_key": "AK",
    "secret_key": "very-secret",
}


def test_a_store_is_added_listed_and_removed(cluster: Any) -> None:
    """Its key is shown once, its secrets never again."""
    added = cluster.n3("POST", "/v1/away", NEW)
    assert (added.status, recovery_key(added.json["recovery_key"])) == (201, bytes(32))
    listed = cluster.n1("GET", "/v1/away")
    assert [(one["name"], one["endpoint"], one["every_s"]) for one in listed.json["items"]] == [
        ("vault", "https://s3.example.net", 3600.0)
    ]
    for answer in (added, listed):
        assert b"very-secret" not in answer.body
    assert b"recovery" not in listed.body
    assert cluster.n1("DELETE", "/v1/away/vault").status == 204
    assert cluster.n1("DELETE", "/v1/away/vault").status == 404


def test_what_makes_no_sense_is_refused(cluster: Any) -> None:
    """Values that cannot be, keys that are none, stores that are unknown: each with its status."""
    for wrong in ({"endpoint": "nowhere"}, {"bucket": "A"}, {"recovery_key": "hyr1-x"}, {"every_s": 1}, {"more": 1}):
        assert cluster.n1("POST", "/v1/away", NEW | wrong).status == 400
    assert cluster.n1("GET", "/v1/away/none/sites").status == 404
    assert cluster.n1("POST", "/v1/away/none/restore", {"site": "blog"}).status == 404
    assert cluster.n1("POST", "/v1/sites/blog/away", {"store": "none"}).status == 404
    cluster.n1("POST", "/v1/away", NEW)
    assert cluster.n1("POST", "/v1/away/vault/restore", {"site": "blog", "at": "hyb-000001-a-1"}).status == 400
    cluster.away.fails = StoreUnreachable("the store does not answer")
    unreachable = cluster.n1("GET", "/v1/away/vault/sites")
    assert (unreachable.status, unreachable.json["code"]) == (503, "store-unreachable")


def test_sites_are_listed_restored_and_shipped(cluster: Any) -> None:
    """A moment is a time or an age; the long ones are operations."""
    cluster.n1("POST", "/v1/away", NEW)
    listed = cluster.n2("GET", "/v1/away/vault/sites").json["items"]
    assert [(one["name"], one["age_s"], one["moments"], one["bytes"]) for one in listed] == [("blog", 60, 3, 5000)]
    restore = cluster.n1("POST", "/v1/away/vault/restore", {"site": "lost", "at": "1h"})
    assert (restore.status, restore.json["kind"]) == (202, "away-restore")
    assert cluster.away.restored == [("vault", "lost", NOW_S - 3600)]
    shipped = cluster.n1("POST", "/v1/sites/blog/away", {"store": "vault"})
    assert shipped.status == 202
    done = cluster.n1("GET", f"/v1/operations/{shipped.json['id']}?wait=1").json
    assert (done["state"], done["result"]) == ("done", {"copied": False, "head": None})
    assert cluster.n3("POST", "/v1/sites/blog/demote", {"store": "vault"}).status == 202
    assert cluster.away.demoted == ["blog"]
