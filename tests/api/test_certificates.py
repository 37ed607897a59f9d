"""Certificates through the API."""

from __future__ import annotations

import datetime
from typing import Any

from hybrid.adapters import TxtRecords
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
    nothing = {"redirect": False, "certificate": False, "log": "off", "requests_per_s": 0.0, "hsts_s": 0}
    nothing |= {"requests_per_s_in_all": 0.0, "cache": False, "purges": 0}
    assert cluster.n1("GET", path).json == nothing
    assert cluster.n1("PATCH", path, {"redirect": True}).json == {**nothing, "redirect": True}
    assert cluster.n1("PATCH", path, {"hsts_s": 3600}).json == {**nothing, "redirect": True, "hsts_s": 3600}
    assert cluster.n1("PATCH", path, {"cache": True, "purge": True}).json["purges"] == 1
    for body in ({}, {"hsts_s": -1}, {"redirect": "yes"}, {"other": 1}, {"purge": False}, {"purges": 7}):
        assert cluster.n1("PATCH", path, body).status == 400


def test_an_authority_is_agreed_to(cluster: Any) -> None:
    """Then names of sites can be wished for; what keeps them is told; a wish is taken back."""
    nobody = cluster.n1("GET", "/v1/authority").json
    assert nobody == {"agreed": False, "directory": "", "contact": "", "account": "", "wanted": []}
    issue = "/v1/certificates/blog.hybrid.test/issue"
    assert cluster.n1("POST", issue, {}).json["hint"] == "hybrid cert account --agree"
    for body in ({}, {"agree": False}, {"agree": True, "directory": "http://x"}, {"agree": True, "contact": "x y@z"}):
        assert cluster.n1("PATCH", "/v1/authority", body).status == 400
    agreed = cluster.n1("PATCH", "/v1/authority", {"agree": True, "contact": "a@b.test"})
    assert agreed.json["directory"].startswith("https://acme-v02.api.letsencrypt.org/")
    wished = cluster.n3("POST", issue, {})
    assert (wished.status, wished.json["wanted"][0]["state"]) == (202, "waiting")
    assert cluster.n1("POST", "/v1/certificates/none.test/issue", {}).status == 400
    cluster.shared.put("acme-trouble/blog.hybrid.test", '{"failures":2,"at_s":1,"next_s":9,"what":"a","why":"b"}')
    told = cluster.n2("GET", "/v1/authority").json["wanted"][0]
    assert (told["state"], told["failures"], told["why"], told["next_at"]) == ("failed", 2, "b", "1970-01-01T00:00:09Z")
    assert cluster.n1("DELETE", "/v1/certificates/blog.hybrid.test").status == 204
    assert cluster.n1("GET", "/v1/authority").json["wanted"] == []


def test_a_challenge_in_a_zone_of_ours(cluster: Any) -> None:
    """The record that proves a wildcard is answered while it is needed, in the zone that is nearest."""
    txt = TxtRecords(cluster.n1.dns)
    assert not txt.add("_acme-challenge.elsewhere.test", "x")
    zone = cluster.n1.dns.zones()[0].name
    name = f"_acme-challenge.{zone}"
    assert txt.add(name, "one") and txt.add(name, "two")
    shown = [one.records for one in cluster.n1.dns.records(zone) if one.type == "TXT" and one.name.rstrip(".") == name]
    assert shown == [('"one"', '"two"')], cluster.n1.dns.records(zone)
    txt.remove(name, "one")
    txt.remove(name, "two")
    assert all(one.type != "TXT" or one.name.rstrip(".") != name for one in cluster.n1.dns.records(zone))
