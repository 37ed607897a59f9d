"""The proof that copies work, through the API: asked for anywhere, made by whose turn it is, seen by all."""

from typing import Any

import msgspec

from hybrid.model import Guid, NodeId, Proof


def test_verify_goes_to_a_holder_that_is_not_the_owner(cluster: Any) -> None:
    """Whichever node is asked; afterwards every node shows what came of it."""
    answer = cluster.n2("POST", "/v1/sites/shop/verify", {})
    assert (answer.status, answer.json["node"]) == (202, "n3")
    ended = cluster.n1("GET", f"/v1/operations/{answer.json['id']}").json
    assert (ended["state"], ended["result"]["outcome"], ended["result"]["node"]) == ("done", "good", "n3")
    assert cluster.n3.hosting.calls == [("verify", cluster.shop)]
    for node in (cluster.n1, cluster.n2):
        proof = node("GET", "/v1/sites/shop").json["proof"]
        assert (proof["outcome"], proof["node"], proof["good_age_s"]) == ("good", "n3", 0)
        assert proof["sentence"] == "last proven restorable 0 s ago"


def test_turns_rotate_among_holders(cluster: Any) -> None:
    """Asked twice, two different copies are proven."""
    nodes = {cluster.n1("POST", "/v1/sites/blog/verify", {}).json["node"] for _ in range(2)}
    assert nodes == {"n2", "n3"}


def test_without_another_copy_there_is_nothing_to_prove(cluster: Any) -> None:
    """The answer says why."""
    cluster.world.sites[cluster.shop] = _with(cluster, holders=(cluster.n2.id,))
    refused = cluster.n1("POST", "/v1/sites/shop/verify", {})
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    assert "no other server" in refused.json["detail"]


def test_a_failure_is_shown_with_when_it_was_last_good(cluster: Any) -> None:
    """In the site, in the health of the cluster, and as an event on every node."""
    failed = Proof(outcome="failed", at_s=1, guid=Guid(5), of_s=1, why="GET / was answered with 502")
    proofs: dict[NodeId, Proof] = {cluster.n3.id: failed}
    cluster.n1.api.follow(cluster.world.view(cluster.n1.id))
    cluster.world.sites[cluster.shop] = _with(cluster, proofs=proofs)
    cluster.n1.api.follow(cluster.world.view(cluster.n1.id))
    shown = cluster.n1("GET", "/v1/sites/shop").json["proof"]
    assert shown["sentence"] == "failed: GET / was answered with 502; never proven restorable"
    status = cluster.n1("GET", "/v1/status").json
    assert "site shop: its copy on n3 was tried out and does not work" in status["findings"]
    events = [
        event["text"] for event in cluster.n1("GET", "/v1/events").json["items"] if event["kind"] == "proof-failed"
    ]
    assert events == ["the copy of shop on n3 does not work: GET / was answered with 502"]


def test_how_often(cluster: Any) -> None:
    """For all sites, for one, and never; what makes no sense is refused."""
    assert cluster.n1("GET", "/v1/cluster/verification").json == {"every_s": 86400.0}
    assert cluster.n1("PATCH", "/v1/cluster/verification", {"every_s": 3600}).json == {"every_s": 3600.0}
    assert cluster.n3("GET", "/v1/cluster/verification").json == {"every_s": 3600.0}
    assert cluster.n1("PATCH", "/v1/cluster/verification", {"every_s": 5}).status == 400
    assert cluster.n1("PATCH", "/v1/cluster/verification", {"every": 5}).status == 400
    assert cluster.n1("PATCH", "/v1/cluster/verification", {"every_s": -1}).status == 400
    assert cluster.n1("PATCH", "/v1/sites/shop", {"verify_every_s": 0}).json["verify_every_s"] == 0


def _with(cluster: Any, **changes: object) -> Any:
    return msgspec.structs.replace(cluster.world.sites[cluster.shop], **changes)
