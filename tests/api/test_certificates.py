"""Certificates through the API."""

from __future__ import annotations

import datetime
from typing import Any

from tests.certs.authority import Authority, new_key, pem, text

NOW = datetime.datetime.fromtimestamp(1_790_000_000, datetime.UTC)


def bundle(*names: str) -> dict[str, str]:
    """A certificate for `names`, as a body."""
    authority, key = Authority(now=NOW), new_key()
    return {"chain": text(authority.issue(key, *names)), "key": pem(key)}


def test_a_certificate_comes_and_goes(cluster: Any) -> None:
    """Uploaded to any node, listed by all, shown without its key, removed by any."""
    made = cluster.n1("POST", "/v1/certificates", bundle("blog.hybrid.test", "*.blog.hybrid.test"))
    assert (made.status, made.json["name"], made.json["sites"]) == (201, "*.blog.hybrid.test", ["blog"])
    assert made.json["source"] == "uploaded" and "PRIVATE" not in made.body.decode()
    path = "/v1/certificates/%2A.blog.hybrid.test"
    assert cluster.n3("GET", path).json["names"] == ["*.blog.hybrid.test", "blog.hybrid.test"]
    assert cluster.n2("DELETE", path).status == 204
    assert cluster.n1("GET", "/v1/certificates").json["items"] == []
    assert cluster.n1("DELETE", path).status == 404


def test_what_does_not_fit_is_refused(cluster: Any) -> None:
    """With the reason: no PEM, another key, no site of that name."""
    good = bundle("blog.hybrid.test")
    for body, says in (
        ({"chain": "x", "key": "y"}, "no private key"),
        ({**good, "key": pem(new_key())}, "do not belong together"),
        (bundle("other.test"), "no site here is named"),
        ({**good, "site": "shop"}, "no domain of that site"),
    ):
        refused = cluster.n1("POST", "/v1/certificates", body)
        assert refused.status == 400 and says in refused.json["title"], refused.body
    assert cluster.n1("POST", "/v1/certificates", {**good, "site": "none"}).status == 404
    assert cluster.n1("POST", "/v1/certificates", {**good, "site": "blog"}).status == 201


def test_how_a_sites_http_is_served(cluster: Any) -> None:
    """Nothing is wished for at first; changes are made at the owner; odd ones are refused."""
    path = "/v1/sites/shop/http"
    assert cluster.n1("GET", path).json == {"redirect": False, "hsts_s": 0}
    assert cluster.n1("PATCH", path, {"redirect": True}).json == {"redirect": True, "hsts_s": 0}
    assert cluster.n1("PATCH", path, {"hsts_s": 3600}).json == {"redirect": True, "hsts_s": 3600}
    for body in ({}, {"hsts_s": -1}, {"redirect": "yes"}, {"other": 1}):
        assert cluster.n1("PATCH", path, body).status == 400
