"""DNS zones and records, through any node."""

from typing import Any

ZONE = "/v1/dns/zones/own.example"


def edit(name: str, kind: str, *texts: str, **more: object) -> dict[str, object]:
    """A body with one edit."""
    return {"edits": [{"name": name, "type": kind, "records": list(texts), **more}]}


def test_a_zone_is_made_filled_and_removed(cluster: Any) -> None:
    """What one node is told all of them show."""
    assert cluster.n1("POST", "/v1/dns/zones", {"name": "own.example"}).status == 201
    assert cluster.n2("POST", "/v1/dns/zones", {"name": "own.example"}).status == 409
    assert cluster.n2("PATCH", f"{ZONE}/records", edit("@", "MX", "10 mail.own.example.")).json == {"changed": 1}
    listed = cluster.n3("GET", f"{ZONE}/records?type=mx").json["items"]
    assert [(one["name"], one["records"], one["managed"]) for one in listed] == [
        ("own.example", ["10 mail.own.example."], False)
    ]
    zones = {zone["name"]: zone for zone in cluster.n3("GET", "/v1/dns/zones").json["items"]}
    assert (zones["own.example"]["sets"], zones["hybrid.test"]["kind"]) == (1, "cluster")
    assert "MX 10 mail" in cluster.n1("GET", f"{ZONE}/file").json["text"]
    taken = cluster.n1("POST", f"{ZONE}/file", {"text": "www IN CNAME @\n@ IN NS a.b.\n$TTL 5\n"})
    assert taken.status == 422
    taken = cluster.n1("POST", f"{ZONE}/file", {"text": "$TTL 60\nwww IN CNAME @\n@ IN NS a.b.\n"})
    assert (taken.status, taken.json) == (200, {"sets": 1, "skipped": []})
    assert cluster.n2("DELETE", ZONE).status == 204
    assert cluster.n2("GET", f"{ZONE}/records").status == 404


def test_what_is_refused_says_why(cluster: Any) -> None:
    """422 with the reason, where the platform keeps a record or it cannot be one."""
    blog = cluster.n1("PATCH", "/v1/dns/zones/hybrid.test/records", edit("blog", "A", "192.0.2.1"))
    assert (blog.status, blog.json["code"]) == (422, "managed-record")
    assert "domain of a site" in blog.json["detail"]
    bad = cluster.n1("PATCH", "/v1/dns/zones/hybrid.test/records", edit("x", "A", "nonsense"))
    assert (bad.status, bad.json["code"]) == (422, "bad-record")
    assert cluster.n1("PATCH", "/v1/dns/zones/no.example/records", edit("x", "A", "192.0.2.1")).status == 404
    bodies: tuple[dict[str, object], ...] = ({}, {"edits": []}, edit("x", "A", do="burn"), edit("x", "A", more=1))
    for body in bodies:
        assert cluster.n1("PATCH", "/v1/dns/zones/hybrid.test/records", body).status in (400, 422)
