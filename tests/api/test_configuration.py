"""The configuration of a cluster as one document, given away and taken in."""

from __future__ import annotations

from typing import Any

from hybrid.cluster.keyring import KEYRING

EXPORT, IMPORT = "/v1/cluster/configuration/export", "/v1/cluster/configuration/import"


def test_what_is_given_away_can_be_taken_in(cluster: Any) -> None:
    """What is missing is added; what differs is told and left, unless it is to be replaced."""
    cluster.n1("PATCH", "/v1/defaults", {"retention": "all for 2h, daily for 90d"})
    exported = cluster.n1("POST", EXPORT, {}).json
    assert exported["format"] == 1
    assert KEYRING not in exported["values"]
    values = exported["values"]
    assert "defaults" in values
    same = cluster.n2("POST", IMPORT, {"values": values}).json
    assert same == {"added": [], "replaced": [], "differing": [], "same": len(values)}

    wanted = {"defaults": values["defaults"], "group/new": "{}", KEYRING: "theirs"}
    cluster.n1("PATCH", "/v1/defaults", {"retention": "all for 3h, daily for 90d"})
    left = cluster.n1("POST", IMPORT, {"values": wanted}).json
    assert left == {"added": ["group/new"], "replaced": [], "differing": ["defaults"], "same": 0}
    assert cluster.n1("GET", "/v1/defaults").json["retention"].startswith("all for 3h")
    replaced = cluster.n1("POST", IMPORT, {"values": wanted, "overwrite": True}).json
    assert (replaced["replaced"], replaced["same"]) == (["defaults"], 1)
    assert cluster.n2("GET", "/v1/defaults").json["retention"].startswith("all for 2h")


def test_secrets_are_not_for_who_may_only_read(cluster: Any) -> None:
    """A token that may read everything is refused, and so is a body that is none."""
    token = cluster.n1("POST", "/v1/tokens", {"name": "monitoring", "rights": "read"}).json["token"]
    reader = {"Authorization": f"Bearer {token}"}
    assert cluster.n1("POST", EXPORT, {}, reader).status == 403
    assert cluster.n1("POST", IMPORT, {"values": {"a": 1}}).status == 400
