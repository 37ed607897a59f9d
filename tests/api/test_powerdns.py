"""PowerDNS's API, as the clients of DNS tools send it."""

import json
from typing import Any

SERVER = "/api/v1/servers/localhost"
ZONES = f"{SERVER}/zones"


def call(cluster: Any, method: str, path: str, body: object = None, key: str | None = None) -> tuple[int, Any]:
    """Status and JSON."""
    headers = {"Authorization": "", "X-API-Key": cluster.token if key is None else key}
    answered = cluster.n2(method, path, body, headers)
    return answered.status, json.loads(answered.body) if answered.body else None


def rrset(name: str, type_: str, *texts: str, changetype: str = "REPLACE", **more: object) -> dict[str, object]:
    """As lego sends it, with more than is asked for."""
    records = [{"content": text, "disabled": False, "name": name, "type": type_, "ttl": 60} for text in texts]
    return {
        "name": name,
        "type": type_,
        "kind": "Master",
        "ttl": 60,
        "changetype": changetype,
        "records": records,
        **more,
    }


def test_what_lego_and_lexicon_do(cluster: Any) -> None:
    """Find the version and the zone, put a challenge beside a site's domain, tell secondaries, clean up."""
    assert call(cluster, "GET", "/api") == (200, [{"url": "/api/v1", "version": 1}])
    status, zone = call(cluster, "GET", f"{ZONES}/hybrid.test.")
    assert (status, zone["id"], zone["kind"]) == (200, "hybrid.test.", "Native")
    name = "_acme-challenge.blog.hybrid.test."
    assert call(cluster, "PATCH", f"{ZONES}/hybrid.test.", {"rrsets": [rrset(name, "TXT", '"token"')]}) == (204, None)
    assert call(cluster, "PUT", f"{ZONES}/hybrid.test./notify")[0] == 200
    found = {(one["name"], one["type"]): one for one in call(cluster, "GET", f"{ZONES}/hybrid.test")[1]["rrsets"]}
    assert found[name, "TXT"]["records"] == [{"content": '"token"', "disabled": False}]
    assert found["blog.hybrid.test.", "A"]["records"][0]["content"] == "10.0.0.1"
    gone = {"rrsets": [rrset(name, "TXT", changetype="DELETE", kind="")]}
    assert call(cluster, "PATCH", f"{ZONES}/hybrid.test.", gone)[0] == 204
    assert all(one["name"] != name for one in call(cluster, "GET", f"{ZONES}/hybrid.test.")[1]["rrsets"])


def test_what_octodns_does(cluster: Any) -> None:
    """Look at the server, make a zone, fill it in one call, and see all of it again."""
    assert call(cluster, "GET", SERVER)[1]["daemon_type"] == "authoritative"
    assert call(cluster, "GET", f"{SERVER}/config") == (200, [])
    assert call(cluster, "GET", f"{ZONES}/own.example.")[0] == 404
    new = {
        "name": "own.example.",
        "kind": "Native",
        "masters": [],
        "nameservers": [],
        "rrsets": [],
        "soa_edit_api": "X",
    }
    assert call(cluster, "POST", ZONES, new)[0] == 201
    assert call(cluster, "POST", ZONES, new)[0] == 409
    changes = [
        rrset("own.example.", "MX", "10 mail.own.example."),
        rrset("mail.own.example.", "A", "192.0.2.1", "192.0.2.2"),
        rrset("mail.own.example.", "A", "192.0.2.3", changetype="EXTEND"),
        rrset("mail.own.example.", "A", "192.0.2.1", changetype="PRUNE"),
    ]
    for change in changes:
        assert call(cluster, "PATCH", f"{ZONES}/own.example.", {"rrsets": [change]})[0] == 204
    zone = call(cluster, "GET", f"{ZONES}/own.example.")[1]
    (mail,) = [one for one in zone["rrsets"] if one["name"] == "mail.own.example."]
    assert ([one["content"] for one in mail["records"]], mail["ttl"]) == (["192.0.2.2", "192.0.2.3"], 60)
    assert [one["name"] for one in call(cluster, "GET", f"{ZONES}?zone=own.example.")[1]] == ["own.example."]
    assert "rrsets" not in call(cluster, "GET", f"{ZONES}/own.example.?rrsets=false")[1]
    assert {one["name"] for one in call(cluster, "GET", ZONES)[1]} >= {"hybrid.test.", "own.example."}
    exported = cluster.n1("GET", f"{ZONES}/own.example./export", None, {"X-API-Key": cluster.token})
    assert b"MX 10 mail" in exported.body
    assert call(cluster, "DELETE", f"{ZONES}/own.example.")[0] == 204
    assert call(cluster, "GET", f"{ZONES}?zone=own.example.") == (200, [])


def test_what_the_platform_keeps_is_refused_with_the_reason(cluster: Any) -> None:
    """All of the call; but to ask for what is there already is no change."""
    path = f"{ZONES}/hybrid.test."
    both = {"rrsets": [rrset("x.hybrid.test.", "A", "192.0.2.1"), rrset("blog.hybrid.test.", "A", "192.0.2.1")]}
    status, answer = call(cluster, "PATCH", path, both)
    assert status == 422 and "domain of a site" in answer["error"]
    zone = call(cluster, "GET", path)[1]["rrsets"]
    assert all(one["name"] != "x.hybrid.test." for one in zone)
    (same,) = [one for one in zone if (one["name"], one["type"]) == ("hybrid.test.", "NS")]
    assert call(cluster, "PATCH", path, {"rrsets": [{**same, "changetype": "REPLACE"}]})[0] == 204


def test_bad_input_has_an_answer(cluster: Any) -> None:
    """Wrong keys, methods, paths, bodies; a token that may only read changes nothing."""
    assert call(cluster, "GET", "/api", key="")[0] == 401
    assert call(cluster, "GET", "/api", key="hybpat_x")[0] == 401
    reader = cluster.n1("POST", "/v1/tokens", {"name": "r", "rights": "read"}).json["token"]
    assert call(cluster, "GET", ZONES, key=reader)[0] == 200
    assert call(cluster, "POST", ZONES, {"name": "own.example."}, key=reader)[0] == 403
    assert call(cluster, "GET", "/api/v2")[0] == call(cluster, "GET", f"{ZONES}/none.example.")[0] == 404
    assert call(cluster, "POST", f"{ZONES}/hybrid.test.")[0] == call(cluster, "DELETE", ZONES)[0] == 405
    burn = rrset("x.hybrid.test.", "A", "192.0.2.1", changetype="BURN")
    bodies: list[dict[str, object]] = [{"rrsets": 1}, {"rrsets": [{}]}, {"rrsets": [burn]}]
    for body in bodies:
        assert call(cluster, "PATCH", f"{ZONES}/hybrid.test.", body)[0] == 422
    assert cluster.n1("PATCH", f"{ZONES}/hybrid.test.", None, {"X-API-Key": cluster.token}, b"{").status == 400
